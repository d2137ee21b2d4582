"""What trades may be, beyond what a convex program can hold: how many, where, and what each costs.

Shapes: n instruments, R transfer routes. Amounts are USD; a cost > 0 is paid by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.market.types import Market
from allocator.scenario.orders import Orders
from models.arrays import BoolVector, Vector

_CENT = 0.01  # a transfer of less is none


@dataclass(frozen=True)
class Range:
    """Trades of `least` to `most` lots (signed, least ≤ most) that take `orders` orders."""

    least: int
    most: int
    orders: int


@dataclass(frozen=True)
class TradingRules:
    """`order_usd` (n,) is the fixed cost of one order, `transfer_usd` (R,) of one transfer."""

    min_trade_usd: float
    max_orders: int | None
    max_venues: int | None
    order_usd: Vector
    transfer_usd: Vector

    @classmethod
    def of(cls, market: Market, orders: Orders) -> TradingRules:
        """The scenario's rules on this market's instruments and routes."""
        per_order = _by_venue(market, orders.cost_per_order)
        per_transfer = _by_venue(market, orders.cost_per_transfer)
        source = np.array([route.source for route in market.transfers.routes], dtype=np.int64)
        return cls(
            min_trade_usd=orders.min_trade,
            max_orders=orders.max_orders,
            max_venues=orders.max_venues,
            order_usd=per_order[market.venue_of],
            transfer_usd=per_transfer[market.pocket_venue[source]],
        )

    @property
    def counts(self) -> bool:
        """Whether the number of orders or venues is limited."""
        return self.max_orders is not None or self.max_venues is not None

    def fixed_usd(self, orders: Vector, transfers: Vector) -> float:
        """Cash paid for `orders` (n,) orders and for every one of `transfers` (R,) that is made."""
        return float(self.order_usd @ orders + self.transfer_usd @ made(transfers))

    def fixed_by_pocket(self, market: Market, orders: Vector, transfers: Vector) -> Vector:
        """The same cash (P,) by the pocket that pays it: the order's settlement, the transfer's source."""
        source = np.array([route.source for route in market.transfers.routes], dtype=np.int64)
        paid = np.bincount(
            np.concatenate([market.pocket_of, source]),
            weights=np.concatenate([self.order_usd * orders, self.transfer_usd * made(transfers)]),
            minlength=len(market.pockets),
        )
        return np.asarray(paid, dtype=float)


def made(transfers: Vector) -> BoolVector:
    """Which transfers (R,) are made at all."""
    return np.asarray(transfers >= _CENT)


def _by_venue(market: Market, stated: Mapping[str, float]) -> Vector:
    """USD (V,) by account name, `all` elsewhere, else nothing."""
    rest = stated.get("all", 0.0)
    return np.array([stated.get(account.name, rest) for account in market.accounts], dtype=float)


@dataclass(frozen=True)
class Choices:
    """Every whole-lot trade of a market: `ranges` per instrument, `lot_usd` (n,) per lot.

    `offset_usd` (n,) is what any trade adds besides its lots, where what is held is no whole number of them.
    """

    ranges: tuple[tuple[Range, ...], ...]
    lot_usd: Vector
    offset_usd: Vector
    rules: TradingRules
