"""Mean-reverting basis: saturation, estimation, floors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.basis import (
    MIN_REVERSION_PER_HOUR,
    change_sd,
    change_variance,
    clipped_levels,
    fit_mean_reversion,
    floored,
    half_life_resolved,
)


def ornstein_uhlenbeck(sd, reversion, count, seed=3):
    rng, phi = np.random.default_rng(seed), math.exp(-reversion)
    levels = np.empty(count)
    levels[0] = sd * rng.normal()
    for k in range(1, count):
        levels[k] = phi * levels[k - 1] + sd * math.sqrt(1 - phi**2) * rng.normal()
    return levels


@given(st.floats(1e-5, 0.1), st.floats(1e-4, 10), st.floats(0, 1e4))
def test_change_variance_grows_and_saturates(sd, reversion, hours):
    now, later = change_variance(sd, reversion, hours), change_variance(sd, reversion, hours + 1)
    assert 0 <= now <= later <= 2 * sd**2 * (1 + 1e-12)
    assert now <= 2 * sd**2 * reversion * hours * (1 + 1e-12)


def test_change_variance_at_half_life_is_half_of_the_limit():
    assert change_variance(5e-4, math.log(2) / 6, 6.0) == pytest.approx(5e-4**2)


def test_the_r2_of_a_hedge_rises_with_the_horizon():
    hours = [1 / 12, 1.0, 8.0, 24.0]
    hourly_variance = 0.0048**2
    r2 = [1 - change_variance(2.1e-4, 40.0, h) / (hourly_variance * h) for h in hours]
    assert r2 == sorted(r2)
    assert r2[0] < 0.99
    assert r2[-1] == pytest.approx(0.9998, abs=1e-4)


def test_fit_recovers_the_process_with_and_without_gaps():
    levels = ornstein_uhlenbeck(6e-4, 0.2, 40_000)
    sd, reversion = fit_mean_reversion(levels, 0.5)
    assert sd == pytest.approx(6e-4, rel=0.05)
    assert reversion == pytest.approx(0.4, rel=0.05)
    gappy = levels.copy()
    gappy[np.random.default_rng(1).random(levels.size) < 0.3] = np.nan
    assert fit_mean_reversion(gappy, 0.5)[1] == pytest.approx(0.4, rel=0.05)


def test_gaps_are_not_bridged():
    # Dropping every NaN and joining the ends would halve the apparent persistence per step.
    levels = ornstein_uhlenbeck(6e-4, 0.2, 40_000)
    gappy = levels.copy()
    gappy[2::3] = np.nan
    assert fit_mean_reversion(gappy, 1.0)[1] == pytest.approx(0.2, rel=0.07)


def test_estimates_stay_away_from_the_unit_root_and_from_noise():
    walk = np.cumsum(np.random.default_rng(0).normal(size=500)) * 1e-4
    trend = np.linspace(0.0, 1.0, 500)
    assert fit_mean_reversion(walk, 1.0)[1] >= MIN_REVERSION_PER_HOUR
    assert fit_mean_reversion(trend, 0.001)[1] > 0
    alternating = np.tile([1e-4, -1e-4], 50)
    assert fit_mean_reversion(alternating, 1.0)[1] == pytest.approx(-math.log(0.01))
    assert fit_mean_reversion(alternating, 24.0 * 365)[1] == pytest.approx(MIN_REVERSION_PER_HOUR)


def test_floor():
    np.testing.assert_allclose(floored(np.array([1e-5, 9e-4]), 3e-4), [3e-4, 9e-4])
    assert floored(1e-5, 3e-4) == 3e-4


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (np.full(50, np.nan), "0 adjacent pairs"),
        (np.full(50, 2e-4), "do not vary"),
        (np.r_[np.zeros(50), np.inf], "NaN where missing"),
        (np.arange(5.0), "4 adjacent pairs"),
    ],
)
def test_bad_series(levels, message):
    with pytest.raises(ValueError, match=message):
        fit_mean_reversion(levels, 1.0)


def test_bad_numbers():
    with pytest.raises(ValueError, match="reversion_per_hour"):
        change_variance(1e-4, 0.0, 24.0)
    with pytest.raises(ValueError, match="floor"):
        floored(1e-4, -1e-4)


@pytest.mark.parametrize("hours", [1.0, 4.0, 24.0])
def test_measured_changes_are_those_of_the_process(hours):
    levels = ornstein_uhlenbeck(6e-4, 0.2, 60_000)
    levels[np.random.default_rng(1).random(levels.size) < 0.2] = np.nan
    expected = math.sqrt(change_variance(6e-4, 0.2, hours))
    assert change_sd(levels, 1.0, hours, 1e9) == pytest.approx(expected, rel=0.05)


def test_a_slow_drift_is_no_risk_of_a_day():
    # A level that wanders over 5 bp in months, with a day's noise of 1 bp around it.
    drift = 5e-4 * np.sin(np.arange(3_000) / 500)
    levels = drift + ornstein_uhlenbeck(1e-4, 0.5, 3_000)
    sd, reversion = fit_mean_reversion(levels, 1.0)
    assert change_sd(levels, 1.0, 24.0, 1e9) == pytest.approx(math.sqrt(2) * 1e-4, rel=0.25)
    assert math.sqrt(change_variance(sd, reversion, 24.0)) > 2 * math.sqrt(2) * 1e-4


def test_measured_changes_by_hand_and_forgetting():
    levels = np.r_[np.zeros(12), 1e-4, np.full(11, 1e-4)]
    assert change_sd(levels, 1.0, 1.0, 1e9) == pytest.approx(1e-4 / math.sqrt(23), rel=1e-6)
    # 2.5 hours are rounded up to three rows, of which three hold the step.
    assert change_sd(levels, 1.0, 2.5, 1e9) == pytest.approx(1e-4 * math.sqrt(3 / 21), rel=1e-6)
    weights = 0.5 ** (np.arange(23)[::-1] / 6.0)
    assert change_sd(levels, 1.0, 1.0, 6.0) == pytest.approx(1e-4 * math.sqrt(weights[11] / weights.sum()))
    with pytest.raises(ValueError, match="9 changes over 15 h"):
        change_sd(levels, 1.0, 15.0, 24.0)
    with pytest.raises(ValueError, match="memory_hours"):
        change_sd(levels, 1.0, 1.0, 0.0)


def test_a_half_life_of_hours_shows_hourly_and_not_daily():
    levels = ornstein_uhlenbeck(6e-4, math.log(2) / 2, 24 * 120)
    assert half_life_resolved(levels, 1.0)
    assert not half_life_resolved(levels[::24], 24.0)
    assert half_life_resolved(ornstein_uhlenbeck(6e-4, 0.01, 24 * 120)[::8], 8.0)


def test_bad_prints_are_cut_and_tails_are_kept():
    levels = ornstein_uhlenbeck(5e-4, 0.3, 720)
    spoilt = levels.copy()
    spoilt[300], spoilt[301] = 0.05, np.nan
    cut = clipped_levels(spoilt, 10.0)
    assert np.nanmax(cut) < 0.0065
    assert math.isnan(cut[301])
    keep = np.r_[0:300, 302:720]
    np.testing.assert_array_equal(cut[keep], levels[keep])
    assert change_sd(spoilt, 1.0, 24.0, 1e9) > 3 * change_sd(levels, 1.0, 24.0, 1e9)
    assert change_sd(cut, 1.0, 24.0, 1e9) < 1.2 * change_sd(levels, 1.0, 24.0, 1e9)
    np.testing.assert_array_equal(clipped_levels([1.0, 1.0, 1.0, 9.0], 2.0), [1.0, 1.0, 1.0, 9.0])
    with pytest.raises(ValueError, match="limit_sds"):
        clipped_levels(levels, 0.0)
    with pytest.raises(ValueError, match="NaN where missing"):
        clipped_levels([np.inf], 10.0)
