"""A market's optimum, sharpened, and what its multipliers say of it."""

from __future__ import annotations

from dataclasses import replace

from answers import Answer, answer

from allocator.audit import audit
from allocator.explanations.reasons import boxed_prices
from allocator.explanations.resolve import Resolver
from allocator.explanations.stationarity import Stationarity, stationarity
from allocator.market.types import Market
from allocator.result import Prices


def prices_of(found: Answer) -> Prices:
    """The solver's multipliers as explanations take them."""
    return boxed_prices(found.market, found.solution)


def explained(market: Market) -> tuple[Answer, Stationarity]:
    """Solve, sharpen as an explanation does, and split the Lagrangian's slope by cause."""
    found = answer(market)
    sharp = Resolver(market, frozenset()).sharpened(found.solution)
    judged = audit(market, sharp.decision, sharp.multipliers.limits)
    assert judged.duality_gap_usd <= found.audit.duality_gap_usd
    found = replace(found, solution=sharp, audit=judged)
    return found, stationarity(market, sharp.decision, prices_of(found))
