"""A market's optimum and what its multipliers say of it."""

from __future__ import annotations

from answers import Answer, answer

from allocator.explanations.stationarity import Stationarity, stationarity
from allocator.market.types import Market
from allocator.result import Prices


def prices_of(found: Answer) -> Prices:
    """The solver's multipliers as explanations take them."""
    y = found.solution.multipliers
    return Prices(y.limits, y.lower, y.upper)


def explained(market: Market) -> tuple[Answer, Stationarity]:
    """Solve, and split the Lagrangian's slope by cause."""
    found = answer(market)
    return found, stationarity(market, found.solution.decision, prices_of(found))
