"""Whole lots: positions that can be held, close to the optimum and within every limit.

Each trade is a whole number of lots, or none where it would be smaller than the venue's or the scenario's
minimum. Several plain roundings are tried, from the one that lowers risk at a venue (every position toward
zero) to the nearest; the cheapest permitted one is kept. Where none is permitted, single lots are moved
while that lowers the total breach. The result is audited like any other decision; it may still breach.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from allocator.audit.audit import Check, check_limits, objective
from allocator.audit.limits import LimitValues
from allocator.market.types import Decision, Market
from models.contracts import RoundingMode, round_to_lot

_MOVES = 200  # repairs are bounded; each moves one instrument by one lot


@dataclass(frozen=True)
class Rounded:
    """Trades in contracts per instrument, the decision they lead to, and its check."""

    trades: tuple[Decimal, ...]
    decision: Decision
    check: Check
    values: tuple[LimitValues, ...]


def round_to_lots(market: Market, decision: Decision, min_trade_usd: float) -> Rounded:
    """The cheapest permitted rounding of a decision, or the least breaching one found."""
    lots = _Lots.of(market, min_trade_usd)
    tried = [lots.settle(decision, trades) for trades in _candidates(lots, decision)]
    permitted = [rounded for rounded in tried if rounded.check.passed]
    if permitted:
        return min(permitted, key=lambda rounded: objective(market, rounded.decision, rounded.values))
    return _repair(lots, decision, min(tried, key=lambda rounded: _breach(market, rounded)))


@dataclass(frozen=True)
class _Lots:
    """What one lot is, and the smallest trade, per instrument."""

    market: Market
    lot: tuple[Decimal, ...]
    least: tuple[Decimal, ...]

    @classmethod
    def of(cls, market: Market, min_trade_usd: float) -> _Lots:
        least = []
        for instrument, usd in zip(market.instruments, market.prices.usd_per_contract, strict=True):
            contract = instrument.contract
            money = max(min_trade_usd, float(contract.min_notional_usd))
            by_money = round_to_lot(money / float(usd), contract.lot_contracts, "up")
            by_size = round_to_lot(float(contract.min_contracts), contract.lot_contracts, "up")
            least.append(max(by_money, by_size, contract.lot_contracts))
        return cls(market, tuple(i.contract.lot_contracts for i in market.instruments), tuple(least))

    def settle(self, decision: Decision, trades: list[Decimal]) -> Rounded:
        """Drop trades below the minimum, except closing ones, and check where the rest leads."""
        held = self.market.positions.contracts
        kept = [
            trade if abs(trade) >= least or trade == _exact(-held[i], self.lot[i]) else Decimal(0)
            for i, (trade, least) in enumerate(zip(trades, self.least, strict=True))
        ]
        contracts = held + np.array([float(trade) for trade in kept])
        # An untouched position keeps its exact value; a closed one is exactly zero.
        settled = Decision(contracts * self.market.prices.usd_per_contract, decision.transfers)
        check, values = check_limits(self.market, settled)
        return Rounded(tuple(kept), settled, check, values)


def _exact(contracts: float, lot: Decimal) -> Decimal:
    return round_to_lot(float(contracts), lot, "nearest")


def _candidates(lots: _Lots, decision: Decision) -> Iterator[list[Decimal]]:
    """Plain roundings: position toward zero, trade toward zero, nearest, position away from zero."""
    market = lots.market
    held = market.positions.contracts
    wanted = decision.positions / market.prices.usd_per_contract
    positions: tuple[RoundingMode, ...] = ("down", "up")
    trades: tuple[RoundingMode, ...] = ("down", "nearest")
    for mode in positions:
        yield [
            round_to_lot(float(w), lot, mode) - _exact(h, lot)
            for w, h, lot in zip(wanted, held, lots.lot, strict=True)
        ]
    for mode in trades:
        yield [
            round_to_lot(float(w - h), lot, mode) for w, h, lot in zip(wanted, held, lots.lot, strict=True)
        ]


def _breach(market: Market, rounded: Rounded) -> float:
    """Total dollars by which hard limits and boxes are breached beyond tolerance."""
    x, tolerance = rounded.decision.positions, rounded.check.tolerance_usd
    rows = sum(
        float(np.maximum(-v.slack_usd - tolerance, 0.0).sum()) for v in rounded.values if v.price is None
    )
    over = np.maximum(market.lower - x, x - market.upper) - tolerance
    return rows + float(np.maximum(over, 0.0).sum())


def _repair(lots: _Lots, decision: Decision, start: Rounded) -> Rounded:
    """Move single lots while that lowers the total breach: steepest first, at most `_MOVES` times."""
    market, best = lots.market, start
    breach = _breach(market, best)
    for _ in range(_MOVES):
        if best.check.passed:
            break
        moves = [lots.settle(decision, trades) for trades in _neighbours(lots, best)]
        scored = [(_breach(market, m), k) for k, m in enumerate(moves)]
        lowest, k = min(scored, default=(breach, -1))
        if lowest >= breach:
            break
        best, breach = moves[k], lowest
    return best


def _neighbours(lots: _Lots, rounded: Rounded) -> Iterator[list[Decimal]]:
    """Every trade list that differs by one lot in one instrument, or takes up or drops a smallest trade."""
    for i, lot in enumerate(lots.lot):
        trade = rounded.trades[i]
        for step in (lot, -lot):
            moved = trade + step
            if abs(moved) < lots.least[i]:
                moved = lots.least[i] * (1 if step > 0 else -1) if trade == 0 else Decimal(0)
            yield [*rounded.trades[:i], moved, *rounded.trades[i + 1 :]]
