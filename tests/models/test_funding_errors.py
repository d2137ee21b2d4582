"""Errors of funding forecasts: by hand, without peeking, and against simulated funding."""

import numpy as np
import pytest

from models.funding import MeanReversion, ewma_rate
from models.funding_errors import (
    AverageLadder,
    ForecastErrors,
    conditional_error_sd,
    past_errors,
    past_rates,
)

LADDER = AverageLadder((8.0, 120.0), (1.0, 24.0, 384.0), 1e-4)


def errors_of(rates, step_hours, settlements, ladder):
    return past_errors(past_rates(rates, step_hours, settlements, ladder.half_lives_hours), ladder)


def simulated(rows=400, columns=3, rho=0.8, seed=0):
    rng = np.random.default_rng(seed)
    out = np.zeros((rows, columns))
    for k in range(1, rows):
        out[k] = rho * out[k - 1] + rng.normal(size=columns)
    return 1e-4 + 1e-4 * out


def test_errors_are_those_of_the_shipped_forecast():
    rates = simulated(60)
    rates[20:24, 1] = np.nan
    found = errors_of(rates, 8.0, 3, LADDER)
    assert found.settlements == 3
    assert found.errors.shape == (60 - 15 - 3 + 1, 3)
    for row, column in ((0, 0), (9, 1), (-1, 2)):
        now = range(14, 57)[row]
        past = rates[: now + 1, column]
        seen = np.isfinite(past)
        ages = 8.0 * np.arange(now + 1)[::-1][seen]
        levels = (past[seen][-1], *(ewma_rate(past[seen], ages, h) for h in (8.0, 120.0)))
        forecast = MeanReversion(levels, LADDER.reversions_hours, 1e-4).at(8.0 * np.arange(1, 4)).mean()
        realised = np.nanmean(rates[now + 1 : now + 4, column])
        assert found.errors[row, column] == pytest.approx(realised - forecast, rel=1e-9)
        assert found.deviations[row, column] == pytest.approx(forecast - 1e-4, rel=1e-9)


def test_forecasts_do_not_see_the_future():
    rates = simulated(80)
    later = rates.copy()
    later[50:] += 1.0
    before, after = errors_of(rates, 8.0, 2, LADDER), errors_of(later, 8.0, 2, LADDER)
    known = 50 - 20 + 1  # origins from row 19 to row 49
    np.testing.assert_array_equal(before.deviations[:known], after.deviations[:known])
    assert not np.array_equal(before.deviations[known:], after.deviations[known:])


def test_the_horizon_is_at_most_a_quarter_of_the_history():
    assert errors_of(simulated(80), 8.0, 90, LADDER).settlements == 20


def test_a_young_instrument_has_no_errors_of_its_own():
    rates = simulated(80)
    rates[:77, 2] = np.nan
    found = errors_of(rates, 8.0, 1, LADDER)
    assert np.isfinite(found.errors[:, 2]).sum() == 2
    sd = conditional_error_sd(found, np.zeros(3), 0.0)
    assert sd[2] == pytest.approx(np.sqrt(np.mean(np.nanmean(found.errors[:, :2] ** 2, axis=0))))
    nobody = ForecastErrors(np.full((5, 2), np.nan), np.full((5, 2), np.nan), 1)
    assert np.isnan(conditional_error_sd(nobody, np.zeros(2), 0.5)).all()


def test_near_the_long_run_the_error_is_the_usual_one():
    found = errors_of(simulated(), 8.0, 3, LADDER)
    usual = np.sqrt(np.mean(found.errors**2, axis=0))
    np.testing.assert_allclose(conditional_error_sd(found, np.zeros(3), 0.0), usual)
    np.testing.assert_allclose(conditional_error_sd(found, np.zeros(3), 1.0), np.sqrt(np.mean(usual**2)))


def test_away_from_it_the_error_grows():
    found = errors_of(simulated(), 8.0, 3, LADDER)
    calm = conditional_error_sd(found, np.zeros(3), 0.75)
    far = conditional_error_sd(found, np.full(3, -2e-3), 0.75)
    farther = conditional_error_sd(found, np.full(3, 4e-3), 0.75)
    assert np.all(calm < far)
    # Far away the sd is proportional to the distance, on either side.
    np.testing.assert_allclose(farther, 2 * far, rtol=0.02)


@pytest.mark.parametrize("settlements", [1, 9])
def test_stated_sd_is_that_of_new_errors(settlements):
    # Errors of the second half of a long simulation against the sd stated from the first.
    rates = simulated(6_000, 4)
    past, new = (
        errors_of(rates[:3_000], 8.0, settlements, LADDER),
        errors_of(rates, 8.0, settlements, LADDER),
    )
    later = slice(-2_500, None, 10)
    sd = np.array([conditional_error_sd(past, now, 0.5) for now in new.deviations[later]])
    assert np.sqrt(np.mean((new.errors[later] / sd) ** 2)) == pytest.approx(0.9, abs=0.15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: errors_of(simulated(11), 8.0, 1, LADDER), "at least 12 rows"),
        (lambda: errors_of(simulated(40)[:, 0], 8.0, 1, LADDER), "a column per instrument"),
        (lambda: errors_of(simulated(40) * np.inf, 8.0, 1, LADDER), "rates"),
        (lambda: errors_of(simulated(40), 8.0, 0, LADDER), "settlements is 0"),
        (lambda: errors_of(simulated(40), 0.0, 1, LADDER), "step_hours"),
        (lambda: past_errors(past_rates(simulated(40), 8.0, 1, (8.0,)), LADDER), "one per reversion"),
        (lambda: AverageLadder((8.0,), (1.0,), 1e-4), "then one per half-life"),
        (lambda: AverageLadder((0.0,), (1.0, 2.0), 1e-4), "half_lives_hours"),
        (lambda: conditional_error_sd(errors_of(simulated(40), 8.0, 1, LADDER), [0.0], 0.5), "one per"),
        (
            lambda: conditional_error_sd(errors_of(simulated(40), 8.0, 1, LADDER), np.zeros(3), 2.0),
            "pooling",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rounding_of_a_rate_that_never_changes_is_no_error():
    rates = simulated(200, 3)
    rates[:, 0] = 1e-4  # the long run itself
    rates[:, 1] = 3e-4
    found = errors_of(rates, 8.0, 21, LADDER)
    assert np.all(found.errors[:, 0] == 0.0)
    assert np.all(np.abs(found.errors[:, 1]) > 0.0)  # it is expected to go back to the long run, and does not
    assert np.all(found.errors[:, 2] != 0.0)
