"""Ranges of prices: ends known by hand, kinks, edges, and the same ends from rebuilding every program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import Wish
from samples import chunks
from small_markets import small_spec
from specs import Book, limit, objective, single_asset

from allocator.explanations.figures import figures
from allocator.explanations.prices import derivative, dollars_per_multiplier, shadow_prices
from allocator.explanations.ranges import HOLDS, concerned, price_at, price_ranges
from allocator.explanations.resolve import Resolver
from allocator.program.build import Program
from allocator.program.solve import solve

LAMBDA = 1e-6
VARIANCE = 0.025**2


def ranges_of(market, prices, stresses=None, fast=True):
    """Ranges of these prices of the market's optimum, and what solved for them."""
    known = figures(market, stresses or {})
    resolver = Resolver(market, concerned(market, prices, known), fast=fast)
    return price_ranges(resolver, solve(Program(market)), prices, known), resolver


def priced(market, stresses=None):
    prices = shadow_prices(market, solve(Program(market)), stresses or {})
    return [p for p in (*prices.figures, *prices.collateral) if p.saves_usd]


def one_coin(limits, **goal):
    """Ten millions of one coin, two venues; the whole hedge is worth having."""
    spec = single_asset(1e7, 2, LAMBDA, basis_sd=0.0)
    goal = objective(**{"risk_aversion_per_usd": LAMBDA, **goal})
    return replace(spec, limits=limits, objective=goal)


def test_the_range_of_a_cap_in_closed_form():
    """λσ²(e − G) per dollar changes by 1 % of itself when G moves by 1 % of e − G."""
    market = build(one_coin({"gross": limit("gross", max=6e6)}))
    (over,), resolver = ranges_of(market, priced(market))
    assert not over.kink
    # Within the range the price holds, at the next value tried it does not; the true end is between.
    assert 6e6 < over.relaxed.until <= 6.04e6 + 1 < over.relaxed.next + 2
    assert over.tightened.next - 2 < 5.96e6 - 1 <= over.tightened.until < 6e6
    assert over.relaxed.beyond_usd == pytest.approx(LAMBDA * VARIANCE * (1e7 - over.relaxed.next), rel=1e-6)
    assert resolver.solves <= 10


def test_a_price_that_jumps_holds_up_to_the_jump():
    """Impact apart, the book's first level ends at $2m: only there does the price of the cap change by 10 bp.

    The risk that is left hardly changes the price on the way: most of it is the funding that shorts are paid.
    """
    book = Book((2e6, 8e6), (0.0, 1e-3))
    spec = single_asset(1e7, 1, 1e-9, fee=2e-4, funding=5e-3, bids=book, asks=book, basis_sd=0.0)
    market = build(
        replace(
            spec,
            limits={"gross": limit("gross", max=1.5e6)},
            objective=objective(risk_aversion_per_usd=1e-9),
        )
    )
    (over,), resolver = ranges_of(market, priced(market))
    assert over.saves_usd == pytest.approx(5e-3 - 2e-4 + 1e-9 * VARIANCE * 8.5e6, rel=1e-6)
    assert over.relaxed.until <= 2e6 + 1 < over.relaxed.next + 2
    assert (over.relaxed.next - 1.5e6) / (over.relaxed.until - 1.5e6) <= 1.4
    assert over.relaxed.beyond_usd == pytest.approx(over.saves_usd - 1e-3, rel=1e-3)
    assert resolver.solves <= 10


def test_a_kink_is_told_with_both_prices():
    """A cap of $2m, where the book's first level ends: the last dollar cost 2 bp, the next costs 12 bp."""
    book = Book((2e6, 8e6), (0.0, 1e-3))
    spec = single_asset(1e7, 1, LAMBDA, fee=2e-4, bids=book, asks=book, basis_sd=0.0)
    market = build(
        replace(
            spec,
            limits={"gross": limit("gross", max=2e6)},
            objective=objective(risk_aversion_per_usd=LAMBDA),
        )
    )
    (over,), _ = ranges_of(market, priced(market))
    left, right = (LAMBDA * VARIANCE * 8e6 - cost for cost in (2e-4, 12e-4))
    # Of a kink, the multiplier may be any of the prices between; both sides are told.
    assert right - 1e-6 <= over.saves_usd <= left + 1e-6
    assert over.kink
    sides = {side.beyond_usd for side in (over.relaxed, over.tightened) if side.next is not None}
    if over.relaxed.until == 2e6:
        assert over.relaxed.beyond_usd == pytest.approx(right, rel=1e-4)
    if over.tightened.until == 2e6:
        assert over.tightened.beyond_usd == pytest.approx(left, rel=1e-4)
    assert 2e6 in (over.relaxed.until, over.tightened.until), sides


def test_an_edge_beyond_which_nothing_is_permitted_is_told():
    """The cap is just enough for a net delta of at most zero: less is not permitted, more saves nothing."""
    delta = limit("net_delta", min=-1.0, max=0.0)
    spec = one_coin({"delta": delta, "gross": limit("gross", max=1e7)}, mode="min_cost", volatility_limit=1e3)
    paid = replace(spec, perps=tuple(replace(p, funding=1e-4) for p in spec.perps))  # shorts are paid
    market = build(paid)
    ranges, _ = ranges_of(market, priced(market))
    gross = next(r for r in ranges if r.name == "limits.gross.max")
    assert gross.tightened.infeasible  # 9,999,900 of shorts leave more delta than is allowed
    assert gross.tightened.beyond_usd is None
    assert gross.relaxed.beyond_usd == pytest.approx(0.0, abs=1e-7)


def check_range(over, figure, market):
    """Whether programs built anew agree at both ends; returns how far off their prices are, in bands."""

    def anew(value):
        return price_at(Resolver(market, frozenset(), fast=False), figure, value)

    size = 1.0 if figure.unit == "USD" else figure.size
    band = HOLDS * abs(over.saves_usd) + 1e-7 * size
    off = []
    for side in (over.relaxed, over.tightened):
        if side.until != figure.value:
            off.append(max(abs(anew(side.until).price - over.saves_usd) / band - 1, 0.0))
        if side.next is None:
            continue
        there = anew(side.next)
        assert there.infeasible == side.infeasible
        if side.beyond_usd is not None:
            # Beyond an end a price may be next to none: solvers tell it to some 1e-8 dollars a unit.
            off.append(abs(there.price - side.beyond_usd) / max(band, 2e-6 * size))
            assert abs(there.price - over.saves_usd) >= 0.99 * band
    return off


def check_one(seed):
    """The two dearest figures of a random market: the ends of their ranges, by programs built anew."""
    spec = small_spec(seed, Wish())
    market = build(spec)
    known = {f.name: f for f in figures(market, spec.stresses)}
    prices = [p for p in priced(market, spec.stresses) if p.name in known]
    dear = sorted(prices, key=lambda p: -p.worth_usd)[:2]
    found, resolver = ranges_of(market, dear, spec.stresses)
    off = [o for over in found for o in check_range(over, known[over.name], market)]
    return off, resolver.solves / max(len(found), 1)


def check(seeds, told):
    rows = [check_one(seed) for seed in seeds]
    off = np.array([o for row, _ in rows for o in row])
    solves = np.array([n for _, n in rows])
    with told():
        print(f"ranges of {len(rows)} markets against programs built anew, {len(off)} ends:")
        print(f"  off by, in bands of 1%: median {np.median(off):.1e}, worst {off.max():.1e}")
        print(f"  solves a range: median {np.median(solves):g}, most {solves.max():g}")
    assert off.max() <= 0.02


def test_ends_are_those_of_programs_built_anew(told):
    check(range(1), told)


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(100, 5, 5, first=1000))
def test_ends_are_those_of_programs_built_anew_at_length(told, seeds):
    check(seeds, told)


def test_a_balance_is_not_made_a_debt():
    spec = small_spec(0, Wish(soft=False))
    market = build(spec)
    for figure in figures(market, spec.stresses):
        if figure.kind == "collateral" and figure.value >= 0:
            assert figure.least == 0.0


def test_solving_again_by_both_paths_gives_the_same_prices():
    market = build(one_coin({"gross": limit("gross", max=6e6)}))
    (figure,) = (f for f in figures(market, {}) if f.name == "limits.gross.max")
    for fast in (True, False):
        resolver = Resolver(market, frozenset({"limits.gross"}), fast=fast)
        moved = figure.move(market, 5e6)
        solution = resolver(moved)
        assert dollars_per_multiplier(moved, solution.multipliers) == 1.0
        slope = derivative(moved, solution, replace(figure, value=5e6))
        assert slope == pytest.approx(LAMBDA * VARIANCE * 5e6, rel=1e-6)
