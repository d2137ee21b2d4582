"""The audit's theorem: objective − gap is a lower bound on the optimum, whatever decision and multipliers."""

from functools import cache

import numpy as np
import pytest
from answers import answer, some_decision
from hypothesis import given, settings
from random_markets import random_market, seeds

from allocator.audit import audit
from allocator.market.types import Decision


@cache
def solved(seed):
    return answer(random_market(seed))


def wild_prices(prices, rng):
    """Multipliers of any size, most of them wrong."""
    kind = rng.integers(4)
    if kind == 0:
        return {name: np.zeros(len(y)) for name, y in prices.items()}
    if kind == 1:
        return {name: y * (1 + 0.01 * rng.normal(size=len(y))) for name, y in prices.items()}
    if kind == 2:
        return {name: np.maximum(y, 10 ** rng.uniform(-9, -3, len(y))) for name, y in prices.items()}
    return {name: 10 ** rng.uniform(-8, 1, len(y)) * (rng.random(len(y)) < 0.3) for name, y in prices.items()}


def check_bound(seed, trials):
    rng = np.random.default_rng(seed)
    found = solved(seed)
    best, prices = found.solution.decision, found.solution.multipliers.limits
    for _ in range(trials):
        elsewhere = some_decision(found.market, rng)
        near = 10 ** rng.uniform(-6, 0)
        decision = Decision(
            best.positions + near * (elsewhere.positions - best.positions),
            best.transfers + near * (elsewhere.transfers - best.transfers),
        )
        judged = audit(found.market, decision, wild_prices(prices, rng))
        rounding = 1e-7 * found.audit.scale_usd + 1e-12 * abs(judged.duality_gap_usd)
        assert judged.objective_usd - judged.duality_gap_usd <= found.cost + rounding


@pytest.mark.parametrize("seed", range(6))
def test_objective_less_gap_is_never_above_the_optimum(seed):
    check_bound(seed, 12)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(seed=seeds)
def test_bound_at_length(seed):
    check_bound(seed, 30)


@pytest.mark.parametrize("seed", range(6))
def test_wrong_prices_widen_the_gap_of_an_optimum(seed):
    found = solved(seed)
    rng = np.random.default_rng(seed)
    prices = found.solution.multipliers.limits
    for _ in range(4):
        judged = audit(found.market, found.solution.decision, wild_prices(prices, rng))
        assert judged.duality_gap_usd >= -1e-7 * found.audit.scale_usd
        assert judged.objective_usd == found.cost
    nothing = {name: np.zeros(len(y)) for name, y in prices.items()}
    free = audit(found.market, found.solution.decision, nothing)
    assert free.duality_gap_usd >= found.audit.duality_gap_usd - 1e-7 * found.audit.scale_usd
