"""The search that solves again: ranges against a program of their own, lots against enumeration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from lotted import free, lotted_market
from random_markets import ANYTHING, Wish
from test_whole_lots import coarse, enumerated, placed

from allocator.errors import AuditFailed, Infeasible
from allocator.market.types import Box
from allocator.orders.branch import Grid
from allocator.orders.lots import rank, round_to_lots
from allocator.orders.search import worth
from allocator.orders.settle import Lots
from allocator.program.confined import Confined


def test_confined_is_the_program_with_one_more_box():
    """Random ranges around the optimum, empty ones too, against a program compiled for each."""
    feasible = 0
    for seed in range(4):
        market = lotted_market(seed, ANYTHING, most=8)
        confined, rng = Confined(market), np.random.default_rng(seed)
        optimum = answer(market)
        everywhere = confined(
            np.full(len(optimum.positions), -np.inf), np.full(len(optimum.positions), np.inf)
        )
        assert everywhere is not None
        scale = optimum.audit.scale_usd
        assert everywhere[1] == pytest.approx(optimum.cost, abs=1e-6 * scale)
        for _ in range(3):
            middle = optimum.positions * rng.uniform(0.7, 1.3, len(optimum.positions))
            width = 0.2 * np.abs(optimum.positions)
            box = Box("test", "position", "test", middle - width, middle + width)
            found = confined(box.lower, box.upper)
            try:
                other = answer(replace(market, boxes=(*market.boxes, box)))
            except Infeasible:
                assert found is None
                continue
            assert found is not None
            feasible += 1
            assert found[1] == pytest.approx(other.cost, abs=1e-5 * scale)
            room = 2e-8 * market.book_usd
            assert (found[0].positions >= box.lower - room).all()
            assert (found[0].positions <= box.upper + room).all()
    assert feasible >= 4


def test_an_empty_range_has_no_decision():
    market = lotted_market(0, ANYTHING, most=8)
    x = market.positions.usd
    assert Confined(market)(x + 1.0, x - 1.0) is None


def test_grid_finds_the_next_permitted_position_either_way():
    """Against all counts of lots of every range, tried one by one."""
    seen = 0
    for seed in range(4):
        market = lotted_market(seed, ANYTHING, largest=0.5, most=8)
        lots = Lots.of(market, free(market))
        grid, rng = Grid.of(lots), np.random.default_rng(seed)
        for i, ranges in enumerate(lots.choices().ranges):
            counts = [0, *(c for r in ranges if r.most - r.least < 5000 for c in range(r.least, r.most + 1))]
            if any(r.most - r.least >= 5000 for r in ranges):
                continue
            places = {count: grid.position(i, count) for count in counts}
            for usd in rng.uniform(min(places.values()) - 10, max(places.values()) + 10, 20):
                under = [c for c, x in places.items() if x <= usd]
                over = [c for c, x in places.items() if x >= usd]
                assert grid.below(i, usd) == max(under, key=places.get, default=None)
                assert grid.above(i, usd) == min(over, key=places.get, default=None)
                seen += 1
    assert seen > 50


RULES = [
    ({}, 0.0),
    ({}, -2.5e6),
    ({"max_orders": 1}, 0.0),
    ({"max_venues": 2}, 0.0),
    ({"min_trade_usd": 4e6}, 0.0),
]


@pytest.mark.parametrize(("rules", "previous"), RULES)
def test_the_search_finds_what_enumeration_finds(rules, previous):
    market = coarse(["1900000", "1500000", "1700000"], previous=previous)
    core, stated = answer(market), free(market, **rules)
    best = enumerated(market, stated, 6)
    found = round_to_lots(market, core.solution.decision, stated, Confined)
    if not found.excess:
        assert worth(market, found)[1] == pytest.approx(best, abs=2e-4 * core.audit.scale_usd)


@pytest.mark.parametrize(("rules", "previous"), RULES)
def test_the_reported_gap_covers_the_true_one(rules, previous):
    """To the best of all whole-lot decisions, found by trying them all."""
    market = coarse(["1900000", "1500000", "1700000"], previous=previous)
    given = {("min_trade" if name == "min_trade_usd" else name): value for name, value in rules.items()}
    core, result = placed(market, **given)
    best = enumerated(market, free(market, **rules), 6)
    assert 0 <= result.objective_usd - best + 1e-6 <= result.gap_usd + 2e-6
    assert result.objective_usd - best <= 5e-3 * core.audit.scale_usd


def test_it_is_never_worse_than_moving_single_lots_and_repeats_itself():
    better = 0
    for seed in range(60, 65):
        market = lotted_market(seed, Wish(mode="utility"), most=8)
        core = answer(market)
        scale = core.audit.scale_usd
        moved = round_to_lots(market, core.solution.decision, free(market))
        solved = round_to_lots(market, core.solution.decision, free(market), Confined)
        again = round_to_lots(market, core.solution.decision, free(market), Confined)
        assert solved.trades == again.trades
        assert rank(market, solved)[:2] <= rank(market, moved)[:2]
        gain = worth(market, moved)[1] - worth(market, solved)[1]
        assert gain >= -1e-3 * scale  # what is within 0.1 % is not searched
        better += gain > 1e-3 * scale
    assert better


def test_transfers_follow_the_lots():
    """Where collateral moves, what is sent is the best for the whole lots, not for the convex optimum."""
    seen = 0
    for seed in range(40):
        market = lotted_market(seed, Wish(mode="utility"), most=8, largest=0.05)
        if not market.transfers.routes:
            continue
        core = answer(market)
        try:
            _, result = placed(market)
        except AuditFailed:
            continue
        x = result.rounded.decision.positions
        fixed = Confined(market)(x, x)
        if fixed is None:
            continue
        # No transfers serve these positions better than those that go with them.
        assert result.objective_usd <= fixed[1] + 1.1e-3 * core.audit.scale_usd, seed
        seen += 1
        if seen == 5:
            break
    assert seen == 5
