"""The audit of many cells at once says of each what the single audit says, of wrong answers too."""

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import ANYTHING, Wish, random_spec
from samples import chunks

from allocator.audit import Audit, audit
from allocator.audit.block import alike, audit_block, evaluable
from allocator.errors import HedgeError
from allocator.market.types import Decision
from allocator.program.build import Program
from allocator.program.solve import solve


def variations(seed, wish, count):
    """Markets of one structure whose funding, costs, exposure, collateral and limits differ."""
    spec, rng = random_spec(seed, wish), np.random.default_rng(seed)

    def near(value, width=0.02):
        return value * float(rng.uniform(1 - width, 1 + width))

    found = [build(spec)]
    for _ in range(count - 1):
        aversion = near(spec.objective.risk_aversion_per_usd, 0.3)
        found.append(
            build(
                replace(
                    spec,
                    perps=tuple(
                        replace(p, funding=near(p.funding, 0.5), previous=near(p.previous, 0.1))
                        for p in spec.perps
                    ),
                    exposure={a: near(usd) for a, usd in spec.exposure.items()},
                    balances=tuple(replace(b, usd=b.usd + 0.05 * abs(b.usd)) for b in spec.balances),
                    book_usd=near(spec.book_usd),
                    objective=spec.objective.model_copy(update={"risk_aversion_per_usd": aversion}),
                )
            )
        )
    return [market for market in found if alike(found[0], market)]


def prices_of(market, rng):
    """An optimum and its multipliers, or where there is none some of both."""
    try:
        solution = solve(Program(market), conflicts=False)
    except HedgeError:
        return None
    return solution.decision, solution.multipliers.limits


def spoiled(market, decision, prices, rng, how):
    """Other positions, transfers or multipliers: wrong by a little, by much, or not at all."""
    size = {"right": 0.0, "nearly": 1e-6, "wrong": 0.3}[how] * market.book_usd
    shaken = Decision(
        decision.positions + size * rng.normal(size=len(decision.positions)),
        decision.transfers + 0.1 * size * rng.normal(size=len(decision.transfers)),
    )
    width = {"right": 0.0, "nearly": 1e-3, "wrong": 3.0}[how]
    return shaken, {n: p * rng.uniform(1 - width, 1 + width, len(p)) for n, p in prices.items()}


def compare(one: Audit, other: Audit, market):
    """Equal but for rounding: dollars to 1e-9 of what is at stake."""
    stake = 1e-9 * (abs(other.scale_usd) + abs(other.duality_gap_usd)) + 1e-12 * market.book_usd
    assert one.passed == other.passed
    assert one.permitted.passed == other.permitted.passed
    assert one.permitted.max_violation_usd == pytest.approx(
        other.permitted.max_violation_usd, rel=1e-9, abs=1e-9 * market.book_usd
    )
    if other.permitted.max_violation_usd > 1e-6 * market.book_usd:
        assert one.permitted.worst_limit == other.permitted.worst_limit
    assert one.permitted.tolerance_usd == pytest.approx(other.permitted.tolerance_usd, rel=1e-12)
    assert one.objective_usd == pytest.approx(other.objective_usd, rel=1e-12, abs=1e-11 * other.scale_usd)
    assert one.scale_usd == pytest.approx(other.scale_usd, rel=1e-11)
    assert one.duality_gap_usd == pytest.approx(other.duality_gap_usd, abs=stake)
    assert len(one.values) == len(other.values)
    for mine, theirs in zip(one.values, other.values, strict=True):
        texts = [(v.name, v.kind, v.source, v.subjects, v.unit, v.price) for v in (mine, theirs)]
        assert texts[0] == texts[1]
        width = 1e-9 * (np.abs(theirs.value) + np.abs(theirs.bound) + 1e-6 * market.book_usd)
        assert np.all(np.abs(mine.slack_usd - theirs.slack_usd) <= width * np.maximum(theirs.usd_per_unit, 1))
        assert mine.value == pytest.approx(theirs.value, rel=1e-9, abs=1e-9 * market.book_usd)


def check(seed, wish=ANYTHING):
    """How many cells were judged, and how many of them failed."""
    rng = np.random.default_rng([seed, 7])
    cells = []
    markets = variations(seed, wish, 3)
    if not evaluable(markets[0]):
        return 0, 0
    for market in markets:
        found = prices_of(market, rng)
        if found is not None:
            cells += [(market, *spoiled(market, *found, rng, how)) for how in ("right", "nearly", "wrong")]
    if not cells:
        return 0, 0
    judged = audit_block(
        [market for market, _, _ in cells],
        np.array([decision.positions for _, decision, _ in cells]),
        np.array([decision.transfers for _, decision, _ in cells]),
        {name: np.array([prices[name] for _, _, prices in cells]) for name in cells[0][2]},
    )
    failed = 0
    for k, (market, decision, prices) in enumerate(cells):
        single = audit(market, decision, prices)
        compare(judged.cell(k), single, market)
        assert judged.checked.breaches_usd[k] >= 0
        failed += not single.passed
    return len(cells), failed


@pytest.mark.parametrize("seed", range(12))
def test_a_block_says_of_each_cell_what_the_single_audit_says(seed):
    cells, failed = check(seed)
    assert cells == 0 or failed > 0


@pytest.mark.parametrize("mode", ["utility", "min_variance", "min_cost"])
@pytest.mark.parametrize("costs", ["book", "impact", "linear", "none"])
def test_in_every_mode_and_with_every_cost(mode, costs):
    cells, failed = check(100, Wish(mode=mode, costs=costs))
    assert cells > failed > 0


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(1000, 10, 10, 1000))
def test_on_many_random_markets(seeds):
    judged = [check(seed) for seed in seeds]
    assert sum(cells for cells, _ in judged) > sum(failed for _, failed in judged) > 0
