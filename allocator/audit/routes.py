"""The transfers' part of the lower bound: what each route is worth, and the least that it can cost."""

from __future__ import annotations

import numpy as np

from allocator.market.types import Decision, Market
from models.arrays import Vector

NEAR = 1e-6  # of the book: a balance this close to 0 is at the kink of its charge


def moved(market: Market, per_balance: Vector, arrived_only: bool) -> Vector:
    """What a dollar along each route (R,) changes, at `per_balance` (P,) dollars per dollar there."""
    transfers = market.transfers
    source = np.array([route.source for route in transfers.routes], dtype=np.int64)
    target = np.array([route.target for route in transfers.routes], dtype=np.int64)
    counts = transfers.arrives if arrived_only else np.ones(len(source), dtype=bool)
    return np.asarray(per_balance[target] * counts - per_balance[source] * (1 + transfers.cost))


def route_gap(market: Market, decision: Decision, route: Vector, charge: Vector, kept: Vector) -> float:
    """Σ over routes of value − least value, at `route` (R,) dollars per dollar sent.

    `charge` (P,) is paid on what is kept, if positive: a balance at 0 may be priced at any share θ in [0, 1]
    of it, which costs charge·(max(kept, 0) − θ·kept). The share that makes the gap least is taken.
    """
    transfers = market.transfers
    if not transfers.routes:
        return 0.0
    source = np.array([r.source for r in transfers.routes])
    most = market.collateral.withdrawable[source] / (1 + transfers.cost)
    share = (kept > 0).astype(float)

    def gap(theta: Vector) -> float:
        worth = route + moved(market, theta * charge, arrived_only=False)
        bent = charge @ (np.maximum(kept, 0.0) - theta * kept)
        return float(bent + (worth * decision.transfers - np.minimum(worth * most, 0.0)).sum())

    best = gap(share)
    for p in np.flatnonzero((np.abs(kept) <= NEAR * market.book_usd) & (charge > 0)):
        unit = np.zeros(len(kept))
        unit[p] = charge[p]
        slope = moved(market, unit, arrived_only=False)
        at_zero = route + moved(
            market, np.where(np.arange(len(kept)) == p, 0.0, share) * charge, arrived_only=False
        )
        # The gap is convex and piecewise linear in θ: least where some route is worth nothing, or at an end.
        roots = -at_zero[slope != 0] / slope[slope != 0]
        for candidate in (0.0, 1.0, *roots[(roots > 0) & (roots < 1)]):
            trial = share.copy()
            trial[p] = candidate
            if (found := gap(trial)) < best:
                best, share = found, trial
    return best
