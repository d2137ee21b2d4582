"""What each venue asks for and what it counts, by plain formulas: the margin of a decision.

Two forms: ``program`` is what the convex program holds (a bound where the venue's own schedule is not
convex), ``true`` is what the venue charges. The true requirement is never above the program's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from allocator.haircuts import counted_value
from allocator.market.scheme import Netting, Portfolio, Scheme
from allocator.market.types import Index, Market, Matrix
from models.arrays import BoolVector, Vector
from models.margin import maintenance_margins, order_size
from models.schedules import long_short_margin, portfolio_margin, whole_position_rates

Form = Literal["program", "true"]


@dataclass(frozen=True)
class Shock:
    """One row of `Stresses`: what a stress does to instruments (n,) and pockets (P,).

    Along a path of M moments each may be (n, M), (P, M); positions and balances are so then too.
    """

    pnl: Vector
    size_loss: Vector
    notional: Vector
    deduction: Vector
    bend: Vector
    pocket_factor: Vector
    haircut: Vector
    haircut_step: float = 0.0

    @classmethod
    def of(cls, market: Market, s: int) -> Shock:
        """Row s of the market's stresses."""
        t = market.stresses
        return cls(
            pnl=t.pnl[s],
            size_loss=t.size_loss[s],
            notional=t.notional[s],
            deduction=t.deduction[s],
            bend=t.bend[s],
            pocket_factor=t.pocket_factor[s],
            haircut=t.haircut[s],
            haircut_step=float(t.haircut_step[s]),
        )

    @classmethod
    def all(cls, market: Market) -> Shock:
        """Every row of the market's stresses as a column, without what tiers of haircuts need."""
        t = market.stresses
        return cls(
            t.pnl.T, t.size_loss.T, t.notional.T, t.deduction.T, t.bend.T, t.pocket_factor.T, t.haircut.T
        )

    @classmethod
    def common_move(cls, market: Market, move: float) -> Shock:
        """All coins move alike; currencies, basis and haircuts stay."""
        inverse = np.array([i.contract.kind == "inverse" for i in market.instruments])
        coin = np.array([p.currency in market.assets for p in market.pockets])
        n = len(inverse)
        notional = np.where(inverse, 1.0, 1.0 + move)
        deduction = np.where(inverse, 1.0 + move, 1.0)
        return cls(
            pnl=np.full(n, move),
            size_loss=np.zeros(n),
            notional=notional,
            # Tiers on the whole position are counted in contracts: their margin scales with the notional.
            deduction=np.where(market.scheme.whole_position, notional, deduction),
            bend=np.where(inverse, 1 / (1.0 + move), notional),
            pocket_factor=np.where(coin, 1.0 + move, 1.0),
            haircut=market.collateral.haircut,
        )


def group_name(kind: str, group: int) -> str:
    """Name under which the multipliers of a group's pieces are given: stress row or `initial`, and group."""
    return f"margin.{kind}.{group}"


def equity(market: Market, positions: Vector, balances: Vector, shock: Shock) -> Vector:
    """Margin equity of each venue, (V,) or (V, M): balances at their stressed price plus P&L, after haircuts.

    Positions (n,) or (n, M), balances (P,) or (P, M).
    """
    gain = _along(shock.pnl, positions) * positions - _along(shock.size_loss, positions) * np.abs(positions)
    settled = _totals(market.pocket_of, gain, len(balances))
    worth = _along(shock.pocket_factor, balances) * balances + settled
    counted = counted_value(market.collateral.tiers, worth, shock.haircut, shock.haircut_step)
    return _totals(market.pocket_venue, counted, len(market.accounts))


def _along(values: Vector, path: Vector) -> Vector:
    """One value per row (n,) beside a path (n, M); what has its own columns stays."""
    return values.reshape(-1, *[1] * (path.ndim - 1)) if values.ndim == 1 else values


def _totals(places: Index, values: Vector, count: int) -> Vector:
    """Sums (count,) or (count, M) of the rows of values (n,) or (n, M) by their places (n,)."""
    if values.ndim == 1:
        return np.bincount(places, weights=values, minlength=count).astype(float)
    totals = np.zeros((count, values.shape[1]))
    np.add.at(totals, places, values)
    return totals


def bracket_maintenance(scheme: Scheme, positions: Vector, shock: Shock) -> Vector:
    """Maintenance margin by brackets of positions (n,) or (n, M) under a shock.

    max_k(r_k·ν|x| − d_k·δ), ν the notional's and δ the deductions' factor, is δ·PWL(ν|x|/δ).
    """
    scale, notional = _along(shock.deduction, positions), _along(shock.notional, positions)
    return np.asarray(scale * maintenance_margins(notional * np.abs(positions) / scale, scheme.schedules))


def own_maintenance(scheme: Scheme, positions: Vector, shock: Shock, form: Form = "program") -> Vector:
    """Maintenance margin, (n,) or (n, M) as positions are, that each position's own schedule asks for.

    The quadratic part grows with the coins held: ν·bend·x² for linear contracts, whose coins stay.
    """
    size = np.abs(positions)
    bend = _along(shock.bend, positions) * _along(scheme.bend, positions)
    margin = bracket_maintenance(scheme, positions, shock) + bend * size**2
    if form == "true" and scheme.whole_position.any():
        stepped = _along(shock.notional, positions) * whole_position_rates(size, scheme.tiers) * size
        margin = np.where(_along(scheme.whole_position.astype(float), positions) > 0, stepped, margin)
    return np.asarray(margin)


def maintenance(market: Market, positions: Vector, shock: Shock, form: Form = "program") -> Vector:
    """Maintenance margin of each venue: instruments alone, netted groups, portfolios.

    Positions (n,) give (V,); a path of positions (n, M) gives (V, M).
    """
    if positions.ndim == 1:
        return np.asarray(maintenance(market, positions[:, np.newaxis], shock, form)[:, 0])
    scheme = market.scheme
    own = own_maintenance(scheme, positions, shock, form)
    total = _totals(market.venue_of, own * _along(scheme.alone, own), len(market.accounts))
    moments = range(positions.shape[1])
    for group in scheme.netting:
        for m in moments:
            total[group.venue, m] += netted(market, group, own[:, m], positions[:, m], form)
    moved = _along(shock.notional, positions) * positions
    for portfolio in scheme.portfolios:
        for m in moments:
            total[portfolio.venue, m] += portfolio_margin(moved[portfolio.members, m], portfolio.rules)
    return total


def netted(
    market: Market, group: Netting, own: Vector, positions: Vector, form: Form, orders: bool = False
) -> float:
    """The larger side of a netted group, of own margins (n,)."""
    longs, shorts = sides(market, group, positions, form, orders)
    margin = own[group.members]
    return long_short_margin(float(margin[longs].sum()), float(margin[shorts].sum()))


def sides(
    market: Market, group: Netting, positions: Vector, form: Form, orders: bool = False
) -> tuple[BoolVector, BoolVector]:
    """Which members (m,) count as long and which as short.

    In the program a position whose side is free counts on both; with `orders`, so does one with open orders,
    which may fill either way.
    """
    side = market.side[group.members] if form == "program" else np.sign(positions[group.members])
    if orders:
        resting = market.positions.open_buys_usd + market.positions.open_sells_usd
        side = np.where(resting[group.members] > 0, 0.0, side)
    return side >= 0, side <= 0


def initial(market: Market, positions: Vector, form: Form) -> Vector:
    """Initial margin of each venue (V,), open orders counted as if all buys or all sells filled."""
    scheme, held = market.scheme, market.positions
    size = order_size(positions, held.open_buys_usd, held.open_sells_usd)
    own = scheme.initial_rate * size + scheme.initial_bend * size**2
    total = np.bincount(market.venue_of, weights=own * scheme.alone, minlength=len(market.accounts)).astype(
        float
    )
    for group in scheme.netting:
        total[group.venue] += netted(market, group, own, positions, form, orders=True)
    for portfolio in scheme.portfolios:
        total[portfolio.venue] += portfolio_initial(market, portfolio, positions)
    return total


def portfolio_initial(market: Market, group: Portfolio, positions: Vector) -> float:
    """Initial margin of a portfolio: the worse of all open buys and all open sells filled."""
    held = positions[group.members]
    filled = (
        held + market.positions.open_buys_usd[group.members],
        held - market.positions.open_sells_usd[group.members],
    )
    return group.rules.initial_factor * max(portfolio_margin(x, group.rules) for x in filled)


def all_stresses(market: Market, positions: Vector, balances: Vector, form: Form) -> tuple[Matrix, Matrix]:
    """Equity and maintenance margin (S, V) now and under every stress."""
    if market.collateral.tiers:
        shocks = [Shock.of(market, s) for s in range(len(market.stresses.names))]
        return (
            np.array([equity(market, positions, balances, shock) for shock in shocks]),
            np.array([maintenance(market, positions, shock, form) for shock in shocks]),
        )
    # Haircuts without tiers let stresses stand side by side, as moments of a path do.
    every, count = Shock.all(market), len(market.stresses.names)
    held, there = (np.repeat(v[:, np.newaxis], count, axis=1) for v in (positions, balances))
    return (
        np.ascontiguousarray(equity(market, held, there, every).T),
        np.ascontiguousarray(maintenance(market, held, every, form).T),
    )
