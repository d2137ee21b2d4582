"""What each venue is worth: the optimum without any position there, solved again.

One compiled program serves all: only the bounds of positions change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from allocator import evaluate
from allocator.audit.audit import check_limits, objective
from allocator.errors import SolverFailed
from allocator.explanations.resolve import Resolver
from allocator.market.types import Box, Decision, Market
from allocator.result import Json, usd

BOX = "venue switched off"
_WIDE = 1e3  # books: a bound that no position reaches


@dataclass(frozen=True)
class VenueOff:
    """One venue without positions. `costs_usd_per_day` is the objective beyond the optimum's.

    It is None where no decision is permitted without the venue (`status` infeasible) or the solver failed.
    What is held there is closed at its usual cost, also beyond flags, caps and the depth one is willing to
    take; collateral there stays and may be sent away.
    """

    venue: str
    status: str
    costs_usd_per_day: float | None
    decision: Decision | None
    cash_usd: float | None

    def to_json(self) -> Json:
        """Plain data, without the positions."""
        return {
            "venue": self.venue,
            "status": self.status,
            "costs_usd_per_day": None if self.costs_usd_per_day is None else usd(self.costs_usd_per_day),
            "cash_usd": None if self.cash_usd is None else usd(self.cash_usd),
        }


def switching_resolver(market: Market, vary: frozenset[str] = frozenset()) -> Resolver:
    """What `venues_off` solves with; numbers of the names in `vary` may change too, for other questions."""
    return Resolver(_bounded(market, -1), vary | {"box"})


def venues_off(
    market: Market, decision: Decision, resolver: Resolver, names: Sequence[str] | None = None
) -> tuple[VenueOff, ...]:
    """Switch off each venue (of `names`, by default all with instruments) and solve; dearest first.

    `resolver` is the market's `switching_resolver`.
    """
    _, values = check_limits(market, decision)
    best = objective(market, decision, values)
    used = set(market.venue_of.tolist())
    found = [
        _off(resolver, market, v, best)
        for v, account in enumerate(market.accounts)
        if v in used and (names is None or account.name in names)
    ]
    dear = [np.inf if off.costs_usd_per_day is None else off.costs_usd_per_day for off in found]
    return tuple(found[k] for k in np.argsort(-np.array(dear), kind="stable"))


def _off(resolver: Resolver, market: Market, venue: int, best: float) -> VenueOff:
    name = market.accounts[venue].name
    without = _bounded(market, venue)
    try:
        solution = resolver(without, confirmed=True)
    except SolverFailed:
        return VenueOff(name, "failed", None, None, None)
    if solution is None:
        return VenueOff(name, "infeasible", None, None, None)
    decision = solution.decision
    exact = replace(decision, positions=np.where(market.venue_of == venue, 0.0, decision.positions))
    _, values = check_limits(without, exact)
    more = objective(without, exact, values) - best
    costs = evaluate.trade_costs(market, exact.positions - market.positions.usd).total
    cash = float(costs.sum()) + float(market.transfers.cost @ exact.transfers)
    return VenueOff(name, "optimal", 24.0 / market.decision_hours * more, exact, cash)


def _bounded(market: Market, venue: int) -> Market:
    """Every position bounded on both sides, those of one venue (−1: none) to zero; all else as it is."""
    off = market.venue_of == venue
    far = _WIDE * market.book_usd
    boxes = tuple(
        replace(b, lower=np.where(off, -np.inf, b.lower), upper=np.where(off, np.inf, b.upper))
        for b in market.boxes
    )
    edge = np.where(off, 0.0, far)
    return replace(market, boxes=(*boxes, Box(BOX, "venue_off", "", -edge, edge)))
