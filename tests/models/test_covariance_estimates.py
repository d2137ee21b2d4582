"""Estimates of a covariance: by hand, against simulated truth, with gaps, lags and shrinkage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance, LedoitWolf, MinCovDet

from models.covariance_estimates import (
    complete_rows,
    ewma_covariance,
    fitted_covariance,
    sample_covariance,
    shrunk_covariance,
)

seeds = st.integers(0, 10_000)


def test_ewma_by_hand():
    returns = np.array([[0.02, 0.04], [0.01, -0.01]])
    cov = ewma_covariance(returns, 1.0)
    weights = np.array([0.5, 1.0]) / 1.5
    np.testing.assert_allclose(cov, (returns * weights[:, None]).T @ returns, rtol=1e-12)


def test_ewma_uses_the_rows_both_have():
    rng = np.random.default_rng(5)
    returns = rng.normal(size=(400, 2)) @ np.array([[0.03, 0.02], [0.0, 0.01]])
    returns[:100, 1] = np.nan
    cov = ewma_covariance(returns, 1e9)
    assert cov[0, 0] == pytest.approx(np.mean(returns[:, 0] ** 2), rel=1e-6)
    assert cov[0, 1] == pytest.approx(np.mean(returns[100:, 0] * returns[100:, 1]), rel=1e-6)


@settings(max_examples=50)
@given(seeds)
def test_ewma_is_psd_with_any_gaps_and_keeps_variances(seed):
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=(12, 6)) * rng.uniform(0.001, 0.1, 6)
    returns[2:][rng.random((10, 6)) < 0.4] = np.nan
    cov = ewma_covariance(returns, 20.0)
    eigenvalues = np.linalg.eigvalsh(cov)
    assert eigenvalues[0] >= -2e-9 * eigenvalues[-1]
    present = np.isfinite(returns)
    weights = 0.5 ** (np.arange(12)[::-1, None] / 20.0) * present
    own = np.sum(weights * np.nan_to_num(returns) ** 2, axis=0) / weights.sum(axis=0)
    np.testing.assert_allclose(np.diag(cov), own, rtol=1e-10)


def test_ewma_refuses_columns_that_never_meet():
    with pytest.raises(ValueError, match="columns 0 and 1 share 0 rows"):
        ewma_covariance([[0.1, np.nan], [0.1, np.nan], [np.nan, 0.1], [np.nan, 0.1]], 10.0)
    with pytest.raises(ValueError, match="NaN where missing"):
        ewma_covariance([[np.inf, 0.1]], 10.0)
    old = np.full((5_000, 2), np.nan)
    old[:3], old[3:, 0] = 0.1, 0.1
    with pytest.raises(ValueError, match="too many half-lives ago"):
        ewma_covariance(old, 1.0)


def test_equal_weights_are_the_limit_of_a_long_half_life():
    returns = np.random.default_rng(2).normal(size=(300, 3))
    returns[40:90, 1] = np.nan
    np.testing.assert_allclose(sample_covariance(returns), ewma_covariance(returns, 1e12), rtol=1e-9)
    full = returns[:, [0, 2]]
    np.testing.assert_allclose(sample_covariance(full), full.T @ full / 300, rtol=1e-12)


def test_lags_by_hand():
    first, second = np.array([1.0, 2.0, -1.0, 3.0]), np.array([0.5, 1.0, 0.2, -1.0])
    cov = sample_covariance(np.column_stack([first, second]), lags=1)
    same = np.mean(first * second)
    leads = np.mean(first[1:] * second[:-1]) + np.mean(second[1:] * first[:-1])
    assert np.sqrt(np.mean(first**2) * np.mean(second**2)) > abs(same + leads)
    assert cov[0, 1] == cov[1, 0] == pytest.approx(same + leads)
    np.testing.assert_allclose(np.diag(cov), [np.mean(first**2), np.mean(second**2)])


def asynchronous_returns(correlation, seed=4, minutes=120_000, step=60, trade=0.03):
    """Hourly returns of two prices of one correlation, each last traded up to some hours ago."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(minutes, 2)) @ np.linalg.cholesky([[1, correlation], [correlation, 1]]).T
    prices = np.cumsum(moves, axis=0)
    for asset in range(2):
        traded = np.where(rng.random(minutes) < trade, np.arange(minutes), 0)
        prices[:, asset] = prices[np.maximum.accumulate(traded), asset]
    return np.diff(prices[::step], axis=0)


def test_epps_bias_falls_with_lead_and_lag():
    returns = asynchronous_returns(0.8)

    def correlation(lags):
        cov = sample_covariance(returns, lags)
        return cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])

    assert correlation(0) < 0.55
    assert correlation(1) == pytest.approx(0.8, abs=0.06)
    assert correlation(3) == pytest.approx(0.8, abs=0.04)


@settings(max_examples=40)
@given(seeds, st.integers(0, 3))
def test_lags_keep_it_psd_and_keep_variances(seed, lags):
    rng = np.random.default_rng(seed)
    returns = rng.normal(size=(15, 6)) * rng.uniform(0.001, 0.1, 6)
    cov = sample_covariance(returns, lags)
    eigenvalues = np.linalg.eigvalsh(cov)
    assert eigenvalues[0] >= -2e-9 * eigenvalues[-1]
    np.testing.assert_allclose(np.diag(cov), np.mean(returns**2, axis=0), rtol=1e-10)


@pytest.mark.parametrize("method", ["ledoit_wolf", "oas"])
def test_shrinkage_hedges_better_where_rows_are_few(method):
    truth = np.full((30, 30), 0.3) + 0.7 * np.eye(30)
    wide = np.geomspace(0.001, 0.1, 30)
    root = np.linalg.cholesky(truth * np.outer(wide, wide))
    rows = np.random.default_rng(0).normal(size=(40, 30)) @ root.T

    cov = truth * np.outer(wide, wide)

    def left(estimate):
        """True variance of the first asset hedged with all others by an estimate."""
        weights = np.r_[1.0, -np.linalg.solve(estimate[1:, 1:], estimate[1:, 0])]
        return weights @ cov @ weights

    shrunk, sample = shrunk_covariance(rows, method), sample_covariance(rows)
    assert left(cov) < left(shrunk) < 0.5 * left(sample)
    assert np.linalg.eigvalsh(shrunk)[0] > 0
    np.testing.assert_allclose(np.diag(shrunk), np.diag(sample), rtol=1e-9)


def oas_intensity(rows):
    """Chen et al. 2010, equation 23, in scikit-learn's form."""
    n, p = rows.shape
    cov = rows.T @ rows / n
    mean_square, square_mean = np.mean(cov**2), (np.trace(cov) / p) ** 2
    return min(1.0, (mean_square + square_mean) / ((n + 1) * (mean_square - square_mean / p)))


def test_oas_by_its_formula():
    rows = np.random.default_rng(8).normal(size=(25, 4)) @ np.triu(np.ones((4, 4)))
    sd = np.sqrt(np.mean(rows**2, axis=0))
    correlation = (rows / sd).T @ (rows / sd) / 25
    rho = oas_intensity(rows / sd)
    assert 0.01 < rho < 0.9
    expected = ((1 - rho) * correlation + rho * np.eye(4)) * np.outer(sd, sd)
    np.testing.assert_allclose(shrunk_covariance(rows, "oas"), expected, rtol=1e-9)


def test_shrinkage_takes_complete_rows_only():
    rows = np.random.default_rng(1).normal(size=(50, 3))
    gappy = rows.copy()
    gappy[::5, 1] = np.nan
    np.testing.assert_allclose(complete_rows(gappy), np.delete(rows, np.s_[::5], axis=0))
    np.testing.assert_allclose(
        shrunk_covariance(gappy, "ledoit_wolf"),
        shrunk_covariance(np.delete(rows, np.s_[::5], axis=0), "ledoit_wolf"),
    )


def test_any_estimator_with_the_interface():
    rows = np.random.default_rng(3).normal(size=(400, 3))
    centred = EmpiricalCovariance(assume_centered=True)
    np.testing.assert_allclose(fitted_covariance(rows, centred), sample_covariance(rows), rtol=1e-12)
    assert fitted_covariance(rows, LedoitWolf()).shape == (3, 3)
    rows[::40] *= 100.0
    robust = fitted_covariance(rows, MinCovDet(random_state=0))
    assert np.diag(robust).max() < 2.0 < np.diag(sample_covariance(rows)).min()


class Wrong:
    """A covariance of one column, whatever the rows."""

    covariance_ = np.eye(1)

    def fit(self, X):
        """Learn nothing."""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_covariance(np.ones((5, 2)), lags=5), "lags is 5: .* less than the 5 rows"),
        (lambda: sample_covariance(np.ones((5, 2)), lags=-1), "lags is -1"),
        (lambda: sample_covariance(np.ones((3, 2)), lags=2), "share 1 rows"),
        (lambda: sample_covariance([[np.inf, 1.0]]), "NaN where missing"),
        (lambda: shrunk_covariance([[1.0, np.nan], [1.0, 2.0]], "oas"), "1 rows have every column"),
        (lambda: shrunk_covariance(np.c_[np.zeros(9), np.ones(9)], "oas"), "column 0 does not move"),
        (lambda: shrunk_covariance(np.ones((9, 2)), "lw"), "ledoit_wolf, oas"),
        (lambda: fitted_covariance(np.ones((9, 2)), Wrong()), "symmetric matrix of 2 columns"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
