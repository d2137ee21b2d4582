"""Why these orders and no others, and what else could be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from allocator.explanations.alternatives import Alternative, DoingNothing, doing_nothing, plain_hedge
from allocator.explanations.marginals import Marginal, marginals
from allocator.explanations.no_trade import Untraded, untraded
from allocator.explanations.stationarity import stationarity
from allocator.explanations.venue_off import VenueOff, venues_off
from allocator.market.types import Market
from allocator.result import Json, Prices

if TYPE_CHECKING:
    from allocator.explanations.resolve import Resolver
    from allocator.program.solve import Solution


@dataclass(frozen=True)
class Reasons:
    """What pushed each trade, what was not traded, and the alternatives priced: nothing, 1:1, a venue off."""

    trades: tuple[Marginal, ...]
    untraded: tuple[Untraded, ...]
    doing_nothing: DoingNothing
    plain_hedge: Alternative
    venues_off: tuple[VenueOff, ...]

    def to_json(self) -> Json:
        """Plain data."""
        return {
            "trades": [row.to_json() for row in self.trades],
            "untraded": [row.to_json() for row in self.untraded],
            "alternatives": {
                "doing_nothing": self.doing_nothing.to_json(),
                "plain_hedge": self.plain_hedge.to_json(),
                "venues_off": [row.to_json() for row in self.venues_off],
            },
        }


def reasons(market: Market, solution: Solution, resolver: Resolver) -> Reasons:
    """The reasons of an optimum. Each venue switched off is solved again, by a `switching_resolver`."""
    found, decision = solution.multipliers, solution.decision
    at = stationarity(market, decision, Prices(found.limits, found.lower, found.upper))
    return Reasons(
        trades=marginals(market, decision, at),
        untraded=untraded(market, decision, at),
        doing_nothing=doing_nothing(market, decision),
        plain_hedge=plain_hedge(market, decision),
        venues_off=venues_off(market, decision, resolver),
    )
