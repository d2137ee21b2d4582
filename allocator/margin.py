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
from allocator.market.types import Market, Matrix
from models.arrays import BoolVector, Vector
from models.margin import maintenance_margins, order_size
from models.schedules import long_short_margin, portfolio_margin, whole_position_rates

Form = Literal["program", "true"]


@dataclass(frozen=True)
class Shock:
    """One row of `Stresses`: what a stress does to instruments (n,) and pockets (P,)."""

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
    """Margin equity of each venue (V,): balances at their stressed price plus P&L, after haircuts."""
    gain = shock.pnl * positions - shock.size_loss * np.abs(positions)
    settled = np.bincount(market.pocket_of, weights=gain, minlength=len(balances))
    worth = shock.pocket_factor * balances + settled
    counted = counted_value(market.collateral.tiers, worth, shock.haircut, shock.haircut_step)
    return np.bincount(market.pocket_venue, weights=counted, minlength=len(market.accounts)).astype(float)


def bracket_maintenance(scheme: Scheme, positions: Vector, shock: Shock) -> Vector:
    """Maintenance margin by brackets of positions (n,) or (n, M) under a shock.

    max_k(r_k·ν|x| − d_k·δ), ν the notional's and δ the deductions' factor, is δ·PWL(ν|x|/δ).
    """
    shape = (-1, *[1] * (positions.ndim - 1))
    scale, notional = shock.deduction.reshape(shape), shock.notional.reshape(shape)
    return np.asarray(scale * maintenance_margins(notional * np.abs(positions) / scale, scheme.schedules))


def own_maintenance(scheme: Scheme, positions: Vector, shock: Shock, form: Form = "program") -> Vector:
    """Maintenance margin (n,) that each position's own schedule asks for.

    The quadratic part grows with the coins held: ν·bend·x² for linear contracts, whose coins stay.
    """
    size = np.abs(positions)
    margin = bracket_maintenance(scheme, positions, shock) + shock.bend * scheme.bend * size**2
    if form == "true" and scheme.whole_position.any():
        stepped = shock.notional * whole_position_rates(size, scheme.tiers) * size
        margin = np.where(scheme.whole_position, stepped, margin)
    return np.asarray(margin)


def maintenance(market: Market, positions: Vector, shock: Shock, form: Form = "program") -> Vector:
    """Maintenance margin of each venue (V,): instruments alone, netted groups, portfolios."""
    scheme = market.scheme
    own = own_maintenance(scheme, positions, shock, form)
    total = np.bincount(market.venue_of, weights=own * scheme.alone, minlength=len(market.accounts)).astype(
        float
    )
    for group in scheme.netting:
        total[group.venue] += netted(market, group, own, positions, form)
    for portfolio in scheme.portfolios:
        held = (shock.notional * positions)[portfolio.members]
        total[portfolio.venue] += portfolio_margin(held, portfolio.rules)
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
    shocks = [Shock.of(market, s) for s in range(len(market.stresses.names))]
    return (
        np.array([equity(market, positions, balances, shock) for shock in shocks]),
        np.array([maintenance(market, positions, shock, form) for shock in shocks]),
    )
