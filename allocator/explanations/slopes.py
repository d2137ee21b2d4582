"""Slopes of what bends: the subdifferential, at a position, of each function of it that has kinks.

A solver ends near a kink, not on it. A piece therefore counts as touching where its height at the position
falls short by less than `Nearness` allows (the ε-subdifferential). The slope of impact, c·|u|^{3/2}, is that
of any trade within what a solver knows of it: a cent more or less of a small one, in a book of ten millions,
moves it by a ten-thousandth of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator.audit.weights import Weights
from allocator.margin import Shock
from allocator.market.types import Market, Matrix
from models.arrays import Vector

DUST = 1e-6  # of the book: a smaller trade is none
_REACH = 1e-8  # of the book: how well a solver knows a trade
_TINY = 1e-7  # of the book: a kink this near is touched whatever it weighs


@dataclass(frozen=True)
class Nearness:
    """A piece touches where it lies `usd` below at most, or bends off within `distance` USD of position."""

    usd: float
    distance: float

    @classmethod
    def of(cls, market: Market, scale_usd: float) -> Nearness:
        """For an optimum whose terms add up to `scale_usd`."""
        return cls(1e-7 * scale_usd, _TINY * market.book_usd)


@dataclass(frozen=True)
class Slopes:
    """Least or greatest slope of each function of a position: (n,), and of maintenance margin (S, n).

    `cost` is linear cost and book walk, `impact` the 3/2 power of the trade. `norm` is the slope of the
    funding uncertainty where no position makes any, in units of each position's own.
    """

    cost: Vector
    impact: Vector
    size: Vector
    order_size: Vector
    turnover: Vector
    maintenance: Matrix
    norm: Vector

    def towards(self, other: Slopes, share: Vector) -> Slopes:
        """Between these (`share` 0) and the others (1), for each instrument."""

        def mix(one: Vector, two: Vector) -> Vector:
            return np.asarray(one + share * (two - one))

        return Slopes(
            cost=mix(self.cost, other.cost),
            impact=mix(self.impact, other.impact),
            size=mix(self.size, other.size),
            order_size=mix(self.order_size, other.order_size),
            turnover=mix(self.turnover, other.turnover),
            maintenance=mix(self.maintenance, other.maintenance),
            norm=mix(self.norm, other.norm),
        )


def slopes(market: Market, x: Vector, w: Weights, paid: Vector, near: Nearness) -> tuple[Slopes, Slopes]:
    """Least and greatest slopes at positions x (n,), where `w` and `paid` (n,) weigh each function.

    `paid` is the weight of cash cost, margin equity included.
    """
    held, trade = market.positions, x - market.positions.usd
    pieces = trade[:, None] * market.costs.slopes + market.costs.intercepts
    cost = _touching(market.costs.slopes, pieces, paid, near)
    # A size whose weight is negative (a cushion that margin relief would feed) has no slopes to choose from.
    size = _sign(x, np.maximum(w.size, 0.0) + w.maintenance.sum(axis=0), near)
    size = (
        np.where(market.side == 0, size[0], market.side),
        np.where(market.side == 0, size[1], market.side),
    )
    ordered = held.open_buys_usd + held.open_sells_usd > 0
    filled = _sign(2 * x + held.open_buys_usd - held.open_sells_usd, w.order_size, near)
    turned = _sign(trade, w.turnover, near)
    impact = _impact(market, trade)
    idle = not np.any(np.abs(x) > near.distance)
    maintenance = [
        _maintenance(market, x, size, int(s), w.maintenance[s], near) for s in range(len(w.required))
    ]

    def end(k: int) -> Slopes:
        at_zero = np.where(w.size < 0, (size[0] + size[1]) / 2, size[k])
        return Slopes(
            cost=cost[k],
            impact=impact[k],
            size=at_zero,
            order_size=np.where(ordered, filled[k], size[k]),
            turnover=turned[k],
            maintenance=np.array([m[k] for m in maintenance]),
            norm=np.full(len(x), (2.0 * k - 1.0) if idle else 0.0),
        )

    return end(0), end(1)


def _impact(market: Market, trade: Vector) -> tuple[Vector, Vector]:
    """Least and greatest slope (n,) of impact at trades within reach of each; at zero as it is."""
    reach = np.where(np.abs(trade) > DUST * market.book_usd, _REACH * market.book_usd, 0.0)

    def slope(u: Vector) -> Vector:
        return np.asarray(1.5 * market.costs.impact * np.sqrt(np.abs(u)) * np.sign(u))

    return slope(trade - reach), slope(trade + reach)


def _touching(slope: Matrix, height: Matrix, weight: Vector, near: Nearness) -> tuple[Vector, Vector]:
    """Least and greatest slope (n,) of the pieces (n, K) that touch their maximum."""
    top = np.argmax(height, axis=1)[:, None]
    below = np.take_along_axis(height, top, axis=1) - np.maximum(height, -1e300)
    bend = np.abs(slope - np.take_along_axis(slope, top, axis=1))
    touches = (below * np.maximum(weight, 0.0)[:, None] <= near.usd) | (below <= near.distance * bend)
    low = np.min(np.where(touches, slope, np.inf), axis=1)
    return low, np.max(np.where(touches, slope, -np.inf), axis=1)


def _sign(value: Vector, weight: Vector, near: Nearness) -> tuple[Vector, Vector]:
    """Slopes of |value|: its sign, or from −1 to 1 where it is zero."""
    size = np.abs(value)
    zero = (2 * size * np.maximum(weight, 0.0) <= near.usd) & (size <= 1e3 * near.distance)
    zero |= size <= near.distance
    return np.where(zero, -1.0, np.sign(value)), np.where(zero, 1.0, np.sign(value))


def _maintenance(
    market: Market, x: Vector, size: tuple[Vector, Vector], s: int, weight: Vector, near: Nearness
) -> tuple[Vector, Vector]:
    """Slopes of each position's own brackets under a stress."""
    shock, schedules = Shock.of(market, s), market.scheme.schedules
    notional, scale = shock.notional[:, None], shock.deduction[:, None]
    height = schedules.rates * notional * np.abs(x)[:, None] - schedules.deductions_usd * scale
    height = np.where(np.isfinite(schedules.floors_usd), height, -np.inf)
    low, high = _touching(schedules.rates * notional, height, weight, near)
    # Rates are positive: the slope in the position is theirs times the slope of its size.
    return np.minimum(low * size[0], high * size[0]), np.maximum(low * size[1], high * size[1])
