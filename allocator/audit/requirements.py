"""What venues ask for as coefficients of the Lagrangian: own schedules, netted groups, portfolios.

A group's margin is a maximum of several pieces. Any weights that add up to one bound it from below by their
mean; the multipliers of the pieces tell which weights make that bound tight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from allocator.audit.weights import Weights
from allocator.margin import Shock, group_name, netted, own_maintenance, portfolio_initial, sides
from allocator.market.scheme import Netting, Portfolio
from allocator.market.types import Decision, Market
from models.arrays import Vector
from models.margin import order_size
from models.schedules import portfolio_margin


def expand_requirements(market: Market, decision: Decision, w: Weights, prices: Mapping[str, Vector]) -> None:
    """Turn weights of what venues require into weights of instruments; the gap takes what that loses."""
    scheme, x = market.scheme, decision.positions
    for s in np.flatnonzero(w.required.any(axis=1)):
        shock = Shock.of(market, int(s))
        own = own_maintenance(scheme, x, shock)
        alone = w.required[s][market.venue_of] * scheme.alone
        _own(market, decision, w, int(s), shock, alone)
        for g, netting in enumerate(scheme.netting):
            y = float(w.required[s, netting.venue])
            weight, lost = _netting(
                market, netting, own, x, (y, prices.get(group_name(str(s), g))), orders=False
            )
            _own(market, decision, w, int(s), shock, weight)
            w.gap += lost
        for g, portfolio in enumerate(scheme.portfolios, start=len(scheme.netting)):
            y = float(w.required[s, portfolio.venue])
            _portfolio(portfolio, shock, x, w, y, prices.get(group_name(str(s), g)))
    _initial(market, decision, w, prices)


def _own(market: Market, decision: Decision, w: Weights, s: int, shock: Shock, weight: Vector) -> None:
    """Weights (n,) on own schedules: brackets as they are, the quadratic part by its tangent."""
    w.maintenance[s] += weight
    w.size += weight * shock.bend * market.scheme.bend * 2 * np.abs(decision.positions)


def _netting(
    market: Market, group: Netting, own: Vector, x: Vector, priced: tuple[float, Vector | None], orders: bool
) -> tuple[Vector, float]:
    """Weight (n,) of each member's margin, and what the bound loses."""
    y, duals = priced
    longs, shorts = sides(market, group, x, "program", orders)
    share = _shares(duals, 2)
    weight = np.zeros(len(x))
    weight[group.members] = y * (share[0] * longs + share[1] * shorts)
    return weight, y * netted(market, group, own, x, "program", orders) - float(weight @ own)


def _portfolio(group: Portfolio, shock: Shock, x: Vector, w: Weights, y: float, duals: Vector | None) -> None:
    pieces = group.rules.affine_pieces()
    net, gross, constant = _shares(duals, len(pieces)) @ pieces
    scaled = shock.notional[group.members]
    held = scaled * x[group.members]
    w.linear[group.members] += y * net * scaled
    w.size[group.members] += y * gross * scaled
    mean = net * held.sum() + gross * np.abs(held).sum() + constant
    w.gap += y * (portfolio_margin(held, group.rules) - float(mean))


def _initial(market: Market, decision: Decision, w: Weights, prices: Mapping[str, Vector]) -> None:
    scheme, x = market.scheme, decision.positions
    held = market.positions
    size = order_size(x, held.open_buys_usd, held.open_sells_usd)
    own = scheme.initial_rate * size + scheme.initial_bend * size**2
    weight = w.initial[market.venue_of] * scheme.alone
    for g, netting in enumerate(scheme.netting):
        y = float(w.initial[netting.venue])
        more, lost = _netting(market, netting, own, x, (y, prices.get(group_name("initial", g))), orders=True)
        weight = weight + more
        w.gap += lost
    w.order_size += weight * (scheme.initial_rate + 2 * scheme.initial_bend * size)
    for g, portfolio in enumerate(scheme.portfolios, start=len(scheme.netting)):
        y = float(w.initial[portfolio.venue])
        if y:
            _portfolio_initial(market, portfolio, x, w, y, prices.get(group_name("initial", g)))


def _portfolio_initial(
    market: Market, group: Portfolio, x: Vector, w: Weights, y: float, duals: Vector | None
) -> None:
    """Pieces with all open buys filled, then with all open sells filled; |x + orders| by its tangent."""
    pieces = group.rules.affine_pieces()
    share = _shares(duals, 2 * len(pieces))
    factor, mean = group.rules.initial_factor, 0.0
    fills = (market.positions.open_buys_usd[group.members], -market.positions.open_sells_usd[group.members])
    for k, filled in enumerate(fills):
        net, gross, constant = share[k * len(pieces) : (k + 1) * len(pieces)] @ pieces
        held = x[group.members] + filled
        plain = filled == 0
        w.linear[group.members] += y * factor * (net + np.where(plain, 0.0, gross * np.sign(held)))
        w.size[group.members] += y * factor * np.where(plain, gross, 0.0)
        mean += factor * float(net * held.sum() + gross * np.abs(held).sum() + constant)
    w.gap += y * (portfolio_initial(market, group, x) - mean)


def _shares(duals: Vector | None, pieces: int) -> Vector:
    """Non-negative weights that add up to one: the multipliers', or equal ones where they say nothing."""
    if duals is None or len(duals) != pieces or not np.maximum(duals, 0.0).sum() > 0:
        return np.full(pieces, 1.0 / pieces)
    positive = np.maximum(duals, 0.0)
    return np.asarray(positive / positive.sum())
