"""How far any permitted position can reach: the boxes, narrowed by what the hard limits on size imply.

The width of a box multiplies whatever error the multipliers have, so a position without a cap would make the
bound of the audit weak without need.
"""

from __future__ import annotations

import numpy as np

from allocator.evaluate import selected_venues
from allocator.market.types import Market
from allocator.scenario import schema
from models.arrays import Vector

FAR = 1e3  # positions beyond this many books are not considered where no limit bounds them


def reach(market: Market, positions: Vector) -> tuple[Vector, Vector]:
    """Lowest and highest value (n,) of any permitted position; the given ones count as permitted."""
    size = np.maximum(_largest_size(market), np.abs(positions))
    return np.maximum(market.lower, -size), np.minimum(market.upper, size)


def _largest_size(market: Market) -> Vector:
    """|x| (n,) that gross, leverage and initial margin limits allow where nothing else is held."""
    largest = np.full(len(market.instruments), FAR * market.book_usd)
    equity = _most_equity(market)[market.venue_of]
    for spec in market.limits:
        limit = spec.limit
        if limit.soft is not None or not isinstance(
            limit, schema.Gross | schema.LeverageLimit | schema.InitialMargin
        ):
            continue
        if isinstance(limit, schema.Gross):
            allowed = np.full(len(largest), limit.max)
        elif isinstance(limit, schema.LeverageLimit):
            allowed = limit.max * equity
        else:
            # Group margin may be less than the sum of its parts: it implies nothing for one of them.
            rate = market.scheme.initial_rate * market.scheme.alone
            allowed = np.divide(limit.use * equity, rate, out=np.full(len(rate), np.inf), where=rate > 0)
        chosen = np.isin(market.venue_of, selected_venues(market, limit.venues))
        largest = np.where(chosen, np.minimum(largest, allowed), largest)
    return largest


def _most_equity(market: Market) -> Vector:
    """Margin equity (V,) with nothing paid, nothing sent, and everything received that could arrive."""
    balance = np.maximum(market.collateral.balance, 0.0)
    for route, arrives in zip(market.transfers.routes, market.transfers.arrives, strict=True):
        if arrives:
            balance[route.target] += market.collateral.withdrawable[route.source]
    by_venue = np.bincount(market.pocket_venue, weights=balance, minlength=len(market.accounts))
    return np.asarray(by_venue, dtype=np.float64)
