"""Which transfers may be made, and how much may leave each venue without endangering what it holds now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from allocator import evaluate
from allocator.haircuts import marginal_value
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Market, Matrix, Pocket, Route, Transfers
from allocator.scenario.schema import InitialMargin, MaintenanceMargin, Scenario
from models.arrays import Vector


def transfer_routes(
    scenario: Scenario, pockets: tuple[Pocket, ...], withdrawable: Vector, stresses: int
) -> Transfers:
    """Every pair of pockets of one currency whose source venue lets it leave; headroom still unlimited."""
    routes: list[Route] = []
    cost: list[float] = []
    arrives: list[bool] = []
    for s, source in enumerate(pockets):
        withdrawal = scenario.venues[source.venue].withdrawals.get(source.currency)
        if withdrawal is None or withdrawable[s] <= 0:
            continue
        for t, target in enumerate(pockets):
            if t != s and target.currency == source.currency:
                routes.append(Route(s, t))
                cost.append(withdrawal.cost)
                arrives.append(withdrawal.delay <= scenario.horizons.execution)
    headroom = np.full((1 + stresses, len(scenario.venues)), np.inf)
    leaving = np.ones((1 + stresses, len(pockets)))
    return Transfers(
        tuple(routes), np.array(cost, dtype=float), np.array(arrives, dtype=bool), headroom, leaving
    )


def with_headroom(market: Market) -> Market:
    """The market with the margin value that may leave each venue while today's positions stay margined.

    A venue that already breaches a margin limit has no headroom: nothing may leave it. What is still on its
    way to a venue does not margin it yet.
    """
    if not market.transfers.routes:
        return market
    there = market.collateral.balance - market.collateral.arriving
    return replace(market, transfers=_headroom(_with_balance(market, there)))


def _with_balance(market: Market, balance: Vector) -> Market:
    return replace(market, collateral=replace(market.collateral, balance=balance))


def _headroom(market: Market) -> Transfers:
    held = Decision(market.positions.usd, np.zeros(len(market.transfers.routes)))
    state = evaluate.venues(market, held)
    headroom = market.transfers.headroom.copy()
    for spec in market.limits:
        limit = spec.limit
        if isinstance(limit, InitialMargin):
            free = state.equity[0] - state.initial_margin / limit.use
            chosen = evaluate.selected_venues(market, limit.venues)
            headroom[0, chosen] = np.minimum(headroom[0, chosen], free[chosen])
        elif isinstance(limit, MaintenanceMargin):
            chosen = evaluate.selected_venues(market, limit.venues)
            for s in stressed_rows(limit.stresses, market.stresses.names):
                free = state.equity[s] - limit.buffer * state.maintenance_margin[s]
                headroom[1 + s, chosen] = np.minimum(headroom[1 + s, chosen], free[chosen])
    return replace(market.transfers, headroom=np.maximum(headroom, 0.0), leaving=_leaving(market))


def _leaving(market: Market) -> Matrix:
    """Margin value (1 + S, P) of a dollar that leaves a pocket: after haircut while that stays positive.

    Of haircuts in tiers it is that of the lowest tier a withdrawal may reach, which counts most. Where a
    withdrawal could take its stressed worth, P&L of today's positions included, below zero, a dollar counts
    whole: a debt has no haircut.
    """
    stress, held = market.stresses, market.positions.usd
    rows = []
    for s in [0, *range(len(stress.names))]:
        gain = stress.pnl[s] * held - stress.size_loss[s] * np.abs(held)
        settled = np.bincount(market.pocket_of, weights=gain, minlength=len(market.pockets))
        left = (
            stress.pocket_factor[s] * (market.collateral.balance - market.collateral.withdrawable) + settled
        )
        tiers, step = market.collateral.tiers, float(stress.haircut_step[s])
        counted = marginal_value(tiers, left, stress.haircut[s], step)
        rows.append(stress.pocket_factor[s] * counted)
    return np.array(rows)
