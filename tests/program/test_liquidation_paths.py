"""The liquidation-probability limit against simulated paths, where it binds.

Gaussian prices that are watched at every step must liquidate a venue with a frequency between half of α and
α: first passage is twice the terminal law, and a path watched in steps touches a little less often. What fat
tails do to that frequency is printed. Margin is the venue's own schedule at the stressed price.
"""

from __future__ import annotations

import numpy as np
import pytest
from answers import answer
from markets import build
from specs import Balance, Perp, Spec, brackets, limit, objective

from allocator.margin import Shock, equity, maintenance

PATHS, STEPS = 100_000, 300
TIERS = brackets([0.0, 3e6, 1.2e7], [0.004, 0.01, 0.02], [100.0, 50.0, 20.0])


def binding(alpha: float):
    """A venue whose collateral is what its short of two coins needs, and no more."""
    perps = tuple(
        Perp(venue="alpha", asset=a, basis_sd=1e-4, leverage=20.0, brackets=TIERS) for a in ("BTC", "ETH")
    )
    spec = Spec(
        perps,
        {"BTC": 6e6, "ETH": 4e6},
        asset_sd={"BTC": 0.02, "ETH": 0.03},
        correlation=0.7,
        balances=(Balance("alpha", "USDT", 4.3e5),),
        limits={
            "ruin": limit(
                "liquidation_probability", venues="all", max=alpha, sigmas=None, arrival=24.0, soft=None
            )
        },
        objective=objective(risk_aversion_per_usd=1e-5),
    )
    found = answer(build(spec))
    assert found.audit.passed
    (ruin,) = [v for v in found.audit.values if v.kind == "liquidation_probability"]
    assert abs(float(ruin.slack_usd[0])) < 1.0, "the limit must bind"
    return found


def touched(found, shocks: list[np.ndarray]) -> float:
    """Share of paths whose equity falls below maintenance margin; one array of shocks (paths, k) a step."""
    market, x = found.market, found.positions
    loadings = market.risk.asset_loadings
    level = np.zeros((PATHS, len(market.assets)))
    dead = np.zeros(PATHS, dtype=bool)
    balance = market.collateral.balance
    rates, deductions = TIERS.rates, TIERS.deductions_usd
    for shock in shocks:
        level += shock @ loadings / np.sqrt(STEPS)
        moved = level[:, market.asset_of]
        worth = balance.sum() + moved @ x
        sizes = np.abs(x) * (1 + moved)
        required = np.max(sizes[:, :, None] * rates - deductions, axis=2).sum(axis=1)
        dead |= worth < required
    return float(dead.mean())


@pytest.mark.long
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_simulated_frequency_when_it_binds(alpha, told):
    found = binding(alpha)
    rng = np.random.default_rng(11)
    factors = found.market.risk.asset_loadings.shape[0]
    gaussian = touched(found, [rng.normal(size=(PATHS, factors)) for _ in range(STEPS)])
    tails = rng.standard_t(3, size=(PATHS, factors)) / np.sqrt(3)  # one fat-tailed day, spread over its steps
    fat = touched(found, [tails / np.sqrt(STEPS)] * STEPS)
    with told():
        print(
            f"\nalpha {alpha:.3f}: liquidated {gaussian:.4f} of Gaussian paths, {fat:.4f} with Student-3 days"
        )
    assert 0.5 * alpha <= gaussian <= alpha


def test_the_plain_margin_agrees_with_the_simulation_s():
    found = binding(0.05)
    market = found.market
    for move in (-0.2, 0.1, 0.3):
        shock = Shock.common_move(market, move)
        sizes = np.abs(found.positions) * (1 + move)
        required = np.max(sizes[:, None] * TIERS.rates - TIERS.deductions_usd, axis=1).sum()
        assert maintenance(market, found.positions, shock)[0] == pytest.approx(required)
        worth = market.collateral.balance.sum() + move * found.positions.sum()
        assert equity(market, found.positions, market.collateral.balance, shock)[0] == pytest.approx(worth)
