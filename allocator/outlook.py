"""Figures that people ask of an allocation beside its terms: how far liquidation is, what is earned where.

Plain formulas on a decision, as in `evaluate`; nothing here is optimised. Amounts are USD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from allocator import evaluate, margin
from allocator.cushion import cushion
from allocator.market.types import Decision, Index, Market, Matrix
from models.arrays import Vector
from models.covariance import variance_gradient
from models.error_factors import shocks
from models.hedge import currency_exposure

CONFIDENCE = 0.99
_POINTS = 41
_NARROWEST, _LOWEST, _HIGHEST = 0.3, -0.95, 2.0
_ROOM = 1.25  # the picture reaches this far beyond the liquidation that is nearest


def gaussian_loss(volatility: float, confidence: float = CONFIDENCE) -> float:
    """Loss (USD, ≥ 0) not exceeded with this probability by a centred Gaussian P&L: 2.326·sd at 99 %.

    Crypto returns have fatter tails than the Gaussian law: it is a yardstick, not a bound.
    """
    return NormalDist().inv_cdf(confidence) * volatility


@dataclass(frozen=True)
class Distance:
    """One venue's cushion, equity minus maintenance margin, against how uncertain it is.

    `sd_usd` is over the decision horizon (prices, basis and currencies together), `sigmas` their quotient,
    infinite without any risk.
    """

    cushion_usd: float
    sd_usd: float
    sigmas: float


def distances(market: Market, decision: Decision) -> list[Distance]:
    """Of each venue (V,), with the margin that the venue really asks for."""
    state = evaluate.venues(market, decision, "true")
    left = state.equity[0] - state.maintenance_margin[0]
    found = []
    for v in range(len(market.accounts)):
        sd = cushion(market, decision, v, market.decision_hours).sd
        usd = float(left[v])
        sigmas = usd / sd if sd > 0 else math.copysign(math.inf, usd)
        found.append(Distance(usd, sd, sigmas))
    return found


@dataclass(frozen=True)
class Curve:
    """Equity and maintenance margin (M, V) of each venue at common moves (M,) of all coins."""

    moves: Vector
    equity: Matrix
    maintenance_margin: Matrix


def equity_curve(market: Market, decision: Decision, near: Sequence[float]) -> Curve:
    """Of equity against price; `near` are liquidation moves, the nearest of which the picture holds.

    Currencies and basis stay, nothing is transferred, tiers are the venue's own.
    """
    widest = max([_NARROWEST, *(_ROOM * abs(move) for move in near)])
    moves = np.linspace(max(-widest, _LOWEST), min(widest, _HIGHEST), _POINTS)
    moves[np.argmin(np.abs(moves))] = 0.0
    x = decision.positions
    cash = evaluate.balances(market, decision, evaluate.trade_costs(market, x - market.positions.usd).total)
    shocks_at = [margin.Shock.common_move(market, float(move)) for move in moves]
    return Curve(
        moves,
        np.array([margin.equity(market, x, cash, shock) for shock in shocks_at]),
        np.array([margin.maintenance(market, x, shock, "true") for shock in shocks_at]),
    )


@dataclass(frozen=True)
class Carry:
    """Expected funding of some positions, > 0 paid by us, and the sd of the error of `horizon_usd`.

    `next_usd` is of the next settlement of each, `horizon_usd` the mean over the holding horizon per decision
    horizon, `holding_usd` all of the holding horizon.
    """

    position_usd: float
    next_usd: float
    horizon_usd: float
    holding_usd: float
    sd_usd: float


def carry(market: Market, positions: Vector, members: Index) -> Carry:
    """Of the instruments `members`; errors that they share add up."""
    held = np.zeros(len(positions))
    held[members] = positions[members]
    funding = market.funding
    return Carry(
        float(held.sum()),
        float(funding.next_rate @ held),
        float(funding.cost @ held),
        float(funding.total @ held),
        float(np.linalg.norm(shocks(funding.errors, funding.uncertainty * held))),
    )


def basis_variance_by_venue(market: Market, positions: Vector) -> Vector:
    """Euler allocation (V,) in USD² of the basis variance; it sums to the variance of that source."""
    quote = currency_exposure(market.cash, positions, market.index_currency_of)
    gradient = variance_gradient(market.risk, evaluate.deltas(market, positions), positions, quote)
    # What bases move with their coins is risk of the coins.
    with_coins = market.risk.beta_of * gradient.delta[market.asset_of]
    return evaluate.by_venue(market, positions * (gradient.positions - with_coins) / 2)
