"""Settlement clocks, forecasts, holding cost and its uncertainty."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.funding import (
    MeanReversion,
    ewma_rate,
    expected_rates,
    holding_cost,
    looks_like_percent,
    settlement_times,
    shrunk_forecast,
)

MIDNIGHT = datetime(2026, 9, 29, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_settlements_are_after_the_start_and_up_to_the_end():
    day = settlement_times(MIDNIGHT, 8.0, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    assert day == [MIDNIGHT + k * HOUR for k in (8, 16, 24)]
    kucoin = settlement_times(MIDNIGHT + 4 * HOUR, 8.0, MIDNIGHT, MIDNIGHT + 24 * HOUR)
    assert [t.hour for t in kucoin] == [4, 12, 20]
    assert settlement_times(MIDNIGHT, 8.0, MIDNIGHT + HOUR, MIDNIGHT + 7 * HOUR) == []


def test_settlements_before_the_anchor_and_from_another_zone():
    athens = timezone(timedelta(hours=3))
    early = datetime(2020, 1, 1, 3, tzinfo=athens)
    times = settlement_times(MIDNIGHT, 8.0, early, early + 8 * HOUR)
    assert times == [datetime(2020, 1, 1, 8, tzinfo=UTC)]
    assert times[0].tzinfo is UTC


@given(st.integers(-500, 500), st.integers(0, 300), st.sampled_from([1, 2, 4, 8]))
def test_settlements_split_at_any_time(start, length, interval):
    a, b = MIDNIGHT + start * HOUR, MIDNIGHT + (start + length) * HOUR
    middle = a + (b - a) / 2
    whole = settlement_times(MIDNIGHT, interval, a, b)
    parts = settlement_times(MIDNIGHT, interval, a, middle) + settlement_times(MIDNIGHT, interval, middle, b)
    assert whole == parts
    assert abs(len(whole) - length / interval) < 1


def test_settlement_errors():
    with pytest.raises(ValueError, match=r"start .* has no time zone"):
        settlement_times(MIDNIGHT, 8.0, datetime(2026, 9, 29), MIDNIGHT)
    with pytest.raises(ValueError, match="interval_hours is 0"):
        settlement_times(MIDNIGHT, 0.0, MIDNIGHT, MIDNIGHT)
    with pytest.raises(ValueError, match="before start"):
        settlement_times(MIDNIGHT, 8.0, MIDNIGHT, MIDNIGHT - HOUR)


def test_ewma_by_hand_and_for_old_histories():
    assert ewma_rate([4e-4, 1e-4], [0.0, 24.0], 24.0) == pytest.approx((4e-4 + 0.5e-4) / 1.5)
    assert ewma_rate([4e-4, 1e-4], [1e6, 1e6 + 24.0], 24.0) == pytest.approx(3e-4)
    with pytest.raises(ValueError, match="one age per rate"):
        ewma_rate([1e-4], [1.0, 2.0], 24.0)
    with pytest.raises(ValueError, match="ages_hours"):
        ewma_rate([1e-4], [-1.0], 24.0)


def test_shrinkage():
    assert shrunk_forecast(3e-4, 1e-4, 0.25) == pytest.approx(1.5e-4)
    with pytest.raises(ValueError, match="weight"):
        shrunk_forecast(3e-4, 1e-4, 2.0)


def test_indication_first_then_decay_to_the_long_run():
    times = settlement_times(MIDNIGHT, 8.0, MIDNIGHT + 2 * HOUR, MIDNIGHT + 24 * 60 * HOUR)
    model = MeanReversion((5e-4,), (14.0,), long_run=1e-4)
    rates = expected_rates(times, MIDNIGHT + 2 * HOUR, 8.0, 9e-4, model)
    assert rates[0] == 9e-4
    assert rates[1] == pytest.approx(1e-4 + 4e-4 * 0.5)  # 14 h after as_of
    assert rates[-1] == pytest.approx(1e-4, rel=1e-6)
    assert np.all(np.diff(rates[1:-1]) <= 0)
    without = expected_rates(times, MIDNIGHT + 2 * HOUR, 8.0, None, model)
    assert without[0] == pytest.approx(1e-4 + 4e-4 * 0.5 ** (6 / 14))
    assert expected_rates([], MIDNIGHT, 8.0, None, model).shape == (0,)


def test_averages_hand_over_to_longer_ones():
    model = MeanReversion((9e-4, 4e-4, 2e-4), (1.0, 24.0, 480.0), long_run=1e-4)
    np.testing.assert_allclose(model.at(np.zeros(1)), [9e-4])
    # A day on, the last print is forgotten, half the recent average's gap is left, most of the long one's.
    expected = 1e-4 + 1e-4 * 0.5 ** (24 / 480) + 2e-4 * 0.5 + 5e-4 * 0.5**24
    np.testing.assert_allclose(model.at(np.array([24.0])), [expected], rtol=1e-12)
    np.testing.assert_allclose(model.at(np.array([1e5])), [1e-4], rtol=1e-12)
    with pytest.raises(ValueError, match="one half-life per level"):
        MeanReversion((1e-4, 2e-4), (1.0,), 1e-4)
    with pytest.raises(ValueError, match="half_lives_hours"):
        MeanReversion((1e-4,), (0.0,), 1e-4)


@pytest.mark.parametrize(
    ("hours", "message"), [([0, 8], "after as_of"), ([8, 8], "in order"), ([9, 17], "more than one interval")]
)
def test_expected_rates_refuse_other_clocks(hours, message):
    with pytest.raises(ValueError, match=message):
        expected_rates(
            [MIDNIGHT + h * HOUR for h in hours], MIDNIGHT, 8.0, None, MeanReversion((1e-4,), (24.0,), 1e-4)
        )


def test_holding_cost_spreads_over_the_horizon():
    assert holding_cost([1e-4] * 21, 24.0, 168.0) == pytest.approx(3e-4)
    assert holding_cost([], 24.0, 24.0) == 0.0
    with pytest.raises(ValueError, match="below decision_hours"):
        holding_cost([1e-4], 24.0, 8.0)
    with pytest.raises(ValueError, match="rates"):
        holding_cost([np.nan], 24.0, 24.0)


def test_percent_is_recognised():
    genuine = np.array([1e-4] * 5 + [0.7e-4, -0.3e-4, 2.9e-4, 1.4e-4, 30e-4])
    assert looks_like_percent(genuine, 8.0) is None
    assert "divide by 100" in looks_like_percent(genuine * 100, 8.0)
    # Exactly 0.01 in a fifth of the prints gives it away even where the median is small.
    quiet = np.array([0.01] * 4 + [0.0001] * 16)
    assert "40%" not in looks_like_percent(quiet, 8.0)
    assert "20% of the rates are exactly 0.01" in looks_like_percent(quiet, 8.0)
    assert looks_like_percent(quiet[3:], 8.0) is None
    assert looks_like_percent([0.01, 0.0001, 0.0001], 8.0) is None
    # 5 bp an hour is 40 bp per 8 h.
    assert looks_like_percent([5e-4] * 3, 1.0) is not None
    assert looks_like_percent([5e-4] * 3, 8.0) is None
    assert looks_like_percent([], 8.0) is None
