"""From trades to legs: each is one order, from one position to another, exact in contracts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from allocator.market.types import Market
from allocator.orders.settle import Rounded
from models.contracts import OrderSide, round_to_lot


@dataclass(frozen=True)
class Leg:
    """Part of a trade that is one order: from one position to another, both in contracts."""

    instrument: int
    before: Decimal
    after: Decimal
    reason: str

    @property
    def size(self) -> Decimal:
        """Contracts, > 0 to buy."""
        return self.after - self.before

    @property
    def side(self) -> OrderSide:
        """Which way it trades."""
        return "buy" if self.size > 0 else "sell"

    @property
    def reduces(self) -> bool:
        """Whether the position gets smaller."""
        return abs(self.after) < abs(self.before)


def legs_of(market: Market, rounded: Rounded) -> list[Leg]:
    """Every order as desks send them: what reduces first, less liquid instruments before others."""
    legs = [leg for i in range(len(market.instruments)) for leg in _legs(market, rounded, i)]
    adv = market.costs.adv_usd
    legs.sort(key=lambda leg: (not leg.reduces, adv[leg.instrument], market.instruments[leg.instrument].key))
    return legs


def _legs(market: Market, rounded: Rounded, i: int) -> Iterator[Leg]:
    """The orders of one instrument; a flip is a reduce-only close and an open."""
    trade = rounded.trades[i]
    if trade == 0:
        return
    instrument = market.instruments[i]
    before = round_to_lot(float(market.positions.contracts[i]), instrument.contract.lot_contracts, "nearest")
    after = before + trade
    if before * after < 0:
        yield Leg(i, before, Decimal(0), f"close: the {_word(before)} before it turns {_word(after)}")
        yield Leg(i, Decimal(0), after, f"open: {_word(after)} {instrument.asset} against its exposure")
    elif abs(after) > abs(before):
        yield Leg(i, before, after, f"add: more {_word(after)} {instrument.asset} against its exposure")
    else:
        closing = "close" if after == 0 else "reduce"
        yield Leg(i, before, after, f"{closing}: the {_word(before)} in {instrument.asset}")


def _word(contracts: Decimal) -> str:
    return "long" if contracts > 0 else "short"
