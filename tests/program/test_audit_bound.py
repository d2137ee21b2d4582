"""The audit's theorem: objective − gap is a lower bound on the optimum, whatever decision and multipliers."""

from functools import cache

import numpy as np
import pytest
from answers import answer, check_bound, wild_prices
from hypothesis import given, settings
from random_markets import random_market, seeds

from allocator.audit import audit


@cache
def solved(seed):
    return answer(random_market(seed))


@pytest.mark.parametrize("seed", range(6))
def test_objective_less_gap_is_never_above_the_optimum(seed):
    check_bound(solved(seed), np.random.default_rng(seed), 12)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(seed=seeds)
def test_bound_at_length(seed):
    check_bound(solved(seed), np.random.default_rng(seed), 30)


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
