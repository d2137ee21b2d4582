"""A sweep before its first cell is computed: every scenario validated, every table read, every cell named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from allocator.allocation import read_tables
from allocator.runs import versions
from allocator.scenario.cells import Cell, Cells, load_cells
from allocator.scenario.load import LoadedScenario
from allocator.snapshot.read import SnapshotData

SOLVERS = ("PIQP", "CLARABEL")


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
        scenario.snapshot.tables,
        scenario.objective.impact.model == "book",
        filled,
        [(name, scenario.venues[name].exchange) for name in filled],
        str(scenario.as_of) if filled else None,
    )
    return json.dumps(parts, sort_keys=True, default=str)


@dataclass
class _Reader:
    """Reads each set of tables once, and hashes what a cell rests on."""

    tables: dict[str, SnapshotData] = field(default_factory=dict)

    def describe(self, loaded: LoadedScenario) -> str:
        """Hash of the resolved scenario and the contents of its tables; no path, no clock."""
        key = table_key(loaded)
        if key not in self.tables:
            self.tables[key] = read_tables(loaded)
        values = loaded.scenario.model_dump(mode="json", exclude={"description": True})
        del values["snapshot"]["folder"]
        for venue in values["venues"].values():
            del venue["table"]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        digest.update(json.dumps(dict(self.tables[key].digests), sort_keys=True).encode())
        return digest.hexdigest()[:16]
