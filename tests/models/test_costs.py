"""Fees, book walks and impact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.costs import (
    DepthCurve,
    depth_curve,
    piecewise_cost,
    square_root_impact,
    square_root_impact_slope,
    trade_cost_segments,
    unit_cost,
    walk_cost,
)


def test_unit_cost_mixes_maker_and_taker():
    cost = unit_cost(2e-4, 5e-4, 1e-4, 0.25)
    assert float(cost.fee) == pytest.approx(4.25e-4)
    assert float(cost.spread) == pytest.approx(0.75e-4)
    assert float(cost.charged) == pytest.approx(5e-4)
    assert float(cost.rebate_not_optimised) == 0.0


def test_a_net_rebate_is_stated_and_not_charged():
    cost = unit_cost(np.array([-1e-4, 1e-4]), 5e-4, 1e-5, 1.0)
    np.testing.assert_allclose(cost.charged, [0.0, 1e-4])
    np.testing.assert_allclose(cost.rebate_not_optimised, [1e-4, 0.0])


@pytest.fixture
def asks():
    return depth_curve([100.0, 100.1, 100.1, 100.3], [10, 5, 5, 20], 100.0, 1.0, "ask", 0.5)


def test_the_walk_pays_the_levels_one_by_one(asks):
    # Half of the displayed 10, 10 and 20 coins: 5 at 100, 5 at 100.1, 10 at 100.3.
    assert asks.capacity_usd == pytest.approx(2_000.0)
    assert walk_cost(500.0, asks) == 0.0
    assert walk_cost(1_000.0, asks) == pytest.approx(5 * 0.1)
    assert walk_cost(1_500.0, asks) == pytest.approx(5 * 0.1 + 5 * 0.3)
    np.testing.assert_allclose(walk_cost(np.array([0.0, 2_000.0]), asks), [0.0, 3.5])
    with pytest.raises(ValueError, match="exceeds the depth"):
        walk_cost(2_000.1, asks)


def test_a_book_in_another_quote_and_unit():
    # 1000PEPE at 0.012 USDC: 1 m coins are 1,000 units = 12 USDC = 11.88 USD.
    curve = depth_curve([0.012], [1e6], 0.012, 0.99 / 1000, "bid", 1.0)
    assert curve.capacity_usd == pytest.approx(11.88)


def brute_walk(size, sizes, premiums):
    paid = 0.0
    for level, premium in zip(sizes, premiums, strict=True):
        taken = min(size, level)
        paid, size = paid + taken * premium, size - taken
    return paid


levels = st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.0, 0.05)), min_size=1, max_size=8)


@given(levels, levels, st.floats(0, 1e-3), st.floats(0.05, 1.0), st.floats(-1, 1))
def test_segments_equal_unit_cost_plus_walk(bid_levels, ask_levels, unit, taker_share, place):
    curves = []
    for side in (bid_levels, ask_levels):
        sizes, premiums = np.array(side).T
        curves.append(DepthCurve(sizes, np.sort(premiums)))
    book = curves[place > 0]
    trade = place * book.capacity_usd / taker_share
    slopes, intercepts = trade_cost_segments(unit, *curves, taker_share)
    direct = unit * abs(trade) + brute_walk(taker_share * abs(trade), book.sizes_usd, book.premiums)
    assert piecewise_cost(trade, slopes, intercepts) == pytest.approx(direct, rel=1e-9, abs=1e-6)


def test_segments_without_a_book_or_without_taking(asks):
    for slopes, intercepts in (
        trade_cost_segments(5e-4, None, None, 1.0),
        trade_cost_segments(5e-4, asks, asks, 0.0),
    ):
        np.testing.assert_allclose(slopes, [-5e-4, 5e-4])
        np.testing.assert_allclose(intercepts, 0.0)
    slopes, intercepts = trade_cost_segments(5e-4, None, asks, 1.0)
    assert piecewise_cost(-1_000.0, slopes, intercepts) == pytest.approx(0.5)
    assert piecewise_cost(1_000.0, slopes, intercepts) == pytest.approx(1.0)


def test_square_root_impact_of_the_textbook_trade():
    trade = 9.74e6
    assert square_root_impact(trade, 0.025, 5e9, 1.0) / trade == pytest.approx(11.03e-4, rel=1e-3)
    assert square_root_impact(4e6, 0.025, 1e8, 0.5) == pytest.approx(0.5 * 0.025 * 0.2 * 4e6)


@given(st.floats(-1e8, 1e8).filter(lambda u: abs(u) > 1.0))
def test_impact_slope_is_the_derivative(trade):
    step = 1e-4 * abs(trade)
    rise = [square_root_impact(trade + d, 0.03, 1e9, 0.7) for d in (step, -step)]
    assert square_root_impact_slope(trade, 0.03, 1e9, 0.7) == pytest.approx(
        (rise[0] - rise[1]) / (2 * step), rel=1e-6
    )
    assert square_root_impact_slope(0.0, 0.03, 1e9, 0.7) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unit_cost(1e-4, 5e-4, -1e-4, 0.5), "half_spread"),
        (lambda: unit_cost(1e-4, 5e-4, 1e-4, 1.5), "maker_share"),
        (lambda: DepthCurve(np.array([1.0, 1.0]), np.array([0.1, 0.0])), "premiums decrease"),
        (lambda: DepthCurve(np.array([0.0]), np.array([0.0])), "sizes_usd"),
        (lambda: DepthCurve(np.array([]), np.array([])), "at least one level"),
        (lambda: DepthCurve(np.array([1.0]), np.array([0.0, 0.1])), "one shape"),
        (lambda: depth_curve([99.0], [1.0], 100.0, 1.0, "ask", 1.0), "better than the best"),
        (lambda: depth_curve([101.0], [1.0], 100.0, 1.0, "bid", 1.0), "better than the best"),
        (lambda: depth_curve([99.0, 99.5], [1.0, 1.0], 100.0, 1.0, "bid", 1.0), "premiums decrease"),
        (lambda: depth_curve([99.0], [1.0], 100.0, 1.0, "bid", 0.0), "share is 0"),
        (lambda: depth_curve([99.0], [1.0], 100.0, 1.0, "left", 1.0), "side is"),
        (lambda: trade_cost_segments(-1e-4, None, None, 1.0), "unit_cost"),
        (lambda: walk_cost(-1.0, DepthCurve(np.array([1.0]), np.array([0.0]))), "traded_usd"),
        (lambda: square_root_impact(1.0, 0.02, 0.0, 1.0), "adv_usd"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
