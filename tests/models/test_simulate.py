"""The synthetic market by its laws: where paths end, how they spread, what funding a premium makes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.simulate import (
    SimulatedCoins,
    clamped_funding,
    coin_paths,
    reverting_paths,
    settlement_premiums,
    stationary_paths,
    student,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def test_prices_end_where_they_are_told_and_move_as_volatile_as_told():
    last = np.array([96_500.0, 3_420.0, 0.2])
    sd = np.array([0.02, 0.04, 0.08])
    prices = coin_paths(rng(), SimulatedCoins(sd, 0.6, tails=8.0), last, bars=40_001, bar_hours=6.0)
    assert prices.shape == (40_001, 3)
    assert prices[-1] == pytest.approx(last, rel=1e-12)
    returns = np.diff(np.log(prices), axis=0)
    # Six hours are a quarter of a day: half its standard deviation, within five standard errors.
    assert returns.std(axis=0) == pytest.approx(sd / 2, rel=5 / math.sqrt(40_000))
    pairs = np.corrcoef(returns.T)[np.triu_indices(3, 1)]
    assert pairs == pytest.approx(0.6, abs=0.02)
    # Factor and own shocks are Student-8 each: a sum of both has (0.6² + 0.4²) of their excess kurtosis 6/4.
    excess = np.mean((returns / returns.std(axis=0)) ** 4, axis=0) - 3
    assert excess == pytest.approx(0.52 * 1.5, abs=0.35)


def test_shocks_are_student_s_of_unit_variance():
    shocks = student(rng(), (200_000,), 5.0)
    assert shocks.var() == pytest.approx(1.0, abs=0.03)
    # Beyond three sds of t(5): 2·P(t > 3·√(5/3)) = 0.0117, four times a normal's.
    assert np.mean(np.abs(shocks) > 3) == pytest.approx(0.0117, abs=0.001)


def test_a_path_is_by_hand_what_it_keeps_and_what_is_new():
    level, keep = np.array([2.0, 0.5]), 0.6
    shocks = np.random.default_rng(3).standard_normal((3, 2))
    first = shocks[0] * level
    second = 0.6 * first + 0.8 * shocks[1] * level
    third = 0.6 * second + 0.8 * shocks[2] * level
    paths = stationary_paths(np.random.default_rng(3), level, keep, 3)
    assert paths == pytest.approx(np.array([first, second, third]), rel=1e-12)


def test_half_of_a_premium_is_left_after_its_half_life():
    level = np.array([6e-4, 3e-3])
    paths = reverting_paths(rng(), level, half_life_hours=12.0, bars=400_000, bar_hours=4.0)
    assert paths.std(axis=0) == pytest.approx(level, rel=0.02)
    lagged = np.mean(paths[:-3] * paths[3:], axis=0) / paths.var(axis=0)  # three bars of four hours
    assert lagged == pytest.approx(0.5, abs=0.01)
    same = stationary_paths(rng(), level, 0.5 ** (1 / 3), 400_000)
    assert np.array_equal(paths, same)


@pytest.mark.parametrize(
    ("premium", "hours", "cap", "by_hand"),
    [
        (0.0001, 8, 1.0, 0.0001),
        (0.0004, 8, 1.0, 0.0001),  # within 5 bp of the interest: the interest
        (0.0010, 8, 1.0, 0.0005),  # 10 bp less 5 bp
        (-0.0010, 8, 1.0, -0.0005),
        (0.0010, 1, 1.0, 0.0000625),  # an eighth of it each hour
        (0.0900, 8, 0.003, 0.003),
        (-0.0900, 8, 0.003, -0.003),
        (0.0900, 4, math.inf, 0.04475),
    ],
)
def test_funding_of_a_premium_by_hand(premium, hours, cap, by_hand):
    found = clamped_funding(np.array([[premium]]), hours, interest=0.0001, cap=cap)
    assert found[0, 0] == pytest.approx(by_hand, rel=1e-12)


def test_a_settlement_takes_the_mean_of_the_bars_before_it_and_none_after():
    premium = np.arange(20.0).reshape(10, 2)
    # Column 1 is 1, 3, 5, …: bars 0–3 have mean 4, bars 4–7 mean 12; a young history takes what there is.
    assert settlement_premiums(premium, 1, [4, 8, 2], 4) == pytest.approx([4.0, 12.0, 2.0])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: SimulatedCoins(np.array([0.02, 0.0]), 0.5), "volatility holds"),
        (lambda: SimulatedCoins(np.array([math.nan]), 0.5), "volatility holds"),
        (lambda: SimulatedCoins(np.array([0.02]), 1.0), "correlation is 1"),
        (lambda: SimulatedCoins(np.array([0.02]), math.nan), "correlation is nan"),
        (lambda: SimulatedCoins(np.array([0.02]), 0.5, tails=2.0), "tails is 2"),
        (lambda: SimulatedCoins(np.array([0.02]), 0.5, tails=math.nan), "tails is nan"),
        (lambda: stationary_paths(rng(), np.array([-1.0]), 0.5, 3), "level holds"),
        (lambda: stationary_paths(rng(), np.array([math.nan]), 0.5, 3), "level holds"),
        (lambda: stationary_paths(rng(), np.array([1.0]), 1.0, 3), "keep is 1"),
        (lambda: stationary_paths(rng(), np.array([1.0]), math.nan, 3), "keep is nan"),
        (lambda: stationary_paths(rng(), np.array([1.0]), 0.5, 0), "bars is 0"),
        (lambda: reverting_paths(rng(), np.array([1.0]), 0.0, 3, 1.0), "half_life_hours is 0"),
        (lambda: reverting_paths(rng(), np.array([1.0]), math.nan, 3, 1.0), "half_life_hours is nan"),
        (lambda: reverting_paths(rng(), np.array([1.0]), 5.0, 3, 0.0), "keep is 1"),
    ],
)
def test_bad_input_is_named(act, words):
    with pytest.raises(ValueError, match=words):
        act()
