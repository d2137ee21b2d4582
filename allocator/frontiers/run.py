"""A whole frontier: the market, both ends, the points between them, and all of it as files."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from allocator.errors import Infeasible, Problem, ScenarioError
from allocator.frontiers.curve import ends, spaced
from allocator.frontiers.picture import Drawn, picture, tables
from allocator.frontiers.programs import Programs, aversion
from allocator.frontiers.quantities import Axes, axes
from allocator.frontiers.references import references
from allocator.frontiers.store import Answers
from allocator.locking import only_one
from allocator.result import Json, to_text
from allocator.runs import LOG, Run, find, make_parent, run_id, write
from allocator.scenario.load import LoadedScenario, load_scenario, resolved_yaml
from allocator.snapshot.read import SnapshotData

if TYPE_CHECKING:
    import pandas as pd

    from allocator.market.types import Market
    from allocator.program.solve import Solution

POINTS = 20
MOST_POINTS = 200
SOME_FAILED = 7
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frontier:
    """A finished frontier: its run folder, its points and what they are set against."""

    run: Run

    @property
    def result(self) -> Json:
        """What `frontier.json` holds: axes, points, references, ends and spacing."""
        found: Json = json.loads(self.run.text("frontier.json"))
        return found

    @property
    def points(self) -> pd.DataFrame:
        """A row a point, from the least of one quantity to the least of the other."""
        return self._table("points")

    @property
    def positions(self) -> pd.DataFrame:
        """A row a position of each point, in USD."""
        return self._table("positions")

    @property
    def exit_code(self) -> int:
        """0, or 7 where fewer points were proven than were asked for."""
        return self.run.exit_code

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from allocator.report.brief import of_frontier

        return of_frontier(self.result)

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.run.folder / f"{name}.parquet")


def frontier(
    scenario: LoadedScenario | Path | str,
    *,
    x: str = "volatility",
    y: str = "cost",
    points: int = POINTS,
    out: Path | str = "runs",
    told: Callable[[], None] = lambda: None,
) -> Frontier:
    """Evenly spaced points of the least `y` for each `x`, kept in a run folder below `out`.

    `x` and `y` name measured quantities: `cost`, `objective`, `volatility` can be made least; `volatility`,
    `gross`, `turnover`, `margin` can be bounded; one of each kind, on either axis. Every limit of the
    scenario holds at every point but for the bound of its objective's mode. `told` is called at each solve.
    A frontier that was stopped goes on where it was; one that is finished is found again.

    Raises `ScenarioError`, `DataError`, `Infeasible`, `SolverFailed`, `AuditFailed`.
    """
    from allocator.allocation import read_tables

    chosen = axes(x, y)
    if not 2 <= points <= MOST_POINTS:
        raise ScenarioError([Problem("--points", f"write a number of points from 2 to {MOST_POINTS}")])
    loaded = scenario if isinstance(scenario, LoadedScenario) else load_scenario(scenario)
    snapshot, out = read_tables(loaded), Path(out)
    name = _name(loaded, snapshot, chosen, points)
    if (done := find(out, name)) is not None:
        return Frontier(done)
    make_parent(out)
    with only_one(out / f".{name}.lock"):
        # Another process may have finished it meanwhile.
        run = find(out, name) or _compute(loaded, snapshot, chosen, points, out, told)
    return Frontier(run)


def _name(loaded: LoadedScenario, snapshot: SnapshotData, chosen: Axes, points: int) -> str:
    asked = [run_id(loaded, snapshot), chosen.x, chosen.y, points]
    return f"frontier-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}"


def _compute(
    loaded: LoadedScenario,
    snapshot: SnapshotData,
    chosen: Axes,
    points: int,
    out: Path,
    told: Callable[[], None],
) -> Run:
    from allocator.market.build import build_market

    name, started = _name(loaded, snapshot, chosen, points), datetime.now(UTC)
    folder = out / f".{name}"
    folder.mkdir(exist_ok=True)
    market = build_market(loaded, snapshot)
    own = _own(market, loaded).decision
    programs = Programs(market, chosen, aversion(market, own))
    answers = Answers(folder, programs.solve, told)
    low, high = ends(chosen, answers.solve, answers.attempt)
    curve = spaced(chosen, low, high, points, answers.attempt)
    drawn = Drawn(market, chosen, curve, references(market, own), points, programs.settings, answers.attempt)
    data = picture(drawn, name, loaded.scenario.name)
    code = 0 if data["status"] == "optimal" else SOME_FAILED
    finished = datetime.now(UTC)
    log.info("frontier %s: %d points", name, len(curve.points))
    entry = {"time": finished.isoformat(timespec="milliseconds"), "level": "info", "message": "finished"}
    files: dict[str, str | bytes] = {
        **tables(drawn),
        "frontier.json": to_text(data),
        "scenario.resolved.yaml": resolved_yaml(loaded.scenario),
        LOG: json.dumps(entry) + "\n",
    }
    facts = {
        "status": data["status"],
        "exit_code": code,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": finished.isoformat(timespec="milliseconds"),
        "tables": dict(snapshot.digests),
    }
    run = write(out, name, files, facts)
    shutil.rmtree(folder, ignore_errors=True)
    return run


def _own(market: Market, loaded: LoadedScenario) -> Solution:
    """The optimum of the scenario's own objective. Raises `Infeasible` explained."""
    from allocator.program.build import Program
    from allocator.program.solve import solve

    try:
        return solve(Program(market))
    except Infeasible as error:
        from allocator.explanations.explanation import explained

        raise explained(error, market, loaded) from error
