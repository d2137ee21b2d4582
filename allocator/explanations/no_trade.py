"""Why a trade was not made: the no-trade band, and the move that would trigger it.

A position stays where it is while neither one more dollar nor one dollar less gains what the trade costs
there. The funding that would tip it is exact: it moves the slope of this position alone, so until then the
same decision stays optimal (in the modes ``utility`` and ``min_cost``; under a cost budget it is exact for a
position of zero, else a first-order figure). A move of a coin tips every position at once; its trigger is
given where nothing at all is traded, for then all slopes shift by the covariance alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from allocator.audit.bound import variance_slope
from allocator.evaluate import objective_weights
from allocator.explanations.slopes import DUST
from allocator.explanations.stationarity import Stationarity
from allocator.market.boxes import box_owner
from allocator.market.types import Decision, Market
from allocator.result import Json, number, usd
from models.arrays import Vector


@dataclass(frozen=True)
class Way:
    """One direction of a trade that was not made. Rates are USD per USD per decision horizon.

    `gain` is what the first dollar would gain before the trade's own cost, `cost` that cost (as the objective
    charges it, wherever margin equity pays it), `lacks` what is missing for it to pay. `funding_bp` is the
    change of the funding rate per settlement interval that would make up for it, in basis points, < 0 where
    it must fall; None, with `blocked_by`, where a limit forbids the direction whatever it gains.
    """

    gain: float
    cost: float
    lacks: float
    funding_bp: float | None
    blocked_by: str | None

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "gain_usd_per_usd": number(self.gain),
            "cost_usd_per_usd": number(self.cost),
            "lacks_usd_per_usd": number(self.lacks),
            "trigger_funding_bp_per_interval": None if self.funding_bp is None else number(self.funding_bp),
            "blocked_by": self.blocked_by,
        }


@dataclass(frozen=True)
class Untraded:
    """An instrument whose position stays, and why neither direction pays."""

    venue: str
    account: str
    symbol: str
    position_usd: float
    interval_hours: float
    buy: Way
    sell: Way

    @property
    def round_trip(self) -> float:
        """Cost of a dollar bought and sold again: the width of the band, USD per USD."""
        return self.buy.cost + self.sell.cost

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "venue": self.venue,
            "account": self.account,
            "symbol": self.symbol,
            "position_usd": usd(self.position_usd),
            "interval_hours": number(self.interval_hours),
            "round_trip_usd_per_usd": number(self.round_trip),
            "buy": self.buy.to_json(),
            "sell": self.sell.to_json(),
        }


@dataclass(frozen=True)
class Trigger:
    """How far one coin may move before the first trade pays, and of which instrument.

    `exposure_usd` is the change of its exposure, `price_move` that of its price (positions and exposure move
    along); None where no move in that direction triggers one.
    """

    asset: str
    direction: str
    exposure_usd: float | None
    exposure_trades: str | None
    price_move: float | None
    price_trades: str | None

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "asset": self.asset,
            "direction": self.direction,
            "exposure_usd": None if self.exposure_usd is None else usd(self.exposure_usd),
            "exposure_trades": self.exposure_trades,
            "price_move": None if self.price_move is None else number(self.price_move),
            "price_trades": self.price_trades,
        }


def untraded(market: Market, decision: Decision, found: Stationarity) -> tuple[Untraded, ...]:
    """The band of every instrument that is not traded, nearest to a trade first."""
    still = np.abs(decision.positions - market.positions.usd) <= DUST * market.book_usd
    bands = [_band(market, decision, found, int(i)) for i in np.flatnonzero(still)]
    return tuple(sorted(bands, key=lambda band: min(band.buy.lacks, band.sell.lacks)))


def _band(market: Market, decision: Decision, found: Stationarity, i: int) -> Untraded:
    instrument, hours = market.instruments[i], float(market.funding.interval_hours[i])
    buying, selling = float(found.right[i]), -float(found.left[i])
    # φ is the mean over the holding horizon times h: one rate per interval counts h / interval times.
    per_rate = found.other_weight * market.decision_hours / hours

    def way(net: float, cost: float, blocked: str | None, sign: float) -> Way:
        lacks = max(net, 0.0)
        bp = None if blocked or per_rate <= 0 else sign * lacks / per_rate * 1e4
        return Way(cost - net, cost, lacks, bp, blocked)

    return Untraded(
        venue=instrument.exchange,
        account=instrument.account,
        symbol=instrument.symbol,
        position_usd=float(decision.positions[i]),
        interval_hours=hours,
        buy=way(buying, float(found.trade_high[i]), _blocked(market, decision, i, "upper"), -1.0),
        sell=way(selling, -float(found.trade_low[i]), _blocked(market, decision, i, "lower"), 1.0),
    )


def _blocked(market: Market, decision: Decision, i: int, side: str) -> str | None:
    """Name of the box that ends at the position, if one does."""
    near = DUST * market.book_usd
    if side == "upper":
        return box_owner(market, i, "upper").name if market.upper[i] <= decision.positions[i] + near else None
    return box_owner(market, i, "lower").name if market.lower[i] >= decision.positions[i] - near else None


def triggers(market: Market, decision: Decision, found: Stationarity) -> tuple[Trigger, ...]:
    """For each coin with a perp, the moves up and down that trigger the first trade; none where some trade.

    Limits' own room is not counted: a limit on net delta may force a trade earlier.
    """
    if np.any(np.abs(decision.positions - market.positions.usd) > DUST * market.book_usd):
        return ()
    x = decision.positions
    risk, _ = objective_weights(market)
    weight = risk * market.objective.risk_aversion_per_usd / 2
    now = variance_slope(market, x)
    rows: list[Trigger] = []
    for a in sorted(set(market.asset_of.tolist())):
        unit = np.where(np.arange(len(market.assets)) == a, 1.0, 0.0)
        more = replace(market, exposure=market.exposure + unit)
        shift = weight * (variance_slope(more, x) - now)
        moved = replace(market, exposure=market.exposure * (1 + unit))
        grown = weight * (variance_slope(moved, x * (1 + unit[market.asset_of])) - now)
        for direction, sign in (("up", 1.0), ("down", -1.0)):
            usd_move, first = _first(market, decision, found, sign * shift)
            price, priced = _first(market, decision, found, sign * grown)
            if sign < 0 and price is not None and price > 1:
                price, priced = None, None  # a price cannot fall by more than all of it
            rows.append(
                Trigger(
                    market.assets[a],
                    direction,
                    None if usd_move is None else sign * usd_move,
                    first,
                    None if price is None else sign * price,
                    priced,
                )
            )
    return tuple(rows)


def _first(
    market: Market, decision: Decision, found: Stationarity, shift: Vector
) -> tuple[float | None, str | None]:
    """The least multiple of `shift` (n,) of the slopes that makes some trade pay, and of which instrument."""
    best: tuple[float | None, str | None] = (None, None)
    for i in np.flatnonzero(np.abs(shift) > 0):
        side = "upper" if shift[i] < 0 else "lower"
        if _blocked(market, decision, int(i), side) is not None:
            continue
        room = float(found.right[i]) if shift[i] < 0 else -float(found.left[i])
        move = max(room, 0.0) / abs(float(shift[i]))
        if best[0] is None or move < best[0]:
            best = (move, market.instruments[i].key)
    return best
