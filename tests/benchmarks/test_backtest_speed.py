"""What a walk costs: a daily decision with its hourly margin checks beside the bare solve, and a year of it.

Run with ``python -m pytest tests/benchmarks/test_backtest_speed.py -m benchmark -n 0``. One process; a
synthetic hourly history. A decision is everything from one to the next: forecasts from the history, program,
audit, whole lots, and 24 bars of prices, funding and margin. CPU seconds, so that a busy machine counts less.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from backtest_desk import history, write
from samples import FULL

from allocator.backtests.decide import allocator
from allocator.backtests.engine import Span, walk, walk_all
from allocator.backtests.rivals import strategies
from allocator.backtests.tape import Tape
from allocator.program.backends import backend, fastest
from allocator.program.build import Program, numbers
from allocator.program.parametric import Parametric

DAY = pd.Timedelta("24h")


def seconds(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


def bare(markets: list) -> float:
    """Median seconds of the solver alone on these markets' data, warm."""
    first = markets[0]
    program = Program(first)
    values = [numbers(market, program.shape) for market in markets]
    vary = frozenset(
        name for name in values[0] if any(not np.array_equal(v[name], values[0][name]) for v in values)
    )
    form = Parametric(Program(first, vary))
    data = form.data(values)
    solver = backend(form, fastest(form))
    took = [seconds(lambda c=cell: solver.solve(c, 0.0)) for cell in data.cells()]
    return float(np.median(took[1:]))


@pytest.mark.benchmark
def test_a_daily_decision_beside_its_bare_solve(tmp_path, told):
    loaded, snapshot = history(write(tmp_path, 61, 4), 60)
    tape = Tape.of(snapshot)
    start = tape.times[0] + pd.Timedelta(days=30)
    markets = []

    def watching(moment):
        markets.append(moment.market)
        return allocator(moment)

    def days(count: int) -> float:
        span = Span(start, start + count * DAY, DAY)
        return seconds(lambda: walk(loaded, tape, span, "allocator", watching))

    days(1)
    decision = float(np.median([(days(24) - days(4)) / 20 for _ in range(5)]))
    shapes = {}
    for market in markets[-20:]:
        shapes.setdefault(tuple(sorted((k, v.shape) for k, v in _numbers(market).items())), []).append(market)
    alone = bare(max(shapes.values(), key=len))
    with told():
        print(f"61 instruments, 4 venues: {1e3 * decision:.0f} ms a decision with 24 hourly margin checks")
        print(f"bare solve {1e3 * alone:.1f} ms, ratio {decision / alone:.1f}")
    assert decision / alone < 20.0


def _numbers(market):
    from allocator.program.coefficients import structure

    return {name: np.asarray(value) for name, value in numbers(market, structure(market)).items()}


@pytest.mark.benchmark
def test_a_year_of_hours(tmp_path, told):
    """Ten coins on three venues, two months unless asked for all: the allocator, and five strategies."""
    days = 365 if FULL else 60
    loaded, snapshot = history(write(tmp_path, 30, 3), days + 30)
    tape = Tape.of(snapshot)
    span = Span(tape.times[0] + pd.Timedelta(days=30), tape.times[-1], DAY)
    known = strategies(list(loaded.scenario.venues))
    names = ("allocator", "no_hedge", "one_to_one.venue0", "equal_split", "best_funding")
    alone = seconds(lambda: walk_all(loaded, tape, span, {"allocator": known["allocator"]}))
    together = seconds(lambda: walk_all(loaded, tape, span, {name: known[name] for name in names}))
    with told():
        print(f"{days} days of hours, 30 instruments: {alone:.0f} s of CPU, five strategies {together:.0f}")
        print(f"a year would take {alone * 365 / days:.0f} and {together * 365 / days:.0f}")
    # Side by side they share what is known at a bar: four rivals cost less than the allocator does.
    assert together < 3 * alone
