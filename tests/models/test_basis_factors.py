"""Common factors of bases: what simulated bases share is found, what they do not share is not."""

import numpy as np
import pytest
from sklearn.covariance import OAS

from models.basis_factors import (
    CHANGE_LIMIT,
    ChangeCorrelation,
    change_correlation,
    common_loadings,
    oracle_shrinkage,
    own_sd,
)

MANY = 1e12  # observations that leave nothing to shrink


def dense(loadings):
    """The correlation that loadings and each basis's own part make."""
    found = loadings.T @ loadings
    np.fill_diagonal(found, 1.0)
    return found


def levels(rng, rows, loadings, persistence=0.0):
    """Levels whose shocks have these loadings on common ones, each a unit-variance AR(1)."""
    own = np.sqrt(1.0 - np.sum(loadings**2, axis=0))
    shocks = rng.normal(size=(rows, len(loadings))) @ loadings + rng.normal(size=(rows, own.size)) * own
    out = np.zeros_like(shocks)
    for row in range(1, rows):
        out[row] = persistence * out[row - 1] + np.sqrt(1 - persistence**2) * shocks[row]
    return out


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9, 1.0, -0.4])
@pytest.mark.parametrize("count", [2, 5])
def test_equal_correlation_is_one_factor_exactly(correlation, count):
    if correlation < -1 / (count - 1):
        correlation = 0.0
    matrix = np.full((count, count), correlation)
    np.fill_diagonal(matrix, 1.0)
    loadings = common_loadings(ChangeCorrelation(matrix, MANY), 1)
    assert loadings.shape == (1, count)
    if correlation >= 0 or count == 2:
        np.testing.assert_allclose(dense(loadings), matrix, atol=1e-9)


def test_factors_of_a_factor_model_are_recovered():
    # One for all, and one that sets two venues of four perps apart.
    true = np.vstack([np.full(8, 0.7), np.repeat([0.4, -0.4], 4)])
    found = change_correlation(levels(np.random.default_rng(0), 20_000, true, 0.5), 1.0, 1.0, 1e6)
    np.testing.assert_allclose(found.matrix, dense(true), atol=0.03)
    np.testing.assert_allclose(dense(common_loadings(found, 2)), dense(true), atol=0.03)
    one = dense(common_loadings(found, 1))
    assert np.max(np.abs(one - dense(true))) > 0.1, "the second factor matters"


def test_independent_bases_stay_independent():
    # Fifty bases and as many observations: plain principal components would find factors in the noise.
    found = change_correlation(np.random.default_rng(1).normal(size=(101, 50)), 1.0, 1.0, 1e6)
    plain = np.linalg.eigvalsh(found.matrix)[-1] / 50
    shared = np.mean(common_loadings(found, 2) ** 2)
    assert shared < 0.2 * plain
    for count in (4, 300):
        none = common_loadings(ChangeCorrelation(np.eye(count), MANY), 3)
        assert none.shape == (3, count)
        assert not none.any()


def test_shrinkage_is_scikit_learn_s_on_complete_rows():
    rows = np.random.default_rng(2).normal(size=(60, 6)) @ np.random.default_rng(3).normal(size=(6, 6))
    rows /= np.sqrt(np.mean(rows**2, axis=0))
    fitted = OAS(assume_centered=True).fit(rows)
    assert 0.01 < fitted.shrinkage_ < 0.9
    assert oracle_shrinkage(rows.T @ rows / 60, 60) == pytest.approx(fitted.shrinkage_, rel=1e-12)
    assert oracle_shrinkage(np.eye(3), 60) == 1.0


def test_each_pair_uses_the_rows_that_have_both():
    rng = np.random.default_rng(4)
    table = levels(rng, 400, np.array([[0.9, 0.9, 0.9]]))
    table[:150, 0] = np.nan
    table[rng.random(400) < 0.2, 1] = np.nan
    found = change_correlation(table, 1.0, 1.0, 100.0).matrix
    changes = np.diff(table, axis=0)
    cut = CHANGE_LIMIT * np.nanmedian(np.abs(changes), axis=0) / 0.6745
    changes = np.clip(changes, -cut, cut)
    weights = 0.5 ** (np.arange(len(changes))[::-1] / 100.0)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = np.isfinite(changes[:, a]) & np.isfinite(changes[:, b])
        x, y, w = changes[both, a], changes[both, b], weights[both]
        assert found[a, b] == pytest.approx((w @ (x * y)) / np.sqrt((w @ x**2) * (w @ y**2)), rel=1e-12)
        assert found[b, a] == pytest.approx(found[a, b], rel=1e-14)
    table[:, 0] = np.nan
    np.testing.assert_array_equal(change_correlation(table, 1.0, 1.0, 100.0).matrix[0], [1.0, 0.0, 0.0])


def test_one_wild_week_does_not_set_the_correlation_for_months():
    """A week of changes eight times as wide that move as one, then two months of correlation 0.2."""
    rng = np.random.default_rng(7)
    days = np.arange(90)
    wild = (days >= 23) & (days < 30)
    correlation = np.where(wild, 0.95, 0.2)
    common, own = rng.normal(size=90), rng.normal(size=(90, 2))
    changes = np.sqrt(correlation)[:, None] * common[:, None] + np.sqrt(1 - correlation)[:, None] * own
    changes *= np.where(wild, 8.0, 1.0)[:, None]
    table = np.vstack([np.zeros(2), np.cumsum(changes, axis=0)])
    weights = 0.5 ** (days[::-1] / 30.0)
    plain = weights @ (changes[:, 0] * changes[:, 1]) / np.sqrt(np.prod(weights @ changes**2))
    calm = np.corrcoef(changes[~wild].T)[0, 1]
    found = change_correlation(table, 24.0, 24.0, 30 * 24.0).matrix[0, 1]
    assert plain > 0.75
    assert abs(found - calm) < 0.5 * (plain - calm)


def test_a_basis_that_mostly_stands_still_has_no_scale_to_be_cut_by():
    changes = np.zeros((100, 2))
    changes[::5] = np.random.default_rng(8).normal(size=(20, 1))
    changes[::10, 1] *= -1.0
    changes[0] = 10.0
    x, y = changes.T
    table = np.vstack([np.zeros(2), np.cumsum(changes, axis=0)])
    found = change_correlation(table, 1.0, 1.0, 1e12).matrix[0, 1]
    assert found == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), rel=1e-6)


def test_observations_count_weights_and_overlap():
    table = np.random.default_rng(5).normal(size=(1_001, 2))
    assert change_correlation(table, 1.0, 1.0, 1e9).observations == pytest.approx(1_000)
    # A thousand hours hold forty days, whether or not their changes overlap.
    assert change_correlation(table, 1.0, 24.0, 1e9).observations == pytest.approx(977 / 24, rel=0.02)
    # Equal weights over 2 half-lives/ln 2 have the variance of exponential ones.
    assert change_correlation(table, 1.0, 1.0, 50.0).observations == pytest.approx(
        2 * 50 / np.log(2), rel=0.01
    )


def test_changes_are_over_the_horizon():
    # Noise of an hour is each basis's own, the drift over days is common.
    rng = np.random.default_rng(6)
    drift = np.cumsum(rng.normal(size=(5_000, 1)), axis=0) * 0.1
    table = drift + rng.normal(size=(5_000, 2))
    hour, week = (change_correlation(table, 1.0, h, 1e9).matrix[0, 1] for h in (1.0, 168.0))
    assert hour < 0.05
    assert week == pytest.approx(168 * 0.01 / (168 * 0.01 + 2), abs=0.2)
    assert week > 0.25


@pytest.mark.parametrize("count", [40, 300])
def test_any_matrix_of_correlations_gives_factors_within_the_variance(count):
    """Also one that is not positive semidefinite, as pairs with different rows may give."""
    raw = np.clip(np.random.default_rng(7).normal(0.5, 0.4, (count, count)), -1, 1)
    matrix = (raw + raw.T) / 2
    np.fill_diagonal(matrix, 1.0)
    assert np.linalg.eigvalsh(matrix)[0] < -0.1
    loadings = common_loadings(ChangeCorrelation(matrix, 100.0), 3)
    assert loadings.shape == (3, count)
    assert np.all(np.sum(loadings**2, axis=0) <= 1 + 1e-12)
    assert np.linalg.eigvalsh(dense(loadings))[0] > -1e-9
    np.testing.assert_array_equal(loadings, common_loadings(ChangeCorrelation(matrix, 100.0), 3))


def test_thousands_of_bases_are_a_matter_of_seconds():
    true = np.full((1, 1_500), 0.6)
    table = levels(np.random.default_rng(8), 500, true)
    loadings = common_loadings(change_correlation(table, 1.0, 1.0, 1e6), 2)
    assert np.mean(loadings[0]) == pytest.approx(0.6, abs=0.05)
    assert np.mean(loadings[1] ** 2) < 0.02


def test_what_the_factors_leave():
    np.testing.assert_allclose(own_sd([5.0, 2.0], [[3.0, 0.0], [0.0, 2.0]]), [4.0, 0.0])
    with pytest.raises(ValueError, match="exceed its total_sd"):
        own_sd([5.0, 2.0], [[3.0, 2.1]])
    with pytest.raises(ValueError, match="a column per basis"):
        own_sd([5.0, 2.0], [[3.0]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: change_correlation(np.zeros(5), 1.0, 1.0, 1.0), "a column per basis"),
        (lambda: change_correlation(np.full((5, 2), np.inf), 1.0, 1.0, 1.0), "a column per basis"),
        (lambda: change_correlation(np.zeros((5, 2)), 1.0, 5.0, 1.0), "more than the 5"),
        (lambda: change_correlation(np.zeros((5, 2)), 0.0, 5.0, 1.0), "step_hours"),
        (lambda: change_correlation(np.zeros((5, 2)), 1.0, 1.0, 0.0), "memory_hours"),
        (lambda: common_loadings(ChangeCorrelation(np.eye(2), 9.0), -1), "factors is -1"),
        (lambda: oracle_shrinkage(np.zeros((2, 3)), 9.0), "square"),
        (lambda: oracle_shrinkage(np.eye(2), 0.0), "observations"),
        (lambda: oracle_shrinkage(np.full((2, 2), np.nan), 9.0), "correlation"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
