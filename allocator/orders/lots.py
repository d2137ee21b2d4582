"""Whole lots: positions that can be held, close to the optimum and within every limit.

Each trade is a whole number of lots, or none where it would be smaller than the venue's or the scenario's
minimum. Several plain roundings are tried, from the one that lowers risk at a venue (every position toward
zero) to the nearest; the cheapest permitted one is kept. Where none is permitted, or lots are so coarse that
rounding costs something, single lots are moved while that helps. The result is audited like any other
decision; it may still breach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import numpy as np

from allocator.audit.audit import check_limits, objective_and_scale
from allocator.market.types import Decision, Market
from allocator.orders.branch import Resolve, Search
from allocator.orders.search import improve, polish, rank
from allocator.orders.settle import Lots, Rounded
from allocator.trading import TradingRules, made
from models.contracts import RoundingMode, round_each_to_lot

__all__ = ["Rounded", "rank", "round_to_lots"]

_FEW = 12  # instruments, whose lots are also moved in pairs
_MANY = 60  # instruments, for which a table of single moves takes longer than solving again
_COARSE = 1e-3  # of the objective's scale: rounding that costs less is not worth a search
_LEAST_GAIN = 1e-4  # of the scale: a gain of less is none

Confine = Callable[[Market], Resolve]


def round_to_lots(
    market: Market, decision: Decision, rules: TradingRules, confine: Confine | None = None
) -> Rounded:
    """The cheapest permitted rounding of a decision that was found, or the least breaching one.

    With `confine` the convex program is solved again around coarse lots; without it single lots are moved.
    """
    lots = Lots.of(market, rules)
    tried = lots.settle_each(decision, list(_candidates(lots, decision)))
    best = min(tried, key=lambda rounded: rank(market, rounded))
    near, size = _goal(market, decision)
    if not _good(market, best, near):
        best = _searched(lots, decision, best, (near, size), confine)
    return _without_idle(lots, best) if best.fixed_usd > 0 else best


def _goal(market: Market, decision: Decision) -> tuple[float, float]:
    """An objective in USD that is good enough near this decision's, and the scale of that."""
    # Only breaches of soft limits cost anything.
    soft = any(spec.limit.soft is not None for spec in market.limits)
    values = check_limits(market, decision)[1] if soft else ()
    value, size = objective_and_scale(market, decision, values)
    return value + _COARSE * size, size


def _good(market: Market, rounded: Rounded, near: float) -> bool:
    """Whether rounding keeps every limit and count at an objective of at most `near` USD."""
    return rank(market, rounded) <= (0, 0.0, near)


def _searched(
    lots: Lots, decision: Decision, start: Rounded, goal: tuple[float, float], confine: Confine | None
) -> Rounded:
    """`goal` as `_goal` has it."""
    (near, size), n, best = goal, len(lots.lot), start
    if confine is not None and not start.excess:
        best = refine(lots, start, (_LEAST_GAIN if n <= _FEW else 0.5 * _COARSE) * size, confine)
        if _good(lots.market, best, near) or ((n <= _FEW or n > _MANY) and best.check.passed):
            return best
        decision = best.decision
    best = improve(lots, decision, best, _LEAST_GAIN * size)
    return polish(lots, decision, best, _LEAST_GAIN * size) if n <= _FEW else best


def refine(
    lots: Lots, start: Rounded, least_gain: float, confine: Confine, traded_only: bool = False
) -> Rounded:
    """The best decision found by solving again; `traded_only`: with no order where `start` has none."""
    market = lots.market
    lower, upper = market.lower, market.upper
    if traded_only:
        still = np.array([not trade for trade in start.trades])
        lower, upper = (np.where(still, market.positions.usd, bound) for bound in (lower, upper))
    return Search(lots, confine(lots.paid(start)), start, least_gain).run(lower, upper)


def _without_idle(lots: Lots, start: Rounded) -> Rounded:
    """Leave out, smallest first, every trade and transfer that is not worth its fixed cost."""
    market, best = lots.market, start
    size = np.abs(start.decision.positions - market.positions.usd)
    for i in np.argsort(size, kind="stable"):
        if best.trades[i]:
            trades = [Decimal(0) if k == i else trade for k, trade in enumerate(best.trades)]
            best = min(best, lots.settle(best.decision, trades), key=lambda rounded: rank(market, rounded))
    for r in np.argsort(start.decision.transfers, kind="stable"):
        if made(best.decision.transfers)[r]:
            transfers = best.decision.transfers.copy()
            transfers[r] = 0.0
            trial = lots.settle(Decision(best.decision.positions, transfers), list(best.trades))
            best = min(best, trial, key=lambda rounded: rank(market, rounded))
    return best


def _candidates(lots: Lots, decision: Decision) -> Iterator[list[Decimal]]:
    """Plain roundings: position toward zero, position away from zero, trade toward zero, nearest."""
    wanted = decision.positions / lots.market.prices.usd_per_contract
    positions: tuple[RoundingMode, ...] = ("down", "up")
    trades: tuple[RoundingMode, ...] = ("down", "nearest")
    for mode in positions:
        yield [w - h for w, h in zip(round_each_to_lot(wanted, lots.lot, mode), lots.held, strict=True)]
    change = wanted - np.array([float(held) for held in lots.held])
    for mode in trades:
        yield round_each_to_lot(change, lots.lot, mode)
