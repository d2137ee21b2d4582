"""What a cell of a sweep costs beside the bare solve of its data, and beside the ways others take.

Run with ``python -m pytest tests/benchmarks/test_sweep_speed.py -m benchmark -n 0``. 61 instruments on 4
venues, 5 book levels a side, 3 brackets, 4 stresses; cells change funding, exposure, collateral and limits.
Times of one process are processor time, taken in turns, so that ratios hold on a busy machine too. With
HEDGE_BENCHMARK_PYTHON naming an interpreter that has cvxportfolio or skfolio, their nearest problem is timed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from bare_solvers import Solve, clarabel_solves, piqp_solves, qoco_solves
from desk_files import write_desk
from samples import FULL
from test_sizes import desk

from allocator.audit import audit
from allocator.collection import collection_paused
from allocator.market.types import Market
from allocator.program.build import Program, numbers
from allocator.program.coefficients import structure
from allocator.program.parametric import Parametric
from allocator.program.solve import solve
from allocator.scenario.cells import Cell
from allocator.scenario.sweep import Variant
from allocator.sweeps import store
from allocator.sweeps.fast import Answer, Solver
from allocator.sweeps.plan import make_plan
from allocator.sweeps.records import Records
from allocator.sweeps.run import CHUNK, Sweep, run_plan

CHUNKS, REBUILT = 8, 4
OTHERS = Path(__file__).with_name("other_libraries.py")
LACKS = "no margin, stresses, books, transfers or prices of limits"


def variations(market: Market, count: int, seed: int = 1) -> list[Market]:
    """The desk with other funding, exposure, collateral and limits."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        funding, collateral = market.funding, market.collateral
        near = rng.uniform(0.95, 1.05, len(market.exposure))
        gross = rng.uniform(0.9, 1.1)
        limits = tuple(
            replace(spec, limit=spec.limit.model_copy(update={"max": spec.limit.max * gross}))
            if spec.key == "gross"
            else spec
            for spec in market.limits
        )
        found.append(
            replace(
                market,
                funding=replace(funding, cost=funding.cost * rng.uniform(0.5, 1.5, len(funding.cost))),
                exposure=market.exposure * near,
                collateral=replace(collateral, balance=collateral.balance * rng.uniform(1.0, 1.1)),
                limits=limits,
            )
        )
    return found


def seconds(jobs: Sequence[Callable[[], object]]) -> float:
    """Processor time of all jobs, each."""
    start = time.process_time()
    for job in jobs:
        job()
    return (time.process_time() - start) / len(jobs)


def varying(markets: list[Market]) -> frozenset[str]:
    """Names of the numbers that differ."""
    shape = structure(markets[0])
    first = numbers(markets[0], shape)
    others = [numbers(market, shape) for market in markets[1:]]
    return frozenset(n for n, v in first.items() if any(not np.array_equal(o[n], v) for o in others))


def bare_solves(form: Parametric, markets: list[Market]) -> dict[str, list[Solve]]:
    """Every solver on the data of these cells."""
    cells = list(form.data([numbers(market, form.program.shape) for market in markets]).cells())
    return {
        "PIQP": piqp_solves(form, cells, bounds=False),
        "PIQP, bounds": piqp_solves(form, cells, bounds=True),
        "CLARABEL": clarabel_solves(form, cells),
        "QOCO": qoco_solves(form, cells),
    }


def named(count: int) -> list[Cell]:
    """Cells as a sweep would name them."""
    return [Cell(k, f"cell {k}", {"limits.gross.max": float(k)}, Variant((), ()), "") for k in range(count)]


def swept(solver: Solver, markets: list[Market], folder: Path) -> list[object]:
    """A chunk as a sweep computes it from its markets on: map, solve, read, audit, tables on disk."""
    with collection_paused():
        answers = solver.solve(markets)
        records = Records()
        records.extend(list(zip(named(len(markets)), markets, answers, strict=True)))
        store.keep(folder, store.part_of(records, {"limits.gross.max": float}))
    return list(answers)


def rebuild(market: Market) -> Answer:
    """The plain path, from nothing."""
    solution = solve(Program(market))
    return Answer((solution, audit(market, solution.decision, solution.multipliers.limits)))


@pytest.mark.benchmark
def test_a_cell_beside_its_bare_solve(told, tmp_path):
    markets = variations(desk(61, 4), CHUNKS * CHUNK)
    vary = varying(markets[:8])
    program, solver = Program(markets[0], vary), Solver(afresh=True)
    form = Parametric(program)
    solver.solve(markets[:8])
    took: dict[str, list[float]] = {"fast path, all of it": []}
    answers: list[object] = []
    for start in range(0, len(markets), CHUNK):
        chunk = markets[start : start + CHUNK]
        for name, jobs in bare_solves(form, chunk).items():
            few = jobs if name.startswith("PIQP") else jobs[: CHUNK // 4]
            took.setdefault(f"bare {name}", []).append(seconds(few))
        began = time.process_time()
        answers += swept(solver, chunk, tmp_path)
        took["fast path, all of it"].append((time.process_time() - began) / CHUNK)
    bare = min(float(np.median(v)) for name, v in took.items() if name.startswith("bare"))

    def again(market: Market) -> None:
        program.update(market)
        solution = solve(program)
        audit(market, solution.decision, solution.multipliers.limits)

    again(markets[0])
    took["DPP re-solve in CVXPY, audit"] = [seconds([lambda m=m: again(m)]) for m in markets[:REBUILT]]
    plain: list[Answer] = []
    took["rebuild, solve, audit"] = [
        seconds([lambda m=m: plain.append(rebuild(m))]) for m in markets[:REBUILT]
    ]
    median = {name: float(np.median(values)) for name, values in took.items()}
    # In turns: each chunk beside its own bare solve.
    ratios = np.array(took["fast path, all of it"]) / np.min(
        [values for name, values in took.items() if name.startswith("bare")], axis=0
    )
    with told():
        for name, value in sorted(median.items(), key=lambda item: item[1]):
            print(f"{name:32} {1e3 * value:8.2f} ms {value / bare:7.2f} x bare")
        print(f"fast path / bare by chunk: {np.round(ratios, 2).tolist()}, median {np.median(ratios):.2f}")
        fast = median["fast path, all of it"]
        print(f"rebuild / fast path {median['rebuild, solve, audit'] / fast:.1f}")
        print(f"DPP re-solve / fast path {median['DPP re-solve in CVXPY, audit'] / fast:.1f}")
        for line in others(61, fast):
            print(line)
    for one, other, market in zip(plain, answers, markets, strict=False):
        assert isinstance(other, Answer)
        scale = one.audit.scale_usd
        assert other.audit.objective_usd == pytest.approx(one.audit.objective_usd, abs=1e-6 * scale)
        x, y = other.solution.decision.positions, one.solution.decision.positions
        assert x == pytest.approx(y, abs=1e-5 * market.book_usd)
    assert median["rebuild, solve, audit"] / fast > 6
    assert np.median(ratios) < 2


def others(n: int, fast: float) -> list[str]:
    """Rows of other libraries, with what their nearest problem lacks."""
    interpreter = os.environ.get("HEDGE_BENCHMARK_PYTHON")
    if interpreter is None:
        return ["cvxportfolio, skfolio: not installed (name their interpreter in HEDGE_BENCHMARK_PYTHON)"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [interpreter, str(OTHERS), str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return [
        f"{name:32} {1e3 * value:8.2f} ms {value / fast:7.2f} x fast path; {LACKS}"
        if isinstance(value, float)
        else f"{name:32} {value}"
        for name, value in found.items()
    ]


@pytest.mark.benchmark
def test_growth_with_instruments(told):
    """Per-cell time beside the bare solver's, from 61 instruments on; to 2,815 where all is asked for."""
    rows = []
    sizes = {61: (4, 24), 203: (5, 24), 409: (6, 24), **({1009: (7, 12), 2815: (8, 8)} if FULL else {})}
    for n, (venues, count) in sizes.items():
        markets = variations(desk(n, venues), count)
        vary = varying(markets[:4])
        form, solver = Parametric(Program(markets[0], vary)), Solver()
        cells = list(form.data([numbers(market, form.program.shape) for market in markets]).cells())
        jobs = piqp_solves(form, cells, bounds=True)
        solver.solve(markets)
        fast, bare = [], []
        for _ in range(3):
            bare.append(seconds(jobs))
            fast.append(seconds([lambda m=markets, s=solver: s.solve(m)]) / len(markets))
        rows.append((n, float(np.median(fast)), float(np.median(bare))))
    instruments, fast_times, bare_times = (np.log([row[k] for row in rows]) for k in range(3))
    mine, theirs = (float(np.polyfit(instruments, times, 1)[0]) for times in (fast_times, bare_times))
    with told():
        for n, fast_time, bare_time in rows:
            print(
                f"{n:5} instruments: fast path {1e3 * fast_time:8.2f} ms, bare {1e3 * bare_time:8.2f} ms, ",
                end="",
            )
            print(f"ratio {fast_time / bare_time:.2f}")
        print(f"time grows as n^{mine:.2f}, the bare solver's as n^{theirs:.2f}; ", end="")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
    assert mine < theirs + 0.15


@pytest.mark.benchmark
def test_memory_does_not_grow_with_cells(told, tmp_path):
    base, solver = desk(61, 4), Solver()

    def cells(count: int) -> float:
        """Peak memory in MB after so many more cells."""
        for k in range(0, count, CHUNK):
            swept(solver, variations(base, CHUNK, seed=k), tmp_path)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    after, more = cells(100), 10_000 if FULL else 1500
    last = cells(more)
    with told():
        print(f"peak memory {after:.0f} MB after 100 cells, {last - after:+.0f} MB after {more} more")
    assert last - after < 200


@pytest.mark.benchmark
@pytest.mark.skipif(find_spec("distributed") is None, reason="dask[distributed] is not installed")
def test_a_cluster_beside_processes(told, tmp_path):
    """The same sweep by two workers of a Dask cluster here and by two processes, start-up of either aside."""
    from distributed import LocalCluster

    few, many = 128, 10_000 if FULL else 1600
    took: dict[tuple[str, int], float] = {}
    found: dict[str, Sweep] = {}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        executors = {"loky": "loky", "dask": cluster.scheduler_address.replace("tcp://", "dask://")}
        for count in (few, many):
            for name, executor in executors.items():
                plan = make_plan(write_desk(tmp_path / f"{name} {count}", 61, 4, count))
                workers, out = 2 if name == "loky" else None, tmp_path / f"runs {name} {count}"
                start = time.perf_counter()
                found[name] = run_plan(plan, out, workers, lambda _: None, executor)
                took[name, count] = time.perf_counter() - start
    one, other = found["loky"].cells, found["dask"].cells
    for column in ("total_usd", "volatility_hedged_usd", "gross_usd", "duality_gap_usd"):
        assert other[column].to_numpy() == pytest.approx(one[column].to_numpy(), rel=1e-6, abs=1.0)
    loky, dask = (took[name, many] - took[name, few] for name in executors)
    with told():
        print(f"{many - few} cells more: two processes {loky:.1f} s, two Dask workers {dask:.1f} s, ", end="")
        print(f"Dask / loky {dask / loky:.2f}, with start-up {took['dask', many] / took['loky', many]:.2f}")


@pytest.mark.benchmark
def test_two_processes(told, tmp_path):
    """Cells from files on, once all are resolved; the time of more cells less that of few, start-up aside."""
    few, many, took, planned = 64, 10_000 if FULL else 640, {}, 0.0
    for workers in (1, 2):
        for count in (few, many):
            path = write_desk(tmp_path / f"desk {count} {workers}", 61, 4, count)
            start = time.perf_counter()
            plan = make_plan(path)
            planned = (time.perf_counter() - start) / count
            start = time.perf_counter()
            found = run_plan(plan, tmp_path / f"runs {count} {workers}", workers, lambda _: None)
            took[workers, count] = time.perf_counter() - start
            assert found.exit_code == 0
    one, two = (took[w, many] - took[w, few] for w in (1, 2))
    with told():
        print(f"a cell resolved and named beforehand {1e3 * planned:.1f} ms, ", end="")
        print(f"from its scenario to its rows {1e3 * one / (many - few):.1f} ms by the clock")
        print(f"one process / two: {one / two:.2f}, with start-up {took[1, many] / took[2, many]:.2f}")
        print(f"{os.getloadavg()[0]:.1f} processes wanted this machine's {os.cpu_count()} processors")
