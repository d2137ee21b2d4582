"""Variance in factor form against the dense matrix and simulation-free laws; estimators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.covariance import (
    RiskModel,
    factor_form,
    floor_volatility,
    scale_to_horizon,
    variance,
    variance_by_asset,
    variance_by_source,
    variance_gradient,
)

seeds = st.integers(0, 10_000)


def case(seed, assets=4, groups=3, instruments=6, currencies=2):
    rng = np.random.default_rng(seed)
    model = RiskModel(
        rng.normal(size=(2, assets)) * 0.03,
        rng.uniform(0, 0.01, assets),
        rng.uniform(1e-4, 1e-3, groups),
        rng.integers(0, groups, instruments),
        rng.normal(size=(currencies, currencies)) * 0.002,
        rng.normal(size=(int(rng.integers(0, 3)), groups)) * 5e-4,
        rng.normal(size=groups) * 0.1 * (seed % 2),
        rng.integers(0, assets, groups),
    )
    return (
        model,
        rng.normal(size=assets) * 1e6,
        rng.normal(size=instruments) * 1e6,
        rng.normal(size=currencies) * 1e6,
    )


@given(seeds)
def test_variance_equals_the_dense_quadratic_form(seed):
    model, delta, positions, currency = case(seed)
    asset_cov = model.asset_loadings.T @ model.asset_loadings + np.diag(model.asset_idiosyncratic**2)
    # Instrument by instrument: what any two share of basis, their own where they are of one group.
    common, group = model.basis_loadings, model.basis_group
    basis_cov = np.array(
        [[common[:, g] @ common[:, h] + model.basis_sd[g] ** 2 * (g == h) for h in group] for g in group]
    )
    quote_cov = model.currency_loadings.T @ model.currency_loadings
    own = (model.basis_asset[group][None, :] == np.arange(delta.size)[:, None]) * model.beta_of
    moved = delta + own @ positions
    dense = moved @ asset_cov @ moved + positions @ basis_cov @ positions + currency @ quote_cov @ currency
    assert variance(model, delta, positions, currency) == pytest.approx(dense, rel=1e-10)


@given(seeds)
def test_gradient_and_euler(seed):
    model, *book = case(seed)
    gradient = variance_gradient(model, *book)
    # Homogeneous of degree 2: the gradient times the book is twice the variance.
    total = sum(g @ b for g, b in zip(gradient, book, strict=True))
    assert total == pytest.approx(2 * variance(model, *book), rel=1e-10)
    for part in range(3):
        direction = np.random.default_rng(seed + part).normal(size=book[part].shape) * 1e3
        up, down = list(book), list(book)
        up[part], down[part] = book[part] + direction, book[part] - direction
        slope = (variance(model, *up) - variance(model, *down)) / 2
        assert slope == pytest.approx(gradient[part] @ direction, rel=1e-6, abs=1e-3)


@given(seeds)
def test_asset_shares_sum_to_their_sources(seed):
    model, delta, positions, currency = case(seed)
    asset_of = np.random.default_rng(seed).integers(0, 4, positions.size)
    source = variance_by_source(model, delta, positions, currency)
    shares = variance_by_asset(model, delta, positions, asset_of)
    assert shares.shape == (4,)
    expected = source["asset"] + source["basis"] + source["idiosyncratic"]
    assert shares.sum() == pytest.approx(expected, rel=1e-10)
    assert sum(source.values()) == pytest.approx(variance(model, delta, positions, currency))


def test_two_perps_of_one_basis_net_and_of_two_do_not():
    shared = RiskModel(np.array([[0.03]]), np.zeros(1), np.array([1e-3]), np.array([0, 0]), np.zeros((0, 0)))
    apart = RiskModel(
        np.array([[0.03]]), np.zeros(1), np.array([1e-3, 1e-3]), np.array([0, 1]), np.zeros((0, 0))
    )
    book = (np.zeros(1), np.array([1e6, -1e6]), np.zeros(0))
    assert variance(shared, *book) == 0.0
    assert variance(apart, *book) == pytest.approx(2 * 1e6)


def test_common_factor_of_two_bases():
    """Correlation r: short both and they add up, long one and short the other and they offset."""
    r, sd = 0.6, 1e-3
    model = RiskModel(
        np.array([[0.03]]),
        np.zeros(1),
        np.full(2, np.sqrt(1 - r) * sd),
        np.array([0, 1]),
        np.zeros((0, 0)),
        np.full((1, 2), np.sqrt(r) * sd),
    )
    both, spread = ((np.zeros(1), np.array([-1e6, x]), np.zeros(0)) for x in (-1e6, 1e6))
    assert variance(model, *both) == pytest.approx(2 * (1 + r) * 1e6)
    assert variance(model, *spread) == pytest.approx(2 * (1 - r) * 1e6)
    assert variance_by_source(model, *both)["basis"] == pytest.approx(variance(model, *both))


@given(seeds)
def test_no_loadings_are_independent_bases(seed):
    model, *book = case(seed)
    bare = {name: getattr(model, name) for name in RiskModel.__dataclass_fields__ if name != "basis_loadings"}
    none = RiskModel(**bare, basis_loadings=np.zeros((2, 3)))
    assert variance(none, *book) == pytest.approx(variance(RiskModel(**bare), *book), rel=1e-12)


@given(seeds, st.integers(0, 5))
def test_factor_form_keeps_the_diagonal_and_the_best_directions(seed, rank):
    root = np.random.default_rng(seed).normal(size=(5, 5)) * 0.02
    cov = root.T @ root
    loadings, idiosyncratic = factor_form(cov, rank)
    rebuilt = loadings.T @ loadings + np.diag(idiosyncratic**2)
    assert loadings.shape == (rank, 5)
    np.testing.assert_allclose(np.diag(rebuilt), np.diag(cov), rtol=1e-12)
    if rank == 5:
        np.testing.assert_allclose(rebuilt, cov, atol=1e-16)
    explained = np.sum(loadings**2)
    assert explained == pytest.approx(np.linalg.eigvalsh(cov)[5 - rank :].sum(), rel=1e-10, abs=1e-18)


def test_factor_form_refuses_what_is_no_covariance():
    with pytest.raises(ValueError, match="not positive semidefinite"):
        factor_form([[1.0, 2.0], [2.0, 1.0]], 1)
    with pytest.raises(ValueError, match="not symmetric"):
        factor_form([[1.0, 0.5], [0.0, 1.0]], 1)
    with pytest.raises(ValueError, match="rank is 3"):
        factor_form(np.eye(2), 3)
    with pytest.raises(ValueError, match="square"):
        factor_form(np.ones((2, 3)), 1)


def test_scaling_and_floor():
    cov = np.array([[4e-4, 1e-4], [1e-4, 1e-4]])
    np.testing.assert_allclose(scale_to_horizon(cov, 1.0, 24.0), 24 * cov)
    raised = floor_volatility(cov, np.array([0.01, 0.02]))
    np.testing.assert_allclose(raised, [[4e-4, 1e-4], [1e-4, 4e-4]])
    with pytest.raises(ValueError, match="floor_sd"):
        floor_volatility(cov, -1.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("asset_loadings", np.ones((2, 3)), "a column per asset"),
        ("asset_idiosyncratic", np.array([0.1, -0.1, 0.0, 0.0]), "asset_idiosyncratic"),
        ("basis_sd", np.array([np.nan]), "basis_sd"),
        ("basis_group", np.array([0, 3]), "from 0 to 2"),
        ("basis_group", np.array([0.5]), "whole numbers"),
        ("currency_loadings", np.ones(3), "a column per currency"),
        ("basis_loadings", np.ones((2, 4)), "a column per basis"),
        ("basis_loadings", np.ones(3), "a column per basis"),
        ("basis_loadings", np.full((1, 3), np.nan), "basis_loadings"),
    ],
)
def test_bad_models(field, value, message):
    model, *_ = case(0)
    fields = {name: getattr(model, name) for name in RiskModel.__dataclass_fields__} | {field: value}
    with pytest.raises(ValueError, match=message):
        RiskModel(**fields)


def test_bad_books():
    model, delta, positions, currency = case(0)
    with pytest.raises(ValueError, match=r"delta has shape \(3,\)"):
        variance(model, delta[:3], positions, currency)
    with pytest.raises(ValueError, match="positions"):
        variance(model, delta, positions * np.nan, currency)
