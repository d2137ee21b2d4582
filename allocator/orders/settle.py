"""What a list of trades in contracts comes to: minimum sizes, the positions it leads to, and their check."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from allocator.audit.audit import Check, check_limits
from allocator.audit.limits import LimitValues
from allocator.market.types import Decision, Market
from models.contracts import round_to_lot


@dataclass(frozen=True)
class Rounded:
    """Trades in contracts per instrument, the decision they lead to, and its check."""

    trades: tuple[Decimal, ...]
    decision: Decision
    check: Check
    values: tuple[LimitValues, ...]


@dataclass(frozen=True)
class Lots:
    """Per instrument: one lot, the smallest order, and what is held, all in contracts."""

    market: Market
    lot: tuple[Decimal, ...]
    least: tuple[Decimal, ...]
    held: tuple[Decimal, ...]

    @classmethod
    def of(cls, market: Market, min_trade_usd: float) -> Lots:
        """The venues' minimum sizes, and the scenario's own minimum in USD."""
        least = []
        for instrument, usd in zip(market.instruments, market.prices.usd_per_contract, strict=True):
            contract = instrument.contract
            money = max(min_trade_usd, float(contract.min_notional_usd))
            by_money = round_to_lot(money / float(usd), contract.lot_contracts, "up")
            by_size = round_to_lot(float(contract.min_contracts), contract.lot_contracts, "up")
            least.append(max(by_money, by_size, contract.lot_contracts))
        lot = tuple(i.contract.lot_contracts for i in market.instruments)
        held = tuple(
            round_to_lot(float(contracts), each, "nearest")
            for contracts, each in zip(market.positions.contracts, lot, strict=True)
        )
        return cls(market, lot, tuple(least), held)

    def settle(self, decision: Decision, trades: list[Decimal]) -> Rounded:
        """Drop what is too small to trade, and check where the rest leads; transfers stay."""
        kept = tuple(self._allowed(i, trade) for i, trade in enumerate(trades))
        # An untouched position keeps its exact value; a closed one is exactly zero.
        contracts = np.array(
            [
                float(held + trade) if trade else float(exact)
                for held, trade, exact in zip(self.held, kept, self.market.positions.contracts, strict=True)
            ]
        )
        settled = Decision(contracts * self.market.prices.usd_per_contract, decision.transfers)
        check, values = check_limits(self.market, settled)
        return Rounded(kept, settled, check, values)

    def _allowed(self, i: int, trade: Decimal) -> Decimal:
        """The trade itself, none where it is too small, or a close where what it would open is too small."""
        held, least = self.held[i], self.least[i]
        after = held + trade
        if held * after < 0 and abs(after) < least:
            return -held
        # Venues exempt an order that closes a position from their minimum.
        return trade if abs(trade) >= least or after == 0 else Decimal(0)
