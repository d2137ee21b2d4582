"""A finished run, read back: what it said, what it was given, and its market built again if it can be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from allocator import evaluate
from allocator.errors import DataError, HedgeError, Problem
from allocator.market.build import build_market
from allocator.market.types import Decision, Market
from allocator.result import Json
from allocator.runs import in_folder
from allocator.scenario.load import load_scenario
from allocator.scenario.source import Plain, plain, read_file

SCENARIO = "scenario.resolved.yaml"
_PARENTS = 2  # folders above a run in which its tables are looked for
_SAME = 1e-6  # of the objective's scale: terms recomputed agree with those written


@dataclass(frozen=True)
class Finished:
    """A verified run folder: its result, manifest and resolved scenario as plain data."""

    folder: Path
    result: Json
    manifest: Mapping[str, Any]
    scenario: Mapping[str, Plain]

    @property
    def run_id(self) -> str:
        """Its id."""
        return str(self.result["run_id"])

    @property
    def optimal(self) -> bool:
        """Whether it has positions and an objective."""
        return bool(self.result["status"] == "optimal")


def read_finished(folder: Path) -> Finished:
    """Read a run folder. Raises `DataError` where there is none or a file of it was changed."""
    run = in_folder(folder)
    if run is None:
        message = "is not the folder of a finished run; name one that `hedge allocate` has written"
        raise DataError([Problem(str(folder), message)])
    files = run.manifest["files"]
    assert isinstance(files, Mapping)
    result = json.loads(run.text("result.json")) if "result.json" in files else {}
    if "as_of" not in result:
        message = (
            "is not the folder of one allocation, so there is nothing to explain: name one that "
            "`hedge allocate` has written; `hedge report` writes the page of a sweep, frontier or backtest"
        )
        raise DataError([Problem(str(folder), message)])
    tree = plain(read_file(run.folder / SCENARIO, SCENARIO, None))
    assert isinstance(tree, dict)
    return Finished(run.folder, result, run.manifest, tree)


def rebuilt(run: Finished, snapshots: Sequence[Path] = ()) -> Market | str:
    """The market that the run saw, from the same tables; or why it cannot be built again.

    A run does not say where its tables lay. They are looked for in `snapshots`, then under the name that the
    scenario gives, beside the run folder, its parents and the working folder and one folder below these; what
    is found must have the digests of the run.
    """
    reasons = []
    for folder in _places(run, snapshots):
        found = _built(run, folder)
        if isinstance(found, Market):
            return found
        reasons.append(found)
    return reasons[0] if reasons else "its tables are not found; name the snapshot folder"


def _places(run: Finished, snapshots: Sequence[Path]) -> Iterator[Path | None]:
    yield from snapshots
    section = run.scenario["snapshot"]
    name = section.get("folder") if isinstance(section, dict) else None
    if name is None:
        # All tables may stand in the scenario itself.
        yield from () if snapshots else (None,)
        return
    near = dict.fromkeys([*run.folder.parents[:_PARENTS], Path.cwd()])
    bases = [base for base in near if os.access(base, os.R_OK)]
    below = (child for base in bases for child in sorted(base.iterdir()) if child.is_dir())
    places = [base / str(name) for base in (*bases, *below)]
    yield from (place for place in places if place.is_dir())


def _built(run: Finished, folder: Path | None) -> Market | str:
    from allocator.allocation import read_tables  # the layer above: only comparisons read tables here

    try:
        loaded = load_scenario(run.folder / SCENARIO, snapshot=folder)
        tables = read_tables(loaded)
        then: Mapping[str, str] = run.manifest["tables"]
        changed = [name for name in then if tables.digests.get(name) != then[name]]
        if changed:
            return f"tables of its snapshot have changed since: {', '.join(changed)}"
        market = build_market(loaded, tables)
    except HedgeError as error:
        return f"its inputs cannot be read again: {error.problems[0]}"
    if run.optimal and not _reproduces(run, market):
        return "this version prices its positions differently"
    return market


def decision_of(run: Finished, market: Market) -> Decision:
    """The convex optimum as the run wrote it; positions of instruments that the market lacks are left out."""
    at = {(r["venue"], r["account"], r["symbol"]): float(r["target_usd"]) for r in run.result["positions"]}
    sent = {(t["from"], t["to"], t["currency"]): float(t["amount_usd"]) for t in run.result["transfers"]}
    pockets = market.pockets
    routes = [
        (pockets[r.source].venue, pockets[r.target].venue, pockets[r.source].currency)
        for r in market.transfers.routes
    ]
    return Decision(
        np.array([at.get((i.exchange, i.account, i.symbol), 0.0) for i in market.instruments]),
        np.array([sent.get(route, 0.0) for route in routes]),
    )


def _reproduces(run: Finished, market: Market) -> bool:
    """Whether the terms come out as written; a cent of transfers is not written, nor are its charges."""
    found = evaluate.objective_terms(market, decision_of(run, market))
    size = sum(abs(value) for value in found.values())
    return all(
        abs(value - float(run.result["objective"][f"{term}_usd"])) <= _SAME * size + 0.01
        for term, value in found.items()
    )
