"""How uncertain each venue's cushion (equity minus maintenance margin) is, by plain formulas.

P&L of the positions there, of the collateral as it counts, and of the margin requirement itself, over the
hours until more collateral can arrive. Asset and currency risk grow with the square root of time; basis risk
is kept at its decision-horizon size for shorter times, where it may already be saturated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.haircuts import marginal_value
from allocator.market.types import Decision, Market
from allocator.scenario.schema import LiquidationProbability
from models.arrays import Vector
from models.hedge import currency_exposure
from models.liquidation import cushion_exposure, first_passage_multiplier


def multiplier(limit: LiquidationProbability) -> float:
    """How many standard deviations the cushion must be: from the probability, or given."""
    if limit.sigmas is not None:
        return limit.sigmas
    assert limit.max is not None
    return first_passage_multiplier(limit.max)


def time_scales(market: Market, hours: float) -> tuple[float, float]:
    """Factors on asset and currency loadings, and on basis sd, for these hours instead of the horizon."""
    scale = float(np.sqrt(hours / market.decision_hours))
    return scale, max(1.0, scale)


@dataclass(frozen=True)
class Cushion:
    """One venue's cushion risk: its sd in USD, and the sd's derivatives.

    `linear` (n,) in each position through its price, basis and quote, `size` (n,) in each |position| through
    the margin requirement, `balance` (P,) in each pocket.
    """

    sd: float
    linear: Vector
    size: Vector
    balance: Vector


def cushion(market: Market, decision: Decision, venue: int, hours: float) -> Cushion:
    """The risk of one venue's cushion at a decision."""
    scale, basis_scale = time_scales(market, hours)
    here, there = market.venue_of == venue, market.pocket_venue == venue
    x = np.where(here, decision.positions, 0.0)
    balance = evaluate.balances(market, decision, np.zeros(len(x)))
    counted = np.where(there, counted_share(market), 0.0)
    risk = market.risk
    coin = np.array(
        [market.assets.index(p.currency) if p.currency in market.assets else -1 for p in market.pockets]
    )
    money = np.array(
        [
            market.currencies.index(p.currency) if p.currency in market.currencies else -1
            for p in market.pockets
        ]
    )
    share = settled_share(market)
    exposed = np.bincount(
        market.asset_of,
        weights=cushion_exposure(x, market.cushion_rate) - (1 - share) * x,
        minlength=len(market.assets),
    ) + _summed(coin, counted * balance, len(market.assets))
    quote = currency_exposure(
        _summed(money, counted * balance, len(market.currencies)), x, market.index_currency_of
    )
    held = np.bincount(risk.basis_group, weights=x, minlength=len(risk.basis_sd))
    factors = scale * (risk.asset_loadings @ exposed)
    own = scale * risk.asset_idiosyncratic * exposed
    basis = basis_scale * risk.basis_sd * held
    common = basis_scale * (risk.basis_loadings @ held)
    currency = scale * (risk.currency_loadings @ quote)
    sd = float(np.sqrt(sum(float(part @ part) for part in (factors, own, basis, common, currency))))
    if sd == 0.0:
        nothing = np.zeros(len(x))
        return Cushion(0.0, nothing, nothing, np.zeros(len(market.pockets)))
    by_asset = scale * (risk.asset_loadings.T @ factors + risk.asset_idiosyncratic * own) / sd
    by_currency = np.append(scale * (risk.currency_loadings.T @ currency) / sd, 0.0)
    by_basis = basis_scale * (risk.basis_sd * basis + risk.basis_loadings.T @ common) / sd
    price = by_asset[market.asset_of]
    linear = price * share + by_basis[risk.basis_group] - by_currency[market.index_currency_of]
    per_coin = np.append(by_asset, 0.0)[coin] + by_currency[money]
    return Cushion(
        sd=sd,
        linear=np.where(here, linear, 0.0),
        size=np.where(here, -price * market.cushion_rate, 0.0),
        balance=counted * per_coin,
    )


def counted_share(market: Market) -> Vector:
    """Share (P,) of a move of each pocket's worth that counts: 1 − haircut, of tiers the one reached today.

    Where tiers matter, shorts outweigh the coins beside them and a rise is what liquidates: the gain of the
    coins is then counted by the tier reached, the least of those filled. A debt is taken as a balance of its
    size.
    """
    collateral = market.collateral
    return marginal_value(collateral.tiers, np.abs(collateral.balance), collateral.haircut)


def settled_share(market: Market) -> Vector:
    """Share (n,) of each position's P&L that counts: what settles in a coin takes the coin's haircut.

    P&L in a stablecoin counts whole, which is safe: a loss beyond the balance is a debt without haircut.
    """
    coin = np.array([i.settlement_currency in market.assets for i in market.instruments])
    return np.where(coin, counted_share(market)[market.pocket_of], 1.0)


def _summed(owner: Vector, values: Vector, count: int) -> Vector:
    """Sum of values by owner (count,); −1 owns nothing."""
    kept = owner >= 0
    return np.bincount(owner[kept], weights=values[kept], minlength=count).astype(float)
