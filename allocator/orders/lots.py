"""Whole lots: positions that can be held, close to the optimum and within every limit.

Each trade is a whole number of lots, or none where it would be smaller than the venue's or the scenario's
minimum. Several plain roundings are tried, from the one that lowers risk at a venue (every position toward
zero) to the nearest; the cheapest permitted one is kept. Where none is permitted, or lots are so coarse that
rounding costs something, single lots are moved while that helps. The result is audited like any other
decision; it may still breach.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from allocator.audit.audit import check_limits, objective, scale
from allocator.market.types import Decision, Market
from allocator.orders.search import improve, worth
from allocator.orders.settle import Lots, Rounded
from models.contracts import RoundingMode, round_to_lot

__all__ = ["Rounded", "round_to_lots"]

_COARSE = 1e-3  # of the objective's scale: rounding that costs less is not worth a search


def round_to_lots(market: Market, decision: Decision, min_trade_usd: float) -> Rounded:
    """The cheapest permitted rounding of a decision that was found, or the least breaching one."""
    lots = Lots.of(market, min_trade_usd)
    tried = [lots.settle(decision, trades) for trades in _candidates(lots, decision)]
    best = min(tried, key=lambda rounded: worth(market, rounded))
    _, values = check_limits(market, decision)
    size = scale(market, decision, values)
    gap = worth(market, best)[1] - objective(market, decision, values)
    if best.check.passed and gap <= _COARSE * size:
        return best
    return improve(lots, decision, best, least_gain=0.1 * _COARSE * size)


def _candidates(lots: Lots, decision: Decision) -> Iterator[list[Decimal]]:
    """Plain roundings: position toward zero, position away from zero, trade toward zero, nearest."""
    market = lots.market
    wanted = decision.positions / market.prices.usd_per_contract
    positions: tuple[RoundingMode, ...] = ("down", "up")
    trades: tuple[RoundingMode, ...] = ("down", "nearest")
    for mode in positions:
        yield [
            round_to_lot(float(w), lot, mode) - h
            for w, h, lot in zip(wanted, lots.held, lots.lot, strict=True)
        ]
    for mode in trades:
        yield [
            round_to_lot(float(w) - float(h), lot, mode)
            for w, h, lot in zip(wanted, lots.held, lots.lot, strict=True)
        ]
