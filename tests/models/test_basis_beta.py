"""One beta of all bases on their coins: found where there is one, half believed, none without history."""

import numpy as np
import pytest

from models.basis_beta import COMBINED, pooled_beta
from models.covariance import RiskModel, variance


def panel(beta, seed=0, rows=4000, perps=6, noise=2e-4):
    """Levels of six perps that move by beta of their coin's return, and logs of the prices of three coins."""
    rng = np.random.default_rng(seed)
    coins = np.cumsum(rng.normal(size=(rows, 3)) * 0.01, axis=0)
    coins = coins[:, np.arange(perps) % 3]
    return beta * coins + rng.normal(size=coins.shape) * noise, coins


@pytest.mark.parametrize("beta", [0.002, -0.001, 0.0])
def test_the_slope_is_found_and_counts_half(beta):
    found = pooled_beta(*panel(beta), 1.0, 24.0, 1e6)
    assert found == pytest.approx(COMBINED * beta, abs=5e-5)
    assert pooled_beta(*panel(beta), 1.0, 24.0, 1e6, 1.0) == pytest.approx(2 * found, rel=1e-12)


def test_it_is_least_squares_without_a_mean_over_all_pairs_seen():
    levels, coins = panel(0.002, rows=60)
    levels[7, 2] = np.nan
    d, r = np.diff(levels, axis=0).ravel(), np.diff(coins, axis=0).ravel()
    there = np.isfinite(d)
    expected = np.linalg.lstsq(r[there, None], d[there], rcond=None)[0][0]
    assert pooled_beta(levels, coins, 1.0, 1.0, 1e9, 1.0) == pytest.approx(expected, rel=1e-6)


def test_newer_changes_count_more():
    old, new = panel(0.003, rows=600), panel(0.001, seed=1, rows=600)
    levels = np.vstack([old[0], new[0] - new[0][0] + old[0][-1]])
    coins = np.vstack([old[1], new[1] - new[1][0] + old[1][-1]])
    slow, fast = (pooled_beta(levels, coins, 1.0, 1.0, memory, 1.0) for memory in (1e6, 100.0))
    assert fast == pytest.approx(0.001, abs=2e-4)
    assert slow > 0.0015


def test_too_little_history_and_still_coins_have_none():
    levels, coins = panel(0.002)
    assert pooled_beta(levels[:24], coins[:24], 1.0, 24.0, 720.0) == 0.0
    assert pooled_beta(levels[:40], coins[:40], 1.0, 24.0, 720.0) == 0.0
    assert pooled_beta(levels, np.ones_like(coins), 1.0, 24.0, 720.0) == 0.0
    assert pooled_beta(levels[:, :0], coins[:, :0], 1.0, 24.0, 720.0) == 0.0


@pytest.mark.parametrize(
    ("levels", "coins", "weight", "named"),
    [
        (np.zeros((50, 2)), np.ones((50, 3)), 0.5, "column per basis"),
        (np.full((50, 2), np.inf), np.ones((50, 2)), 0.5, "column per basis"),
        (np.zeros((50, 2)), np.full((50, 2), -np.inf), 0.5, "coin_logs"),
        (np.zeros((50, 2)), np.ones((50, 2)), 1.5, "weight"),
    ],
)
def test_bad_input_is_named(levels, coins, weight, named):
    with pytest.raises(ValueError, match=named):
        pooled_beta(levels, coins, 1.0, 24.0, 720.0, weight)


def test_the_best_hedge_is_one_over_one_plus_beta():
    """By the variance of the model, without basis risk: short E / (1 + beta) of a coin of E."""
    beta, exposure = 0.002, 1e6
    model = RiskModel(
        np.array([[0.03]]), np.zeros(1), np.zeros(1), np.array([0]), np.zeros((0, 0)),
        basis_beta=np.array([beta]), basis_asset=np.array([0]),
    )  # fmt: skip
    short = -exposure / (1 + beta)
    assert variance(model, np.array([exposure + short]), np.array([short]), np.zeros(0)) < 1e-9
    naive = variance(model, np.zeros(1), np.array([-exposure]), np.zeros(0))
    assert naive == pytest.approx((0.03 * beta * exposure) ** 2)
