"""A sweep before its first cell is computed: every scenario validated, every table read, every cell named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from allocator.allocation import read_tables
from allocator.identity import ByIdentity
from allocator.runs import versions
from allocator.scenario.cells import Cell, Cells, load_cells
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import Scenario, Snapshot, Venue
from allocator.snapshot.read import SnapshotData

SOLVERS = ("PIQP", "CLARABEL")
_TEXTS = 4096  # parts of scenarios whose text is kept
_PLACES: dict[type, set[str]] = {Snapshot: {"folder"}, Venue: {"table"}}


@dataclass(frozen=True)
class Plan:
    """Cells with the tables each rests on; `cell.described` is the content hash of a cell.

    `sweep_id` is the hash of all cells in order, `tables` the snapshots by the key that `table_key` gives.
    """

    cells: Cells
    tables: dict[str, SnapshotData]
    sweep_id: str
    solver: str | None

    def scenario(self, cell: Cell) -> tuple[LoadedScenario, SnapshotData]:
        """What one cell is computed from."""
        loaded = self.cells.scenario(cell)
        return loaded, self.tables[table_key(loaded)]


def make_plan(
    path: Path | str,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    snapshot: Path | None = None,
    solver: str | None = None,
) -> Plan:
    """Resolve a scenario's sweep. Raises ScenarioError and DataError before anything is computed.

    `solver` is PIQP or CLARABEL; None takes PIQP for quadratic programs, Clarabel for those with cones.
    """
    if solver is not None and solver not in SOLVERS:
        raise ValueError(f"no solver {solver!r} for sweeps; there are {', '.join(SOLVERS)}")
    reader = _Reader()
    cells = load_cells(path, overlays, sets, snapshot, reader.describe)
    whole = {
        "cells": [(cell.name, cell.described) for cell in cells.cells],
        "versions": versions(),
        "solver": solver,
    }
    sweep_id = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    return Plan(cells, reader.tables, sweep_id, solver)


def table_key(loaded: LoadedScenario) -> str:
    """Equal for scenarios that read the same tables in the same way."""
    scenario = loaded.scenario
    filled = {name: table.label for name, table in sorted(loaded.tables.items())}
    parts = (
        str(loaded.snapshot_folder),
        scenario.snapshot.tables or None,
        scenario.objective.impact.model == "book",
        filled,
        [(name, scenario.venues[name].exchange) for name in filled],
        str(scenario.as_of) if filled else None,
    )
    return json.dumps(parts, sort_keys=True, default=str)


class _Reader:
    """Reads each set of tables once, and hashes what a cell rests on."""

    def __init__(self) -> None:
        self.tables: dict[str, SnapshotData] = {}
        self._texts = ByIdentity[str](_TEXTS)
        self._digests: dict[str, str] = {}

    def describe(self, loaded: LoadedScenario) -> str:
        """Hash of the resolved scenario and the contents of its tables; no path, no clock."""
        key = table_key(loaded)
        if key not in self.tables:
            self.tables[key] = read_tables(loaded)
            self._digests[key] = json.dumps(dict(self.tables[key].digests), sort_keys=True)
        digest = hashlib.sha256()
        for name in Scenario.model_fields:
            if name != "description":
                digest.update(f"{name}={self._text(getattr(loaded.scenario, name))};".encode())
        digest.update(self._digests[key].encode())
        return digest.hexdigest()[:16]

    def _text(self, part: object) -> str:
        """A part of a scenario as text, but for where it lies on this machine.

        Cells share the parts that they do not change, and with them their text.
        """
        if isinstance(part, BaseModel):
            known = self._texts.get(part)
            if known is None:
                known = self._texts.put(part, part.model_dump_json(exclude=_PLACES.get(type(part))))
            return known
        if isinstance(part, dict):
            return json.dumps({name: self._text(item) for name, item in part.items()})
        return str(part)
