"""Net exposures and hedge measures."""

import numpy as np
import pytest

from models.hedge import (
    cross_hedge_betas,
    currency_exposure,
    hedge_effectiveness,
    hedge_ratio,
    net_delta,
    return_beta,
    shrunk_hedge_ratio,
)


def test_net_delta_adds_positions_to_their_asset():
    out = net_delta(np.array([10.0, 5.0, 1.0]), np.array([-4.0, -5.0, -1.0]), np.array([0, 1, 0]))
    np.testing.assert_allclose(out, [5.0, 0.0, 1.0])
    np.testing.assert_allclose(net_delta(np.array([3.0]), np.array([]), np.array([], dtype=int)), [3.0])


def test_collateral_and_short_in_one_stablecoin_add_up():
    # USDC collateral 2 m, shorts 5 m indexed in USDC, 7 m in USDT, 1 m in USD.
    out = currency_exposure(np.array([2e6, 0.0]), np.array([-5e6, -7e6, -1e6]), np.array([0, 1, -1]))
    np.testing.assert_allclose(out, [7e6, 7e6])


def test_measures():
    assert hedge_effectiveness(1.0, 4.0) == 0.75
    assert hedge_effectiveness(8.0, 4.0) == -1.0
    assert hedge_ratio(10.0, -9.0) == 0.9
    assert hedge_ratio(-10.0, 9.0) == 0.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hedge_effectiveness(1.0, 0.0), "variance_unhedged is 0"),
        (lambda: hedge_ratio(0.0, 1.0), "exposure is 0"),
        (lambda: net_delta(np.ones(2), np.ones(1), np.array([2])), r"asset_of\[0\] is 2: .* from 0 to 1"),
        (lambda: net_delta(np.ones(2), np.ones(1), np.array([-1])), "asset_of"),
        (lambda: net_delta(np.ones(2), np.ones(2), np.array([0])), "one per instrument"),
        (lambda: net_delta(np.array([np.nan]), np.ones(1), np.array([0])), "exposure"),
        (lambda: currency_exposure(np.ones(1), np.ones(1), np.array([-2])), "from -1 to 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_beta_of_a_perp_on_its_coin():
    rng = np.random.default_rng(6)
    coin = rng.normal(size=20_000) * 0.01
    perp = 0.985 * coin + rng.normal(size=coin.size) * 3e-4
    perp[::7] = np.nan
    assert return_beta(perp, coin, None) == pytest.approx(0.985, abs=1e-3)
    changed = np.r_[1.0 * coin[:10_000], 0.9 * coin[10_000:]]
    assert return_beta(changed, coin, 500.0) == pytest.approx(0.9, abs=1e-4)
    assert return_beta(changed, coin, None) == pytest.approx(0.95, abs=0.01)


def test_late_prices_lower_the_beta_and_shrinkage_lifts_it():
    coin = np.random.default_rng(2).normal(size=5_000)
    late = 0.9 * coin + 0.1 * np.r_[0.0, coin[:-1]]
    beta = return_beta(late, coin, None)
    assert beta == pytest.approx(0.9, abs=0.01)
    assert shrunk_hedge_ratio(beta, 0.9) == pytest.approx(0.99, abs=1e-3)
    assert shrunk_hedge_ratio(0.5, 1.0) == 1.0
    assert shrunk_hedge_ratio(0.5, 0.0) == 0.5


def test_cross_hedge_betas_are_the_least_variance_hedge():
    roots = np.random.default_rng(1).normal(size=(8, 4))
    cov = roots.T @ roots
    betas = cross_hedge_betas(cov, 2, [0, 3, 1], 0.0)
    weights = np.zeros(4)
    weights[[2, 0, 3, 1]] = [1.0, *-betas]
    # What is left does not move with any of the hedges.
    np.testing.assert_allclose((cov @ weights)[[0, 1, 3]], 0.0, atol=1e-10)
    assert cross_hedge_betas(cov, 2, [0], 0.0)[0] == pytest.approx(cov[2, 0] / cov[0, 0])
    assert cross_hedge_betas(cov, 2, [0], 0.01)[0] == pytest.approx(cov[2, 0] / cov[0, 0] / 1.01)
    assert cross_hedge_betas(cov, 2, [], 0.01).shape == (0,)


def test_twin_hedges_share_with_a_ridge():
    # Two copies of one hedge, and an asset of beta 0.8 on it.
    cov = np.array([[1.0, 1.0, 0.8], [1.0, 1.0, 0.8], [0.8, 0.8, 1.0]]) * 4e-4
    np.testing.assert_allclose(cross_hedge_betas(cov, 2, [0, 1], 0.01), 0.8 / 2.01)
    noisy = cov + np.diag([1e-9, 0.0, 0.0])
    noisy[0, 2] = noisy[2, 0] = cov[0, 2] * 1.001
    assert np.abs(cross_hedge_betas(noisy, 2, [0, 1], 0.01)).max() < 0.5
    assert np.abs(cross_hedge_betas(noisy, 2, [0, 1], 0.0)).max() > 10.0
    with pytest.raises(ValueError, match="follow from each other"):
        cross_hedge_betas(cov, 2, [0, 1], 0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: return_beta(np.ones(20), np.zeros(20), None), "do not move"),
        (lambda: return_beta(np.ones(20), np.ones(19), None), "alike"),
        (lambda: return_beta(np.r_[np.nan, np.ones(9)], np.ones(10), None), "share 9 rows"),
        (lambda: return_beta(np.r_[np.inf, np.ones(19)], np.ones(20), None), "infinity"),
        (lambda: return_beta(np.ones(20), np.ones(20), 0.0), "half_life_rows"),
        (lambda: shrunk_hedge_ratio(1.0, 1.1), "weight_on_one"),
        (lambda: cross_hedge_betas(np.eye(3), 1, [0, 1], 0.0), "leave it out"),
        (lambda: cross_hedge_betas(np.eye(3), 3, [0], 0.0), "own"),
        (lambda: cross_hedge_betas(np.diag([0.0, 1.0]), 1, [0], 0.01), "variance of others"),
        (lambda: cross_hedge_betas(np.ones((2, 3)), 1, [0], 0.01), "square"),
        (lambda: cross_hedge_betas(np.eye(2), 1, [0], -0.01), "ridge"),
    ],
)
def test_bad_estimates(call, message):
    with pytest.raises(ValueError, match=message):
        call()
