"""How long the daily problem takes: build, solve and audit, beside the bare solve of the same data.

Run with ``python -m pytest tests/benchmarks -m benchmark -s``. Each size runs in a process of its own, so
that its peak memory is its own. The ratio to the bare Clarabel solve of the compiled data, in the same
process, says what the modelling costs on any machine; milliseconds beside it are this machine's.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import clarabel
import cvxpy as cp
import numpy as np
import pytest
from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import dims_to_solver_cones
from markets import build
from specs import Balance, Book, Perp, Spec, brackets, limit, objective

from allocator.audit import audit
from allocator.market.types import Market
from allocator.program.build import Program
from allocator.program.solve import solve
from allocator.scenario.schema import Stress

SIZES = {13: 3, 61: 4, 409: 6, 2815: 8}  # instruments: venues
STEPS = ("build", "solve", "audit", "total")
MOST = {13: 500.0, 61: 80.0, 409: 15.0, 2815: 5.0}  # total over bare solve, with room for a busy machine


def desk(instruments: int, venues: int) -> Market:
    """A book of coins, each on several venues: 5 book levels a side, 3 brackets, 4 stresses, margins."""
    rng = np.random.default_rng(instruments)
    names = [f"venue{k}" for k in range(venues)]
    coins = max(1, instruments // venues)
    sizes = {f"C{a}": float(1e7 / (1 + a)) for a in range(coins)}
    perps = tuple(
        _perp(rng, names[k % venues], f"C{(k // venues) % coins}", k, sizes) for k in range(instruments)
    )
    book = sum(sizes.values())
    share = book / venues
    spec = Spec(
        perps=perps,
        exposure=sizes,
        asset_sd=dict.fromkeys(sizes, 0.03),
        correlation=0.6,
        factors=min(5, coins),
        currency_sd={"USDC": 4e-4, "USDT": 3e-4},
        balances=tuple(Balance(v, "USDT", 0.6 * share, withdrawable=0.1 * share, delay=0.5) for v in names),
        charges=dict.fromkeys(names, 1e-5),
        stresses={
            "up": Stress.model_construct(move=0.15),
            "down": Stress.model_construct(move=-0.15),
            "depeg": Stress.model_construct(currencies={"USDT": -0.03}),
            "gap": Stress.model_construct(move=0.1, basis={names[0]: 0.02}),
        },
        limits={
            "side": limit("hedge_side"),
            "initial": limit("initial_margin", use=0.8),
            "maintenance": limit("maintenance_margin", buffer=1.5),
            "share": limit("venue_share", max=0.5),
            "gross": limit("gross", max=1.5 * book),
        },
        objective=objective(risk_aversion_per_usd=10 / book),
        book_usd=book,
        holding_hours=240.0,
    )
    return build(spec)


def _perp(rng: np.random.Generator, venue: str, coin: str, k: int, sizes: dict[str, float]) -> Perp:
    size = sizes[coin]

    def levels() -> Book:
        offered = size * rng.dirichlet(np.ones(5))
        premiums = np.append(0.0, np.cumsum(rng.uniform(0, 3e-4, 4)))
        return Book(tuple(offered.tolist()), tuple(premiums.tolist()))

    perp = Perp(
        venue=venue,
        asset=coin,
        label=str(k),
        leverage=5.0,
        brackets=brackets([0.0, 0.3 * size, 1.5 * size], [0.005, 0.01, 0.03], [50, 25, 10]),
        fee=2e-4,
        spread=5e-5,
        bids=levels(),
        asks=levels(),
        funding=float(rng.normal(1e-4, 1e-4)),
        basis_sd=float(rng.uniform(3e-4, 8e-4)),
    )
    return replace(perp, previous=-0.3 * size / 4) if k % 3 == 0 else perp


def bare_solve(problem: cp.Problem) -> float:
    """Seconds of Clarabel alone on the compiled data."""
    data, _, _ = problem.get_problem_data(cp.CLARABEL)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = dims_to_solver_cones(data["dims"])
    start = time.perf_counter()
    solution = clarabel.DefaultSolver(data["P"], data["c"], data["A"], data["b"], cones, settings).solve()
    seconds = time.perf_counter() - start
    assert str(solution.status) in ("Solved", "AlmostSolved"), solution.status
    return seconds


def measure(instruments: int) -> dict[str, float]:
    """One row of the table; times in seconds."""
    market = desk(instruments, SIZES[instruments])
    start = time.perf_counter()
    program = Program(market)
    built = time.perf_counter()
    solution = solve(program)
    solved = time.perf_counter()
    judged = audit(market, solution.decision, solution.multipliers.limits)
    audited = time.perf_counter()
    assert judged.passed, (judged.permitted, judged.duality_gap_usd, judged.scale_usd)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bare = bare_solve(program.problem)
    total = audited - start
    return {
        "instruments": instruments,
        "venues": SIZES[instruments],
        "build": built - start,
        "solve": solved - built,
        "audit": audited - solved,
        "total": total,
        "bare": bare,
        "MB": memory,
    }


def text(row: dict[str, float]) -> str:
    """A line of the table: ratios to the bare solve, milliseconds in brackets."""
    cells = [f"{row['instruments']:11,.0f} {row['venues']:6.0f}"]
    cells += [f"{row[step] / row['bare']:7.2f} ({1e3 * row[step]:6,.0f})" for step in STEPS]
    return " ".join([*cells, f"{1e3 * row['bare']:9,.0f} ms", f"{row['MB']:7,.0f} MB"])


@pytest.mark.benchmark
def test_sizes(capfd):
    rows = []
    tests = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    for instruments in SIZES:
        command = [sys.executable, str(Path(__file__).resolve()), str(instruments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        rows.append(json.loads(done.stdout))
    with capfd.disabled():
        steps = " ".join(f"{step + ' (ms)':>16}" for step in STEPS)
        print(f"\ninstruments venues {steps}    bare solve  peak memory")
        for row in rows:
            print(text(row))
    for row in rows:
        assert row["total"] / row["bare"] < MOST[int(row["instruments"])]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
