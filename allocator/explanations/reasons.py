"""Why these orders and no others, and what else could be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    decision, sharp = solution.decision, resolver.sharpened(solution)
    at = stationarity(market, sharp.decision, boxed_prices(market, sharp))
    return Reasons(
        trades=marginals(market, sharp.decision, at),
        untraded=untraded(market, sharp.decision, at),
        doing_nothing=doing_nothing(market, decision),
        plain_hedge=plain_hedge(market, decision),
        venues_off=venues_off(market, decision, resolver),
    )


def boxed_prices(market: Market, solution: Solution) -> Prices:
    """Multipliers of an optimum; none of bounds that the market does not have."""
    found = solution.multipliers
    return Prices(
        found.limits,
        np.where(np.isfinite(market.lower), found.lower, 0.0),
        np.where(np.isfinite(market.upper), found.upper, 0.0),
    )
