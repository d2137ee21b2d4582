"""What funding errors share, against the dense matrix it stands for and against simulated errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.error_factors import (
    ErrorFactors,
    ErrorSorts,
    correlated,
    embedded,
    error_factors,
    independent_errors,
    shared_errors,
    shocks,
)

seeds = st.integers(0, 10_000)


def sorts(coins, venues, perps=None):
    count = np.arange(len(coins)) if perps is None else np.asarray(perps)
    return ErrorSorts(np.asarray(coins), np.asarray(venues), count)


def dense(s, market, coin, venue):
    """The correlation matrix, pair by pair."""
    count = len(s.perp)
    out = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            same_perp = 1 - market - coin - venue if s.perp[i] == s.perp[j] else 0.0
            out[i, j] = (
                market + coin * (s.coin[i] == s.coin[j]) + venue * (s.venue[i] == s.venue[j]) + same_perp
            )
    return out


def random_case(seed, count=7):
    rng = np.random.default_rng(seed)
    s = sorts(rng.integers(0, 3, count), rng.integers(0, 3, count), rng.integers(0, 6, count))
    shares = rng.dirichlet(np.ones(4))[:3]
    return s, shares, rng.normal(size=count) * 1e3


@given(seeds)
def test_spread_and_slope_are_those_of_the_dense_matrix(seed):
    s, shares, amounts = random_case(seed)
    factors, matrix = shared_errors(s, *shares), dense(s, *shares)
    assert np.linalg.norm(shocks(factors, amounts)) ** 2 == pytest.approx(
        amounts @ matrix @ amounts, rel=1e-9
    )
    np.testing.assert_allclose(correlated(factors, amounts), matrix @ amounts, rtol=1e-9, atol=1e-8)


def test_without_anything_shared_it_is_the_diagonal():
    amounts = np.array([3.0, -4.0, 12.0])
    for factors in (independent_errors(3), shared_errors(sorts([0, 0, 1], [0, 1, 1]), 0.0, 0.0, 0.0)):
        assert np.linalg.norm(shocks(factors, amounts)) == pytest.approx(13.0)
        np.testing.assert_allclose(correlated(factors, amounts), amounts)
    assert shocks(independent_errors(0), np.zeros(0)).size == 0


def test_errors_that_are_one_do_not_diversify():
    amounts = np.array([3.0, 4.0])
    one = shared_errors(sorts([0, 0], [0, 1]), 0.0, 1.0, 0.0)
    assert np.linalg.norm(shocks(one, amounts)) == pytest.approx(7.0)
    assert np.linalg.norm(shocks(one, amounts * [1, -1])) == pytest.approx(1.0)
    # The same perp in two accounts of an exchange, whatever else is shared.
    same = shared_errors(sorts([0, 0], [0, 0], [0, 0]), 0.1, 0.2, 0.3)
    assert np.linalg.norm(shocks(same, amounts)) == pytest.approx(7.0)


def test_shares_beyond_one_are_scaled_to_it():
    matrix = dense(sorts([0, 0, 1], [0, 1, 0]), 0.5, 0.3, 0.2)
    factors = shared_errors(sorts([0, 0, 1], [0, 1, 0]), 1.0, 0.6, 0.4)
    np.testing.assert_allclose(
        np.column_stack([correlated(factors, e) for e in np.eye(3)]), matrix, atol=1e-12
    )


def simulated(rng, rows, s, market, coin, venue):
    factors = shared_errors(s, market, coin, venue)
    out = np.zeros((rows, len(s.perp)))
    for group, loading in zip(factors.groups, factors.loadings, strict=True):
        out += loading * rng.normal(size=(rows, group.max() + 1))[:, group]
    return out


GRID = sorts(np.tile(np.arange(5), 3), np.repeat(np.arange(3), 5))


def found_shares(factors):
    return factors.loadings[:3, 0] ** 2


def test_shares_are_found_in_errors_of_different_size_with_holes():
    rng = np.random.default_rng(0)
    errors = simulated(rng, 20_000, GRID, 0.2, 0.3, 0.15) * rng.uniform(1e-5, 1e-3, 15)
    np.testing.assert_allclose(found_shares(error_factors(errors, GRID)), [0.2, 0.3, 0.15], atol=0.02)
    errors[rng.random(errors.shape) < 0.3] = np.nan
    errors[:15_000, 3] = np.nan
    np.testing.assert_allclose(found_shares(error_factors(errors, GRID)), [0.2, 0.3, 0.15], atol=0.03)


def test_they_are_mean_correlations_of_each_sort_of_pairs():
    errors = simulated(np.random.default_rng(1), 300, GRID, 0.2, 0.3, 0.15)
    unit = errors / np.sqrt(np.mean(errors**2, axis=0))
    matrix = unit.T @ unit / 300
    coin, venue = (a[:, None] == a for a in (GRID.coin, GRID.venue))
    apart, one_coin, one_venue = (
        matrix[pick].mean() for pick in (~coin & ~venue, coin & ~venue, ~coin & venue)
    )
    expected = [apart, one_coin - apart, one_venue - apart]
    np.testing.assert_allclose(found_shares(error_factors(errors, GRID)), expected, rtol=1e-9)


def test_a_perp_held_twice_is_seen_once():
    errors = simulated(np.random.default_rng(2), 300, GRID, 0.2, 0.3, 0.15)
    twice = ErrorSorts(*(np.append(sort, sort[-1]) for sort in GRID))
    again = error_factors(np.column_stack([errors, errors[:, -1]]), twice)
    np.testing.assert_allclose(again.loadings[:, :15], error_factors(errors, GRID).loadings)
    amounts = np.zeros(16)
    amounts[-2:] = 1.0
    assert np.linalg.norm(shocks(again, amounts)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("coins", "venues"), [([0] * 4, range(4)), (range(4), [0] * 4), ([0] * 4, [0] * 4)], ids=str
)
def test_a_single_coin_or_venue_has_one_correlation(coins, venues):
    rng = np.random.default_rng(3)
    errors = np.sqrt(0.6) * rng.normal(size=(20_000, 1)) + np.sqrt(0.4) * rng.normal(size=(20_000, 4))
    factors = error_factors(errors, sorts(list(coins), list(venues)))
    matrix = np.column_stack([correlated(factors, e) for e in np.eye(4)])
    np.testing.assert_allclose(matrix, 0.6 + 0.4 * np.eye(4), atol=0.02)


def test_opposite_errors_count_as_unrelated():
    errors = np.random.default_rng(4).normal(size=(50, 1)) * np.array([[1.0, -1.0]])
    factors = error_factors(errors, sorts([0, 0], [0, 1]))
    assert np.linalg.norm(shocks(factors, [3.0, 4.0])) == pytest.approx(5.0)


def test_pairs_that_never_met_move_as_one():
    errors = np.random.default_rng(5).normal(size=(40, 2))
    errors[:20, 0] = errors[20:, 1] = np.nan
    factors = error_factors(errors, sorts([0, 0], [0, 1]))
    assert np.linalg.norm(shocks(factors, [3.0, 4.0])) == pytest.approx(7.0)


def test_thousands_of_perps_take_little():
    rng = np.random.default_rng(6)
    s = sorts(rng.integers(0, 800, 2_815), rng.integers(0, 8, 2_815))
    factors = error_factors(simulated(rng, 270, s, 0.2, 0.3, 0.1), s)
    np.testing.assert_allclose(found_shares(factors), [0.2, 0.3, 0.1], atol=0.07)
    assert factors.loadings.size == 4 * 2_815
    assert shocks(factors, np.ones(2_815)).size == 1 + 800 + 8 + 2_815


def test_embedded_errors_are_what_they_were_and_the_others_stand_alone():
    among = shared_errors(sorts([0, 0, 1], [0, 1, 1]), 0.3, 0.2, 0.1)
    whole = embedded(among, np.array([0, 2, 3]), 5)
    expected = np.eye(5)
    expected[np.ix_([0, 2, 3], [0, 2, 3])] = np.column_stack([correlated(among, row) for row in np.eye(3)])
    assert np.column_stack([correlated(whole, row) for row in np.eye(5)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ErrorFactors(np.array([[0, 1]]), np.array([[1.0, 0.5]])), "must sum to 1"),
        (lambda: ErrorFactors(np.array([0, 1]), np.array([[1.0, 1.0]])), r"give \(blocks, n\)"),
        (lambda: ErrorFactors(np.array([[0, 1]]), np.array([[1.0, -1.0]])), "loadings"),
        (lambda: ErrorFactors(np.array([[0, -1]]), np.array([[1.0, 1.0]])), "groups"),
        (lambda: shared_errors(sorts([0, 1], [0, 1]), 1.2, 0.0, 0.0), "market, coin, venue"),
        (lambda: shared_errors(sorts([0, 1], [0]), 0.2, 0.0, 0.0), "one whole number per instrument"),
        (lambda: error_factors(np.zeros((5, 3)), sorts([0, 1], [0, 1])), "a column per instrument"),
        (lambda: error_factors(np.full((5, 2), np.inf), sorts([0, 1], [0, 1])), "a column per instrument"),
        (lambda: shocks(independent_errors(2), [1.0]), r"amounts has shape \(1,\)"),
        (lambda: correlated(independent_errors(2), [1.0, np.nan]), "amounts"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
