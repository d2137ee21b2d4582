"""What a decision is worth: every term and every margin figure, by the plain formulas of `models`.

Audit, orders and results compute with these; nothing here knows the program or a solver. Amounts are USD.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from allocator import margin
from allocator.margin import Form
from allocator.market.types import Decision, Index, Market, Matrix
from models.arrays import Vector
from models.covariance import variance_by_source
from models.error_factors import shocks
from models.hedge import currency_exposure, net_delta
from models.margin import liquidation_move


@dataclass(frozen=True)
class TradeCosts:
    """Cash cost of each trade (n,): fee, spread and walk of the book (slippage), 3/2 impact."""

    fees: Vector
    slippage: Vector
    impact: Vector

    @property
    def total(self) -> Vector:
        """All of it (n,)."""
        return self.fees + self.slippage + self.impact


@dataclass(frozen=True)
class VenueState:
    """Margin figures: equity (S, V), maintenance margin (S, V), initial margin (V,), balances (P,)."""

    equity: Matrix
    maintenance_margin: Matrix
    initial_margin: Vector
    balances: Vector


def shortfall_name(limit: str, stress: str) -> str:
    """Name under which the multipliers (V,) of what each venue lacks are given, for a limit on their sum."""
    return f"{limit}.lacking.{stress}"


def selected_venues(market: Market, names: Literal["all"] | list[str]) -> Index:
    """Rows of the venues that a limit names."""
    return np.array(
        [k for k, a in enumerate(market.accounts) if names == "all" or a.name in names], dtype=np.int64
    )


def selected_assets(market: Market, names: Literal["all"] | list[str]) -> Index:
    """Rows of the assets that a limit names."""
    return np.array([k for k, a in enumerate(market.assets) if names == "all" or a in names], dtype=np.int64)


def by_venue(market: Market, values: Vector) -> Vector:
    """Sum of an instrument quantity over each venue (V,)."""
    return np.bincount(market.venue_of, weights=values, minlength=len(market.accounts)).astype(float)


def charged_cost(market: Market, trade: Vector) -> Vector:
    """Linear and book cost (n,) of the trades as optimised: rebates beyond the spread floored at 0."""
    pieces = trade[:, None] * market.costs.slopes + market.costs.intercepts
    return np.asarray(np.max(pieces, axis=1, initial=0.0))


def trade_costs(market: Market, trade: Vector) -> TradeCosts:
    """Cash cost of trades (n,); their sum is what the objective charges (h/H of) and equity pays.

    Where a rebate beyond the spread was floored at 0, fees are stated so that the sum keeps the floor.
    """
    size = np.abs(trade)
    walk = charged_cost(market, trade) - market.costs.unit * size
    floored = market.costs.unit - market.costs.spread
    return TradeCosts(
        fees=floored * size,
        slippage=market.costs.spread * size + walk,
        impact=market.costs.impact * size**1.5,
    )


def balances(market: Market, decision: Decision, costs: Vector, in_transit: bool = False) -> Vector:
    """Pocket balances (P,) after transfers and trade costs; `in_transit` counts what is still on its way."""
    result = market.collateral.balance.copy()
    sent = decision.transfers
    for r, route in enumerate(market.transfers.routes):
        result[route.source] -= sent[r] * (1 + market.transfers.cost[r])
        if in_transit or market.transfers.arrives[r]:
            result[route.target] += sent[r]
    return result - np.bincount(market.pocket_of, weights=costs, minlength=len(result))


def venues(market: Market, decision: Decision, form: Form = "program") -> VenueState:
    """Equity, maintenance and initial margin of each venue, now (row 0) and under each stress."""
    x = decision.positions
    cash = balances(market, decision, trade_costs(market, x - market.positions.usd).total)
    equity, maintenance = margin.all_stresses(market, x, cash, form)
    return VenueState(equity, maintenance, margin.initial(market, x, form), cash)


def outage_worth(market: Market, positions: Vector, balances: Vector, s: int) -> Vector:
    """What is at stake at each venue (V,) under stress s: collateral and P&L at market, no haircut, in USD.

    A winner's P&L is taken as if only half of what is auto-deleveraged were gone, which is never too little.
    """
    stress = market.stresses
    there = np.bincount(
        market.pocket_venue, weights=stress.pocket_factor[s] * balances, minlength=len(market.accounts)
    )
    return there.astype(float) + by_venue(market, stress.pnl[s] * positions)


def deltas(market: Market, positions: Vector) -> Vector:
    """Net delta per asset (A,)."""
    return net_delta(market.exposure, positions, market.asset_of)


def variances(market: Market, positions: Vector) -> dict[str, float]:
    """Variance over the decision horizon by source: asset, basis, quote, idiosyncratic."""
    quote = currency_exposure(market.cash, positions, market.index_currency_of)
    return variance_by_source(market.risk, deltas(market, positions), positions, quote)


def funding_uncertainty(market: Market, positions: Vector) -> float:
    """κ times the sd of the error of the funding cost of all positions together."""
    amounts = market.objective.funding_uncertainty_aversion * market.funding.uncertainty * positions
    return float(np.linalg.norm(shocks(market.funding.errors, amounts)))


def objective_terms(market: Market, decision: Decision) -> dict[str, float]:
    """Every term of the objective in USD per decision horizon, before the weights of its mode."""
    x = decision.positions
    costs = trade_costs(market, x - market.positions.usd)
    share = market.horizon_share
    kept = balances(market, decision, np.zeros(len(x)), in_transit=True)
    return {
        "risk": market.objective.risk_aversion_per_usd / 2 * sum(variances(market, x).values()),
        "funding": float(market.funding.cost @ np.where(market.dated, 0.0, x)),
        "carry": float(market.funding.cost @ np.where(market.dated, x, 0.0)),
        "funding_uncertainty": funding_uncertainty(market, x),
        "trading": share * float((costs.fees + costs.slippage).sum()),
        "impact": share * float(costs.impact.sum()),
        "transfer": share * float(market.transfers.cost @ decision.transfers),
        "collateral": float(market.collateral.charge[market.pocket_venue] @ np.maximum(kept, 0.0)),
    }


def objective_weights(market: Market) -> tuple[float, float]:
    """Weights of risk and of all other terms: 1 and 1, or the tie-break's share for the minor one."""
    return mode_weights(market.objective.mode, market.objective.tie_break)


def mode_weights(mode: str, tie_break: float) -> tuple[float, float]:
    """Weights of risk and of all other terms in a mode of the objective."""
    return {"utility": (1.0, 1.0), "min_variance": (1.0, tie_break), "min_cost": (tie_break, 1.0)}[mode]


def liquidation_moves(market: Market, decision: Decision) -> list[tuple[float | None, float | None]]:
    """Per venue, the nearest common move of all coins, down and up, at which equity meets maintenance margin.

    None where no move within −99.9999 % and +2,000 % does. Currencies and basis stay; nothing is transferred.
    """
    x = decision.positions
    cash = balances(market, decision, trade_costs(market, x - market.positions.usd).total)

    @cache
    def at(move: float) -> tuple[Vector, Vector]:
        shock = margin.Shock.common_move(market, move)
        return margin.equity(market, x, cash, shock), margin.maintenance(market, x, shock, "true")

    return [
        liquidation_move(lambda r, v=v: float(at(r)[0][v]), lambda r, v=v: float(at(r)[1][v]))  # type: ignore[misc]
        if np.any(x[market.venue_of == v] != 0)
        else (None, None)
        for v in range(len(market.accounts))
    ]
