"""Slices of an order: the Almgren–Chriss closed form against plain minimisation, caps, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from models.costs import square_root_impact
from models.execution import (
    Impact,
    capped_remaining,
    closed_form,
    expected,
    matched_impact,
    remaining,
    urgency,
)

SIZES = st.floats(1e4, 1e8)
SLICES = st.integers(1, 40)
TAUS = st.floats(0.01, 0.5)


@st.composite
def problems(draw):
    """Size, slices, hours between them, impact, hourly volatility, price of variance; κT from 1e-3 to 30."""
    size, count, tau = draw(SIZES), draw(st.integers(2, 20)), draw(TAUS)
    slope, sigma = 10 ** draw(st.floats(-12, -8)), draw(st.floats(1e-3, 2e-2))
    wanted = 10 ** draw(st.floats(-3, 1.5)) / (count * tau)
    aversion = slope * 2 * (np.cosh(wanted * tau) - 1) / tau**2 / sigma**2
    return size, count, tau, Impact(draw(st.floats(0, 1e-3)), slope), sigma, aversion


def total(left, tau, impact, sigma, aversion):
    found = expected(left, impact, sigma, tau)
    return found.cost_usd + aversion * found.sd_usd**2


@given(problems())
@settings(max_examples=60, deadline=None)
def test_no_other_schedule_is_cheaper(problem):
    """The objective is a convex quadratic in the slices: solve its normal equations, and compare."""
    size, count, tau, impact, sigma, aversion = problem
    left = remaining(size, urgency(aversion, sigma, impact, tau), tau, count)
    # x_1 … x_{N−1} minimise (η/τ)Σ(x_{k−1} − x_k)² + aσ²τ Σ x_k²: a tridiagonal system.
    curve, pull = impact.slope / tau, aversion * sigma**2 * tau
    matrix = np.diag(np.full(count - 1, 2 * curve + pull)) - curve * (
        np.eye(count - 1, k=1) + np.eye(count - 1, k=-1)
    )
    right = np.zeros(count - 1)
    right[0] = curve * size
    best = np.concatenate([[size], np.linalg.solve(matrix, right), [0.0]])
    np.testing.assert_allclose(left, best, rtol=1e-7, atol=1e-9 * size)


def test_a_minimiser_finds_the_same():
    impact, size, tau, count, sigma, aversion = Impact(1e-4, 2e-10), 5e6, 0.1, 12, 0.006, 3e-6

    def cost(shares):
        slices = np.append(shares, 1 - shares.sum()) * size
        return total(np.append(size, size - np.cumsum(slices)), tau, impact, sigma, aversion)

    found = minimize(cost, np.full(count - 1, 1 / count), method="BFGS", options={"gtol": 1e-9})
    left = remaining(size, urgency(aversion, sigma, impact, tau), tau, count)
    assert total(left, tau, impact, sigma, aversion) == pytest.approx(found.fun, rel=1e-9)
    np.testing.assert_allclose(-np.diff(left)[:-1] / size, found.x, atol=1e-5)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_cost_and_risk_in_closed_form(problem):
    size, count, tau, impact, sigma, aversion = problem
    kappa = urgency(aversion, sigma, impact, tau)
    mine = expected(remaining(size, kappa, tau, count), impact, sigma, tau)
    theirs = closed_form(size, kappa, impact, sigma, tau, count)
    assert mine.cost_usd == pytest.approx(theirs.cost_usd, rel=1e-6)
    # The closed form of the variance is a difference that cancels where κτ is small.
    assert mine.sd_usd == pytest.approx(theirs.sd_usd, rel=1e-6 + 1e-9 / (kappa * tau) ** 2)


@given(SIZES, SLICES, TAUS)
def test_without_risk_the_slices_are_equal(size, count, tau):
    assert urgency(0.0, 0.02, Impact(0.0, 1e-9), tau) == 0.0
    np.testing.assert_allclose(-np.diff(remaining(size, 0.0, tau, count)), size / count, rtol=1e-9)


@given(SIZES, SLICES, TAUS, st.floats(1e-3, 1e6))
def test_it_begins_whole_falls_and_ends_at_nothing(size, count, tau, kappa):
    left = remaining(size, kappa, tau, count)
    assert (left[0], left[-1]) == (size, 0.0)
    slices = -np.diff(left)
    assert np.all(slices >= 0)
    assert np.all(np.diff(slices) <= 1e-9 * size)


@given(problems(), st.floats(1.0, 3.0))
@settings(max_examples=40, deadline=None)
def test_under_a_cap_no_other_schedule_is_cheaper(problem, room):
    """KKT of the capped program: slices at the cap would rather be larger, the others trade off exactly."""
    size, count, tau, impact, sigma, aversion = problem
    cap = room * size / count
    left = capped_remaining(size, urgency(aversion, sigma, impact, tau), tau, count, cap)
    slices = -np.diff(left)
    assert slices.sum() == pytest.approx(size)
    assert np.all(slices <= cap * (1 + 1e-9))
    # d(cost)/d(slice k), the size being fixed: 2(η/τ)n_k − 2aσ²τ·Σ_{j ≥ k} x_j up to a constant.
    later = np.cumsum(left[1:][::-1])[::-1]
    price = 2 * impact.slope / tau * slices - 2 * aversion * sigma**2 * tau * later
    free = slices < cap * (1 - 1e-7)
    spread = 1e-6 * (np.abs(price).max() + 2 * impact.slope / tau * size)
    if free.any():
        assert np.ptp(price[free]) <= spread
        assert np.all(price[~free] <= price[free].min() + spread)


def test_what_the_slices_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"3 slices of 10\.00 USD cannot hold 31\.00 USD: write more slices"):
        capped_remaining(31.0, 1.0, 0.1, 3, 10.0)


def test_linear_impact_meets_the_square_root_at_the_highest_participation():
    """For an hour at share p of the volume: b·σ·√p either way (both per USD, σ per day)."""
    adv, share, sigma = 2.4e9, 0.05, 0.03
    impact = matched_impact(2e-4, sigma, adv, share, 0.8)
    rate = share * adv / 24
    assert impact.slope * rate == pytest.approx(0.8 * sigma * np.sqrt(share), rel=1e-12)
    # A day's trade of that share costs the same per USD by the cost model's own law.
    day = share * adv
    assert square_root_impact(day, sigma, adv, 0.8) / day == pytest.approx(impact.slope * rate, rel=1e-12)
    assert impact.spread == 2e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Impact(-1e-4, 1e-9), "spread"),
        (lambda: Impact(1e-4, float("nan")), "slope"),
        (lambda: matched_impact(0, 0.03, 0.0, 0.1), "adv_usd"),
        (lambda: matched_impact(0, 0.03, 1e9, 0.0), "participation"),
        (lambda: urgency(1e-6, float("inf"), Impact(0, 1e-9), 0.1), "hourly_volatility"),
        (lambda: urgency(1e-6, 0.01, Impact(0, 0.0), 0.1), "slope"),
        (lambda: remaining(1e6, 1.0, 0.1, 0), "slices is 0"),
        (lambda: remaining(float("nan"), 1.0, 0.1, 3), "size"),
        (lambda: capped_remaining(1e6, 1.0, 0.1, 3, 0.0), "cap"),
        (lambda: expected(np.array([1.0, np.nan]), Impact(0, 1e-9), 0.1, 0.1), "left"),
    ],
)
def test_bad_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
