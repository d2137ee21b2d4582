"""Orders on their way out, with all that pre-trade checks judge them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.market.history import Key
from allocator.market.types import Market
from allocator.orders.order_list import Order
from allocator.orders.outcome import Measured
from allocator.orders.settle import Rounded
from allocator.scenario.order_checks import Checks
from models.arrays import BoolVector, Vector
from models.margin import Brackets

Found = list[Measured] | str


@dataclass(frozen=True)
class Stated:
    """What the tables may say per instrument (n,) besides the market; NaN or an empty text where not."""

    open_interest_usd: Vector
    status: tuple[str, ...]
    last_target_contracts: Vector
    largest_trade_contracts: Vector

    @classmethod
    def nothing(cls, n: int) -> Stated:
        """Nothing stated of n instruments."""
        return cls(np.full(n, np.nan), ("",) * n, np.full(n, np.nan), np.full(n, np.nan))


@dataclass(frozen=True)
class Proposal:
    """Orders on their way out, and all that they are judged by.

    `leverage` (n,) is the setting chosen in the scenario, NaN where the venue leaves no choice; `tiers` are
    the venues' own, by exchange and symbol.
    """

    market: Market
    rounded: Rounded
    orders: Sequence[Order]
    rules: Checks
    stated: Stated
    leverage: Vector
    tiers: Mapping[Key, Brackets]

    @property
    def trades(self) -> Vector:
        """USD bought (n,), negative where sold."""
        return self.rounded.decision.positions - self.market.positions.usd

    @property
    def traded(self) -> BoolVector:
        """Which instruments have an order (n,)."""
        return np.array([trade != 0 for trade in self.rounded.trades], dtype=bool)

    @property
    def grows(self) -> BoolVector:
        """Which traded instruments end further from zero than they are (n,)."""
        after, before = self.rounded.decision.positions, self.market.positions.usd
        return np.asarray(self.traded & ((np.abs(after) > np.abs(before)) | (after * before < 0)))

    def instrument(self, order: Order) -> int:
        """The row of an order's instrument."""
        return self._rows[order.venue, order.account, order.symbol]

    @property
    def _rows(self) -> Mapping[tuple[str, str, str], int]:
        return {(i.exchange, i.account, i.symbol): k for k, i in enumerate(self.market.instruments)}

    def subjects(self, which: BoolVector) -> Iterator[tuple[int, str]]:
        """Row and name of the instruments marked."""
        return ((int(k), self.market.instruments[k].key) for k in np.flatnonzero(which))
