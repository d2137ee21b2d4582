"""Factor models with named assets as factors, and volatilities put in place of estimated ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.covariance import asset_factor_form, with_volatility

seeds = st.integers(0, 10_000)


def random_covariance(seed, assets=5):
    roots = np.random.default_rng(seed).normal(size=(assets + 2, assets)) * 0.03
    return roots.T @ roots


def dense(loadings, sd):
    return loadings.T @ loadings + np.diag(sd**2)


@given(seeds)
def test_own_variances_and_covariances_with_factors_are_exact(seed):
    cov = random_covariance(seed)
    model = dense(*asset_factor_form(cov, [3, 1]))
    np.testing.assert_allclose(np.diag(model), np.diag(cov), rtol=1e-8)
    np.testing.assert_allclose(model[[1, 3]], cov[[1, 3]], rtol=1e-6, atol=1e-10)
    assert asset_factor_form(cov, [3, 1])[1][[1, 3]].tolist() == [0.0, 0.0]


def test_one_factor_by_hand():
    cov = np.array([[4.0, 2.0, 1.0], [2.0, 3.0, 2.0], [1.0, 2.0, 5.0]])
    loadings, sd = asset_factor_form(cov, [0])
    model = dense(loadings, sd)
    # Betas 1/2 and 1/4: the others' covariance is 0.5 · 0.25 · 4 = 0.5, not the 2 of the sample.
    np.testing.assert_allclose(model[1, 2], 0.5)
    np.testing.assert_allclose(sd**2, [0.0, 3.0 - 1.0, 5.0 - 0.25])


def test_a_true_factor_model_is_found_again():
    betas, factor, own = np.array([1.0, 1.2, 0.7]), 0.0016, np.array([0.0, 3e-4, 5e-4])
    cov = factor * np.outer(betas, betas) + np.diag(own)
    np.testing.assert_allclose(dense(*asset_factor_form(cov, [0])), cov, rtol=1e-12)


@given(seeds)
def test_volatility_changes_and_correlation_stays(seed):
    cov, sd = random_covariance(seed), np.geomspace(0.01, 1.0, 5)
    scaled = with_volatility(cov, sd)
    own = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(np.sqrt(np.diag(scaled)), sd)
    np.testing.assert_allclose(scaled / np.outer(sd, sd), cov / np.outer(own, own), rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: asset_factor_form(np.eye(3), []), "at least one"),
        (lambda: asset_factor_form(np.eye(3), [1, 1]), "different assets"),
        (lambda: asset_factor_form(np.eye(3), [3]), "from 0 to 2"),
        (lambda: asset_factor_form(np.ones((3, 3)), [0, 1]), "follows from the others"),
        (lambda: asset_factor_form(np.diag([0.0, 1.0]), [0]), "does not move"),
        (lambda: asset_factor_form([[1.0, 2.0], [2.0, 1.0]], [0]), "not positive semidefinite"),
        (lambda: with_volatility(np.eye(2), [1.0]), "one per asset"),
        (lambda: with_volatility(np.eye(2), [1.0, 0.0]), "sd"),
        (lambda: with_volatility(np.diag([1.0, 0.0]), [1.0, 1.0]), "variances"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
