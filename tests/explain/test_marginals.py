"""Marginals of every trade: stationarity in dollars, hand-made and on random markets."""

from dataclasses import replace

import numpy as np
import pytest
from explained import explained
from hypothesis import given, settings
from markets import build
from random_markets import random_market
from random_markets import seeds as any_seed
from samples import chunks
from specs import Balance, Book, limit, objective, single_asset

from allocator import evaluate
from allocator.audit.audit import objective as objective_of
from allocator.audit.limits import limit_values
from allocator.explanations.marginals import marginals

LAMBDA = 2e-6


def pushes_of(spec):
    market = build(spec)
    found, at = explained(market)
    rows = marginals(market, found.solution.decision, at)
    return found, [{p.cause: p.usd_per_usd for p in row.pushes} for row in rows], rows


def test_one_perp_by_hand():
    """Risk pulls with λσ²·(net delta) + λb²·x; funding, fee and impact hold back or help."""
    spec = single_asset(1e7, 1, LAMBDA, fee=3e-4, funding=-1e-4, funding_sd=2e-4, impact=1e-7, basis_sd=1e-3)
    goal = objective(risk_aversion_per_usd=LAMBDA, funding_uncertainty_aversion=0.5)
    found, (pushes,), (row,) = pushes_of(replace(spec, objective=goal, holding_hours=72.0))
    x = float(found.positions[0])
    assert -1e7 < x < -5e6
    # A sale gains what the slope of the variance says, less what shorts pay at negative funding.
    assert pushes["risk"] == pytest.approx(LAMBDA * (0.025**2 * (1e7 + x) + 1e-6 * x), rel=1e-9)
    assert pushes["funding"] == pytest.approx(-1e-4)
    assert pushes["funding_uncertainty"] == pytest.approx(-0.5 * 2e-4)
    assert pushes["trading"] == pytest.approx(-3e-4 / 3)
    assert pushes["impact"] == pytest.approx(-1.5 * 1e-7 * np.sqrt(-x) / 3)
    assert abs(row.residual) < 1e-6 * row.scale
    assert row.pushes[0].usd == pytest.approx(row.pushes[0].usd_per_usd * abs(x))


def test_a_binding_limit_takes_what_the_rest_leaves():
    spec = single_asset(1e7, 1, LAMBDA, fee=3e-4)
    spec = replace(spec, limits={"small": limit("gross", max=4e6, soft=None)})
    found, (pushes,), (row,) = pushes_of(spec)
    rest = LAMBDA * (0.025**2 * 6e6 - 4e-4**2 * 4e6) - 3e-4
    assert pushes["limits.small.max"] == pytest.approx(-rest, rel=1e-6)
    assert found.price("limits.small.max")[0] == pytest.approx(rest, rel=1e-6)
    assert set(pushes) == {"risk", "trading", "limits.small.max"}
    assert abs(row.residual) < 1e-6 * row.scale


def test_initial_margin_is_named_with_its_price():
    """θE = (collateral − fees)·θ: one dollar short asks for 1/5 and its fee leaves the account."""
    spec = single_asset(1e7, 1, LAMBDA, fee=1e-3, leverage=5.0)
    spec = replace(
        spec,
        balances=(Balance("venue0", "USDT", 1e6),),
        limits={"im": limit("initial_margin", use=0.5, soft=None)},
    )
    found, (pushes,), (row,) = pushes_of(spec)
    y = float(found.price("limits.im.use")[0])
    assert y > 0
    assert pushes["limits.im.use"] == pytest.approx(-y * (0.2 + 0.5 * 1e-3), rel=1e-6)
    assert abs(row.residual) < 1e-6 * row.scale


def test_at_a_level_of_the_book_the_slope_lies_between_those_of_its_sides():
    """The first level costs 2 bp, the next 12 bp: the trade ends where the first is used up."""
    book = Book((2e6, 8e6), (0.0, 1e-3))
    spec = single_asset(1e7, 1, LAMBDA, fee=2e-4, bids=book, asks=book)
    goal = objective(risk_aversion_per_usd=8e-8)
    found, (pushes,), (row,) = pushes_of(replace(spec, objective=goal))
    assert found.positions[0] == pytest.approx(-2e6, abs=1.0)
    assert -12e-4 < pushes["trading"] < -2e-4
    assert pushes["trading"] == pytest.approx(-pushes["risk"], rel=1e-6)
    assert abs(row.residual) < 1e-6 * row.scale


def check_sums(market):
    """|residual| / scale of all trades.

    Impact of a trade of a few millionths of the book turns so fast that the solver's own rounding of a
    position, 2e-8 of the book, shows in it: that much is no residual.
    """
    found, at = explained(market)
    rows = marginals(market, found.solution.decision, at)
    for row in rows:
        assert sum(p.usd_per_usd for p in row.pushes) == pytest.approx(row.residual, abs=1e-7 * row.scale)
    return [max(abs(row.residual) - _unsure(market, row), 0.0) / row.scale for row in rows]


def _unsure(market, row):
    size = abs(row.trade_usd)
    if size > 1e-5 * market.book_usd:
        return 0.0
    keys = [(i.exchange, i.account, i.symbol) for i in market.instruments]
    impact = market.costs.impact[keys.index((row.venue, row.account, row.symbol))]
    return market.horizon_share * 0.75 * impact / np.sqrt(size) * 2e-8 * market.book_usd


@pytest.mark.parametrize("seed", range(15))
def test_pushes_cancel(seed):
    """To a millionth of the trade's cost scale."""
    assert max(check_sums(random_market(seed)), default=0.0) <= 1e-6


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(300, 80, 40))
def test_pushes_cancel_at_length(seeds, told):
    """The first eighty hold a trade of a millionth of the book whose impact turns fast (seed 73)."""
    errors = [e for seed in seeds for e in check_sums(random_market(seed))]
    with told():
        print(f"{len(errors)} trades of {len(seeds)} markets: |sum of pushes| / their scale")
        print(f"median {np.median(errors):.1e}, worst {max(errors):.1e}")
    assert len(errors) > 100
    assert max(errors) <= 1e-6


def lagrangian(found, market, decision):
    """The objective and every limit times its multiplier, by plain formulas alone."""
    values = limit_values(market, decision, "program")
    used, total = {}, objective_of(market, decision, tuple(v for v in values if v.price is None))
    for v in values:
        start = used.get(v.name, 0)
        used[v.name] = start + len(v.subjects)
        y = found.price(v.name)[start : used[v.name]]
        total -= float(np.minimum(y, np.inf if v.price is None else v.price) @ v.slack_usd)
    return total


def check_slopes(seed):
    """The Lagrangian of plain values rises no slower to the right than `left`, and so on, by differences."""
    market = random_market(seed)
    found, at = explained(market)
    decision = found.solution.decision
    step = 1e-5 * market.book_usd
    base = lagrangian(found, market, decision)
    noise = 2e-6 * evaluate_scale(found) / step
    for i in range(len(market.instruments)):
        unit = np.where(np.arange(len(decision.positions)) == i, step, 0.0)
        higher, lower = (replace(decision, positions=decision.positions + k * unit) for k in (1, -1))
        up = (lagrangian(found, market, higher) - base) / step
        down = (base - lagrangian(found, market, lower)) / step
        # Convex: differences lie outside the slopes; by no more than curvature and nearby kinks make.
        assert up >= at.left[i] - noise
        assert down <= at.right[i] + noise


def evaluate_scale(found):
    return found.audit.scale_usd + sum(
        abs(v) for v in evaluate.objective_terms(found.market, found.solution.decision).values()
    )


@pytest.mark.parametrize("seed", range(6))
def test_slopes_support_the_plain_lagrangian(seed):
    check_slopes(seed)


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(seed=any_seed)
def test_slopes_at_length(seed):
    check_slopes(seed)
