"""Margin schedules beyond brackets: published vectors, convexity on random pairs, never below the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.margin import check_brackets, maintenance_margin
from models.schedules import (
    PortfolioMargin,
    long_short_margin,
    open_interest_scaled_rate,
    portfolio_margin,
    quadratic_margin,
    tiered_margin_value,
    tiered_value_pieces,
    whole_position_majorant,
    whole_position_margin,
)

PAIRS = 20_000
# OKX CHZ-USDT as published (May 2023), in contracts of 10 coins at a price of 0.1: one USD a contract.
CHZ_CAPS = np.array([5_000.0, 7_500.0, 15_000.0, 30_000.0, 45_000.0, 60_000.0])
CHZ_RATES = np.array([0.01, 0.015, 0.02, 0.025, 0.03, 0.035])
CHZ_LEVERAGES = np.array([75.0, 50.0, 20.0, 18.0, 16.0, 15.0])


def test_deribit_vectors():
    price = 100_000.0
    for coins, initial, maintenance in ((25, 0.53125, 0.28125), (350, 13.125, 9.625)):
        usd = coins * price
        assert quadratic_margin(usd, 0.02, 0.00005 / price) == pytest.approx(initial * price, rel=1e-12)
        assert quadratic_margin(usd, 0.01, 0.00005 / price) == pytest.approx(maintenance * price, rel=1e-12)


def test_dydx_small_cap_rises_with_open_interest():
    rates = [open_interest_scaled_rate(0.1, oi, 20e6, 50e6) for oi in (10e6, 20e6, 35e6, 50e6, 80e6)]
    assert rates == pytest.approx([0.1, 0.1, 0.55, 1.0, 1.0], rel=1e-12)
    assert open_interest_scaled_rate(0.02, 1e12, 0.0, 0.0) == 0.02


def test_the_rate_of_the_tier_counts_for_the_whole_position():
    assert whole_position_margin(5_000.0, CHZ_CAPS, CHZ_RATES) == pytest.approx(50.0)
    assert whole_position_margin(5_000.01, CHZ_CAPS, CHZ_RATES) == pytest.approx(75.00015)
    assert whole_position_margin(90_000.0, CHZ_CAPS, CHZ_RATES) == pytest.approx(3_150.0)


def test_majorant_of_published_tiers():
    brackets = whole_position_majorant(CHZ_CAPS, CHZ_RATES, CHZ_LEVERAGES)
    assert check_brackets(brackets) == []
    # Slopes by hand: tops 75, 150, 375, 900, 1575 at the caps, 2100 at the last one, held where they fall.
    assert brackets.rates == pytest.approx([0.015, 0.03, 0.035, 0.045])
    sizes = np.random.default_rng(1).uniform(0.0, CHZ_CAPS[-1], PAIRS)
    ratio = maintenance_margin(sizes, brackets) / whole_position_margin(sizes, CHZ_CAPS, CHZ_RATES)
    print(f"majorant over truth: worst {ratio.max():.3f}, median {np.median(ratio):.3f}")
    assert ratio.min() >= 1.0 - 1e-12
    assert ratio.max() == pytest.approx(1.5, abs=1e-3)
    assert maintenance_margin(10_000.0, brackets) / 200.0 == pytest.approx(1.125)


tiers = st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.0, 0.1)), min_size=1, max_size=8)


@given(tiers, st.floats(0.001, 0.05))
@settings(max_examples=200, deadline=None)
def test_majorant_is_convex_and_never_below(steps, start):
    caps = np.cumsum([step for step, _ in steps])
    rates = start + np.cumsum([0.0, *[rise for _, rise in steps[1:]]])
    brackets = whole_position_majorant(caps, np.minimum(rates, 1.0), np.full(len(caps), 10.0))
    sizes = np.linspace(0.0, caps[-1], 400)
    margin = maintenance_margin(sizes, brackets)
    truth = whole_position_margin(sizes, caps, np.minimum(rates, 1.0))
    assert np.all(margin >= truth * (1 - 1e-9))
    assert np.all(np.diff(margin, 2) >= -1e-9 * margin.max())


RULES = PortfolioMargin(
    moves=np.array([-0.24, -0.12, -0.08, 0.08, 0.12, 0.24]),
    weights=np.array([0.5, 1.0, 1.0, 1.0, 1.0, 0.5]),
    hedged_rate=0.01,
    gross_rate=0.002,
    floor=None,
    initial_factor=1.3,
)


def in_program(positions, rules):
    pieces = rules.affine_pieces()
    net, gross = positions.sum(axis=-1), np.abs(positions).sum(axis=-1)
    return np.max(
        np.multiply.outer(net, pieces[:, 0]) + np.multiply.outer(gross, pieces[:, 1]) + pieces[:, 2], axis=-1
    )


@pytest.mark.parametrize("floored", [False, True])
def test_portfolio_margin_is_its_convex_form_and_convex(floored):
    caps, rates = np.array([2.5e5, 5e5, 1e6]), np.array([0.01, 0.02, 0.04])
    floor = whole_position_majorant(caps, rates, np.full(3, 10.0))
    rules = PortfolioMargin(RULES.moves, RULES.weights, 0.01, 0.002, floor if floored else None, 1.3)
    rng = np.random.default_rng(2)
    one, other = rng.normal(0, 3e5, (PAIRS, 4)), rng.normal(0, 3e5, (PAIRS, 4))
    left, right, middle = (in_program(p, rules) for p in (one, other, (one + other) / 2))
    assert np.all(middle <= (left + right) / 2 + 1e-6)
    words = np.array([portfolio_margin(p, rules) for p in one[:2_000]])
    assert left[:2_000] == pytest.approx(words, rel=1e-12, abs=1e-9)


def test_a_hedged_charge_that_is_not_convex_is_refused():
    with pytest.raises(ValueError, match="not convex"):
        PortfolioMargin(np.array([-0.002, 0.002]), np.ones(2), 0.01, 0.0, None, 1.0)
    # The reason: with a = 0.002 and c = 0.01 the sum lies above its chords on thousands of pairs.
    rng = np.random.default_rng(3)

    def margin(p):
        longs, shorts = np.maximum(p, 0).sum(axis=-1), np.maximum(-p, 0).sum(axis=-1)
        return 0.002 * np.abs(p.sum(axis=-1)) + 0.01 * np.minimum(longs, shorts)

    one, other = rng.normal(size=(PAIRS, 2)), rng.normal(size=(PAIRS, 2))
    bent = margin((one + other) / 2) > (margin(one) + margin(other)) / 2 + 1e-12
    assert bent.sum() > 1_000


def test_okx_worst_move_counts_the_extreme_half():
    assert RULES.rate_long == pytest.approx(0.12)
    assert portfolio_margin([1e6], RULES) == pytest.approx(0.12e6 + 0.002e6)
    assert portfolio_margin([1e6, -1e6], RULES) == pytest.approx(0.01e6 + 0.002 * 2e6)


def test_netting_takes_the_larger_side():
    assert long_short_margin(3.0, 5.0) == 5.0
    assert long_short_margin(np.array([3.0, 7.0]), np.array([5.0, 1.0])).tolist() == [5.0, 7.0]


BINANCE_CAPS = np.array([100e6, 120e6, 150e6, 180e6, 200e6])
BINANCE_RATIOS = np.array([1.0, 0.975, 0.95, 0.9, 0.85])


def test_tiered_collateral_of_the_published_example():
    # 6,000 BTC at 20,000 USD: 100m in full, 20m at 97.5 %.
    assert tiered_margin_value(120e6, BINANCE_CAPS, BINANCE_RATIOS) == pytest.approx(119.5e6)
    assert tiered_margin_value(-5e6, BINANCE_CAPS, BINANCE_RATIOS) == -5e6
    assert tiered_margin_value(500e6, BINANCE_CAPS, BINANCE_RATIOS) == pytest.approx(
        100e6 + 19.5e6 + 28.5e6 + 27e6 + 17e6
    )


def test_tiered_collateral_is_the_least_of_its_pieces():
    balances = np.random.default_rng(4).uniform(-50e6, 300e6, PAIRS)
    slopes, cuts = tiered_value_pieces(BINANCE_CAPS, BINANCE_RATIOS)
    pieces = np.min(np.multiply.outer(balances, slopes) + cuts, axis=1)
    values = tiered_margin_value(balances, BINANCE_CAPS, BINANCE_RATIOS)
    assert pieces == pytest.approx(values, rel=1e-12, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: whole_position_margin(1.0, np.array([5.0, 3.0]), np.array([0.1, 0.2])), "not in order"),
        (lambda: whole_position_margin(-1.0, CHZ_CAPS, CHZ_RATES), "notional_usd"),
        (lambda: open_interest_scaled_rate(0.1, 30.0, 20.0, 10.0), "upper_usd"),
        (lambda: tiered_margin_value(1.0, np.array([1.0, 2.0]), np.array([0.5, 0.9])), "rise"),
        (lambda: PortfolioMargin(np.array([-1.5]), np.ones(1), 0.0, 0.0, None, 1.0), "above -1"),
        (lambda: quadratic_margin(float("nan"), 0.1, 0.0), "notional_usd"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
