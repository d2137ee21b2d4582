"""Run a sweep: chunks of cells over processes, each finished chunk kept, the tables joined in the end."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from allocator.collection import collection_paused
from allocator.errors import DataError, HedgeError
from allocator.locking import only_one
from allocator.market.build import build_market
from allocator.market.memory import Memory
from allocator.market.types import Market
from allocator.runs import LOG, Run, find, make_parent, write
from allocator.scenario.cells import Cell
from allocator.scenario.load import resolved_yaml
from allocator.sweeps import store
from allocator.sweeps.executors import LOKY, Shared, check_executor, in_parallel, one_thread
from allocator.sweeps.fast import Answer, Solver
from allocator.sweeps.plan import Plan, make_plan
from allocator.sweeps.records import Records, types
from allocator.sweeps.sensitivity import sensitivities

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 64  # cells that a kill may lose, per process
FAILED = 7
SCHEMA_VERSION = 1
Told = Callable[[int], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: its run folder and its tables."""

    run: Run

    @property
    def cells(self) -> pd.DataFrame:
        """A row a cell: overrides, status, objective, risk, venue margins, binding limits."""
        return self._table("cells")

    @property
    def positions(self) -> pd.DataFrame:
        """A row a position of each optimal cell."""
        return self._table("positions")

    @property
    def limits(self) -> pd.DataFrame:
        """A row a binding limit of each optimal cell, with its price."""
        return self._table("limits")

    @property
    def exit_code(self) -> int:
        """0, or 7 where some cell is not optimal."""
        return self.run.exit_code

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from allocator.report.brief import of_sweep

        best = self.cells.query("status == 'optimal'")
        shown = ["name", "total_usd", "volatility_hedged_usd"]
        rows = best.nsmallest(5, "total_usd")[shown].itertuples(index=False) if len(best) else []
        return of_sweep(json.loads(self.run.text("result.json")), [tuple(row) for row in rows])

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.run.folder / f"{name}.parquet")


def sweep(
    scenario: Path | str,
    *,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    snapshot: Path | None = None,
    out: Path | str = "runs",
    workers: int | None = None,
    solver: str | None = None,
    executor: str = LOKY,
) -> Sweep:
    """Solve every cell of a scenario's `sweep` and keep the tables in a run folder below `out`.

    `workers` is the number of processes, by default one a core; 1 computes here. `executor` is `loky`, or the
    address of a Dask scheduler as dask://HOST:PORT. `solver` is PIQP or CLARABEL; None takes PIQP for
    quadratic programs, Clarabel for those with cones. Raises `ScenarioError` and `DataError` before the first
    cell; afterwards a cell that fails is a row with its reason. A sweep that was stopped goes on where it
    was; while another process computes the same one, this waits for it.
    """
    if not isinstance(scenario, Path | str):
        raise TypeError(
            "a sweep reads its scenario cell by cell: name the file, and give overlays and sets here"
        )
    check_executor(executor, workers)
    plan = make_plan(scenario, overlays, sets, snapshot, solver)
    return run_plan(plan, Path(out), workers, lambda _: None, executor)


def run_plan(plan: Plan, out: Path, workers: int | None, told: Told, executor: str = LOKY) -> Sweep:
    """Compute what is not yet there; `told` hears how many cells are finished, first those found."""
    done = find(out, plan.sweep_id)
    if done is None:
        make_parent(out)
        with only_one(out / f".sweep-{plan.sweep_id}.lock"):
            # Another process may have finished it meanwhile.
            done = find(out, plan.sweep_id)
            if done is None:
                return Sweep(_go_on(plan, out, Pool(executor, workers), told))
    told(len(plan.cells.cells))
    return Sweep(done)


@dataclass(frozen=True)
class Pool:
    """Where cells are computed: `loky` or the address of a Dask cluster; the number of processes."""

    executor: str
    workers: int | None


def _go_on(plan: Plan, out: Path, pool: Pool, told: Told) -> Run:
    started = datetime.now(UTC)
    folder = out / f".sweep-{plan.sweep_id}"
    folder.mkdir(exist_ok=True)
    store.clear_partial(folder)
    there = store.finished(folder)
    told(len(there))
    left = [cell.index for cell in plan.cells.cells if cell.index not in there]
    # The same cells stand together however often it goes on: what a solver makes of one hangs on the first.
    chunks = [list(chunk) for _, chunk in groupby(left, lambda index: index // CHUNK)]
    # Parts are written here alone: what a worker finishes after a kill is lost, and disturbs nothing.
    for part in _computed(plan, folder, chunks, pool):
        store.keep(folder, part)
        told(part.cells)
    run = _finish(plan, out, folder, started)
    shutil.rmtree(folder, ignore_errors=True)
    return run


def _computed(plan: Plan, folder: Path, chunks: Sequence[Sequence[int]], pool: Pool) -> Iterator[store.Part]:
    """The chunks' parts, as they are finished."""
    if pool.executor == LOKY and (pool.workers == 1 or len(chunks) < 2):
        worker = Worker(plan)
        with one_thread():
            for chunk in chunks:
                yield worker.part(chunk)
    elif chunks:
        yield from in_parallel(pool.executor, pool.workers, plan, folder, _in_process, chunks)


_ALONE = threading.Lock()  # a cluster's worker may run tasks in threads; the modeller is not made for them


def _in_process(shared: Shared, chunk: Sequence[int]) -> store.Part:
    with _ALONE, one_thread():
        return _worker(shared).part(chunk)


@lru_cache(maxsize=1)
def _worker(shared: Shared) -> Worker:
    return Worker(shared.value())


class Worker:
    """Computes chunks of cells; keeps compiled programs and built parts of markets between them."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._swept = types(plan.cells.cells)
        self._solver = Solver(plan.solver, afresh=True)
        self._memory = Memory()

    def part(self, indices: Sequence[int]) -> store.Part:
        """Compute cells; their rows as one part."""
        with collection_paused():
            return store.part_of(self.records([self._plan.cells.cells[k] for k in indices]), self._swept)

    def records(self, cells: Sequence[Cell]) -> Records:
        """The rows of some cells."""
        records, markets = Records(), [self._market(cell) for cell in cells]
        there = [market for market in markets if isinstance(market, Market)]
        answers = iter(self._solver.solve(there))
        records.extend(
            [
                (cell, market, next(answers)) if isinstance(market, Market) else (cell, None, market)
                for cell, market in zip(cells, markets, strict=True)
            ]
        )
        return records

    def _market(self, cell: Cell) -> Market | HedgeError:
        loaded, tables = self._plan.scenario(cell)
        try:
            return build_market(loaded, tables, memory=self._memory)
        except HedgeError as error:
            return error


def _finish(plan: Plan, out: Path, folder: Path, started: datetime) -> Run:
    tables = {name: store.joined(folder, name) for name in store.TABLES}
    if len(tables["cells"]) != len(plan.cells.cells):
        raise DataError(f"{folder}: parts of this sweep were changed; move the folder away and run again")
    counts = Counter(tables["cells"]["status"].to_pylist())
    code = 0 if set(counts) <= {"optimal"} else FAILED
    name, swept = plan.cells.base.scenario.name, list(types(plan.cells.cells))
    result = {
        "schema_version": SCHEMA_VERSION,
        "run_id": plan.sweep_id,
        "scenario": name,
        "status": "optimal" if code == 0 else "some_failed",
        "cells": len(plan.cells.cells),
        "by_status": dict(sorted(counts.items())),
        "swept": swept,
        "sensitivity": [found.to_json() for found in sensitivities(tables["cells"].to_pandas(), swept)],
    }
    log.info("sweep %s of %s: %s", plan.sweep_id, name, result["by_status"])
    finished = datetime.now(UTC)
    entry = {"time": finished.isoformat(timespec="milliseconds"), "level": "info", "message": "finished"}
    files: dict[str, str | bytes] = {
        **{f"{name}.parquet": store.parquet_bytes(table) for name, table in tables.items()},
        "result.json": json.dumps(result, indent=2) + "\n",
        "scenario.resolved.yaml": resolved_yaml(plan.cells.base.scenario),
        LOG: json.dumps(entry) + "\n",
    }
    facts = {
        "status": result["status"],
        "exit_code": code,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": finished.isoformat(timespec="milliseconds"),
        "tables": {},
        "solver": plan.solver,
    }
    return write(out, plan.sweep_id, files, facts)


__all__ = ["Answer", "Sweep", "Worker", "run_plan", "sweep"]
