"""Formulas that take many instruments at once say of each what the formula for one says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.arrays import column_medians, column_medians_and_deviations
from models.basis import change_sd, change_sds, clipped_levels
from models.contracts import Contract, usd_per_contract, usd_per_contracts
from models.funding import (
    MeanReversion,
    ewma_rate,
    ewma_rates,
    hours_ahead,
    hours_to_settlements,
    rates_ahead,
    settlement_times,
)

NOW = datetime(2026, 3, 1, 5, 17, tzinfo=UTC)
seeds = st.integers(0, 2**32 - 1)


def holed(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Levels with gaps: single ones, a column without any, one that begins late, one that ended early."""
    found = np.cumsum(rng.normal(size=(rows, columns)), axis=0)
    found[rng.random(found.shape) < 0.1] = np.nan
    found[:, 0] = np.nan
    found[: rows // 2, 1] = np.nan
    found[rows // 3 :, 2] = np.nan
    return found


@given(
    st.integers(-40, 40),
    st.sampled_from([1.0, 2.0, 4.0, 8.0, 0.5]),
    st.floats(0, 400),
    st.integers(0, 3_600_000),
)
def test_hours_to_settlements_are_those_of_the_listed_times(back, interval, within, off):
    anchor = NOW + back * timedelta(hours=1) + timedelta(milliseconds=off)
    times = settlement_times(anchor, interval, NOW, NOW + timedelta(hours=within))
    found = hours_to_settlements(anchor, interval, NOW, within)
    assert found == pytest.approx(hours_ahead(times, NOW, interval), abs=1e-9)


@given(seeds)
def test_averages_of_many_rates_are_those_of_each(seed):
    rng = np.random.default_rng(seed)
    owners = np.sort(rng.integers(0, 5, 40))
    rates, ages = rng.normal(size=40), rng.uniform(0, 3000, 40)
    found = ewma_rates(rates, ages, owners, 6, 24.0)
    for k in range(6):
        mine = owners == k
        if mine.any():
            assert found[k] == pytest.approx(ewma_rate(rates[mine], ages[mine], 24.0), rel=1e-12)
        else:
            assert np.isnan(found[k])


@given(seeds)
def test_many_mean_reversions_are_each_their_own(seed):
    rng = np.random.default_rng(seed)
    levels, half_lives = rng.normal(size=(3, 4)), (1.0, 24.0, 200.0)
    hours, indicated = np.array([3.0, 11.0, 19.0]), np.array([1.0, np.nan, -2.0, np.nan])
    found = rates_ahead(hours, indicated, MeanReversion(levels, half_lives, 0.1))
    for k, said in enumerate(indicated):
        one = MeanReversion(tuple(levels[:, k]), half_lives, 0.1)
        alone = rates_ahead(hours, None if np.isnan(said) else float(said), one)
        assert found[:, k] == pytest.approx(alone, rel=1e-12)


@given(seeds, st.integers(1, 30))
def test_medians_leave_out_what_is_missing(seed, rows):
    table = holed(np.random.default_rng(seed), rows, 4)
    seen = ~np.isnan(table).all(axis=0)
    found = column_medians(table)
    assert np.isnan(found[~seen]).all()
    assert found[seen] == pytest.approx(np.nanmedian(table[:, seen], axis=0), abs=1e-12)


@given(seeds, st.integers(0, 40), st.booleans(), st.integers(1, 6))
def test_deviations_are_from_each_column_s_own_median(seed, rows, gaps, digits):
    """Few digits: many values and deviations are the same."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, 4)).round(digits)
    if gaps and rows:
        table[rng.random(size=table.shape) < 0.2] = np.nan
    middle, deviation = column_medians_and_deviations(table)
    np.testing.assert_array_equal(middle, column_medians(table))
    np.testing.assert_array_equal(deviation, column_medians(np.abs(table - middle)))


@given(seeds, st.sampled_from([1.0, 24.0, 5.0]), st.sampled_from([24.0, 0.05]))
def test_changes_of_many_bases_are_those_of_each(seed, hours, memory):
    # A memory of minutes fades what ended a hundred hours ago below the smallest number.
    levels = holed(np.random.default_rng(seed), 120, 6)
    found = change_sds(levels, 1.0, hours, memory)
    for k in range(levels.shape[1]):
        try:
            alone = change_sd(levels[:, k], 1.0, hours, memory)
        except ValueError:
            assert np.isnan(found[k])
        else:
            assert found[k] == pytest.approx(alone, rel=1e-12)
            own = levels[:, k]
            lag = int(hours)
            changes = own[lag:] - own[:-lag]
            seen = np.flatnonzero(np.isfinite(changes))
            weights = 0.5 ** ((seen[-1] - seen) / memory)
            assert alone == pytest.approx(np.sqrt(np.average(changes[seen] ** 2, weights=weights)))


@given(seeds)
def test_levels_are_clipped_column_by_column(seed):
    rng = np.random.default_rng(seed)
    levels = holed(rng, 60, 5) * rng.choice([1.0, 50.0], size=(60, 5), p=[0.95, 0.05])
    found = clipped_levels(levels, 2.0)
    for k in range(5):
        np.testing.assert_array_equal(found[:, k], clipped_levels(levels[:, k], 2.0))


def test_contracts_are_worth_what_each_is():
    contracts = [
        Contract(kind, Decimal(size), Decimal(1), Decimal("0.1"), Decimal(0), Decimal(0))
        for kind, size in (("linear", "0.01"), ("inverse", "100"), ("linear", "1000"))
    ]
    prices, quotes = np.array([1e5, 1e5, 2e-5]), np.array([1.0, 0.99, 1.01])
    alone = [
        usd_per_contract(c, float(p), float(q)) for c, p, q in zip(contracts, prices, quotes, strict=True)
    ]
    assert usd_per_contracts(contracts, prices, quotes) == pytest.approx(alone, rel=1e-15)
    with pytest.raises(ValueError, match="prices"):
        usd_per_contracts(contracts, -prices, quotes)
