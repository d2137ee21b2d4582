"""Why these orders and no others, and what else could be done: an optimum's reasons as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allocator.explanations.alternatives import doing_nothing, plain_hedge
from allocator.explanations.marginals import marginals
from allocator.explanations.no_trade import untraded
from allocator.explanations.stationarity import stationarity
from allocator.explanations.venue_off import venues_off
from allocator.market.types import Market
from allocator.result import Json, Prices

if TYPE_CHECKING:
    from allocator.program.solve import Solution


def reasons(market: Market, solution: Solution) -> Json:
    """What pushed each trade, what was not traded, and the alternatives priced: nothing, 1:1, a venue off.

    Each venue switched off is solved again.
    """
    found, decision = solution.multipliers, solution.decision
    at = stationarity(market, decision, Prices(found.limits, found.lower, found.upper))
    return {
        "trades": [row.to_json() for row in marginals(market, decision, at)],
        "untraded": [row.to_json() for row in untraded(market, decision, at)],
        "alternatives": {
            "doing_nothing": doing_nothing(market, decision).to_json(),
            "plain_hedge": plain_hedge(market, decision).to_json(),
            "venues_off": [row.to_json() for row in venues_off(market, decision)],
        },
    }
