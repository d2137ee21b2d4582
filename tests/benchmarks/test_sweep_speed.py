"""What a cell of a sweep costs beside the bare solve of its data, and beside rebuilding the program.

Run with ``python -m pytest tests/benchmarks/test_sweep_speed.py -m benchmark -n 0``. One process; 61
instruments on 4 venues, cells that change funding, exposure, collateral and limits. The ratios hold on any
machine; milliseconds beside them are this one's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from test_sizes import desk

from allocator.audit import audit
from allocator.market.types import Market
from allocator.program.backends import backend
from allocator.program.build import Program, numbers
from allocator.program.coefficients import structure
from allocator.program.parametric import Parametric
from allocator.program.slots import StructureChanged
from allocator.program.solve import solve
from allocator.sweeps.fast import Answer, Solver

CELLS, REBUILT = 60, 4


def variations(market: Market, count: int) -> list[Market]:
    """The desk with other funding, exposure, collateral and limits."""
    rng, found = np.random.default_rng(1), []
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


def each(jobs: list[Callable[[], object]]) -> float:
    """Median seconds of a job, the first one aside."""
    took = []
    for job in jobs:
        start = time.perf_counter()
        job()
        took.append(time.perf_counter() - start)
    return float(np.median(took[1:] or took))


def bare(markets: list[Market], vary: frozenset[str]) -> dict[str, float]:
    """Median seconds of update and solve of the same data, by solver."""
    program = Program(markets[0], vary)
    form = Parametric(program)
    data = form.data([numbers(market, program.shape) for market in markets])
    cells, found = list(data.cells()), {}
    for name in ("PIQP", "CLARABEL"):
        solver = backend(form, name)
        found[name] = each([lambda c=c, s=solver: s.solve(c, 0.0) for c in cells])
    return found


def varying(markets: list[Market]) -> frozenset[str]:
    """Names of the numbers that differ."""
    shape = structure(markets[0])
    first = numbers(markets[0], shape)
    others = [numbers(market, shape) for market in markets[1:]]
    return frozenset(n for n, v in first.items() if any(not np.array_equal(o[n], v) for o in others))


def rebuild(market: Market) -> Answer:
    """The plain path, from nothing."""
    solution = solve(Program(market))
    return Answer(solution, audit(market, solution.decision, solution.multipliers.limits))


@pytest.mark.benchmark
def test_a_cell_beside_its_bare_solve(told):
    markets = variations(desk(61, 4), CELLS)
    vary = varying(markets)
    alone = bare(markets, vary)
    fastest = min(alone.values())
    solver = Solver()
    solver.solve(markets[:8])
    start = time.perf_counter()
    answers = solver.solve(markets)
    swept = (time.perf_counter() - start) / CELLS
    program = Program(markets[0], vary)

    def again(market: Market) -> None:
        try:
            program.update(market)
        except StructureChanged:  # a benchmark of something else
            raise AssertionError("cells of one structure") from None
        solution = solve(program)
        audit(market, solution.decision, solution.multipliers.limits)

    dpp = each([lambda m=m: again(m) for m in markets[: 2 * REBUILT]])
    plain: list[Answer] = []
    built = each([lambda m=m: plain.append(rebuild(m)) for m in markets[:REBUILT]])
    judged = [
        (answer.solution, m) for answer, m in zip(answers, markets, strict=True) if isinstance(answer, Answer)
    ]
    assert len(judged) == CELLS
    audited = each([lambda s=s, m=m: audit(m, s.decision, s.multipliers.limits) for s, m in judged])
    rows = {
        **{f"bare {name} (update, solve)": seconds for name, seconds in alone.items()},
        "audit of a cell": audited,
        "fast path: map, solve, read, audit": swept,
        "update in CVXPY, solve, audit": dpp,
        "rebuild, solve, audit": built,
    }
    lines = [f"{name:36} {1e3 * s:8.1f} ms {s / fastest:7.2f} x bare" for name, s in rows.items()]
    with told():
        print("\n".join([*lines, f"rebuild / fast path {built / swept:.1f}"]))
    for one, other in zip(plain, answers, strict=False):
        assert isinstance(other, Answer)
        assert other.audit.objective_usd == pytest.approx(
            one.audit.objective_usd, abs=1e-6 * one.audit.scale_usd
        )
    assert built / swept > 3
