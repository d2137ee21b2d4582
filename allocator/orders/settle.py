"""What a list of trades in contracts comes to: minimum sizes, the positions it leads to, and their check."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from allocator.audit.audit import Check, check_limits, objective
from allocator.audit.block import DifferentRows, check_block, evaluable
from allocator.audit.limits import LimitValues
from allocator.evaluate import objective_weights
from allocator.market.types import Decision, Market
from allocator.trading import Choices, Range, TradingRules
from models.arrays import Vector
from models.contracts import round_each_to_lot

_FAR = 3.0  # books: no trade is looked for beyond this where nothing bounds a position


@dataclass(frozen=True)
class Rounded:
    """Trades in contracts per instrument, the decision they lead to, and its check.

    `excess` is the number of orders and venues beyond what the rules allow; `fixed_usd` the fixed costs paid,
    whose share h/H counts in `objective_usd`.
    """

    trades: tuple[Decimal, ...]
    decision: Decision
    check: Check
    values: tuple[LimitValues, ...]
    excess: int
    fixed_usd: float
    objective_usd: float


@dataclass(frozen=True)
class Lots:
    """Per instrument: one lot, the smallest order, and what is held, all in contracts; and the rules."""

    market: Market
    rules: TradingRules
    lot: tuple[Decimal, ...]
    least: tuple[Decimal, ...]
    held: tuple[Decimal, ...]

    @classmethod
    def of(cls, market: Market, rules: TradingRules) -> Lots:
        """The venues' minimum sizes, and the scenario's own minimum in USD."""
        contracts = [i.contract for i in market.instruments]
        lot = tuple(contract.lot_contracts for contract in contracts)
        money = np.array([float(contract.min_notional_usd) for contract in contracts])
        by_money = round_each_to_lot(
            np.maximum(money, rules.min_trade_usd) / market.prices.usd_per_contract, lot, "up"
        )
        by_size = round_each_to_lot([float(contract.min_contracts) for contract in contracts], lot, "up")
        held = round_each_to_lot(market.positions.contracts, lot, "nearest")
        return cls(market, rules, lot, tuple(map(max, by_money, by_size, lot)), tuple(held))

    def settle(self, decision: Decision, trades: Sequence[Decimal]) -> Rounded:
        """Drop what is too small to trade, and check where the rest leads; transfers stay."""
        return self.settle_each(decision, [trades])[0]

    def settle_each(self, decision: Decision, candidates: Sequence[Sequence[Decimal]]) -> list[Rounded]:
        """`settle` several lists of trades of one decision: their checks share what they have in common."""
        kept = [tuple(self._allowed(i, trade) for i, trade in enumerate(trades)) for trades in candidates]
        orders = [self._orders(row) for row in kept]
        settled = [Decision(self._positions(row), decision.transfers) for row in kept]
        paid = [self._paid(row, decision.transfers) for row in orders]
        found = []
        for row, count, after, (check, values, cost) in zip(
            kept, orders, settled, _checked(self.market, paid, settled), strict=True
        ):
            fixed = self.rules.fixed_usd(count, decision.transfers)
            total = cost + charged(self.market, fixed)
            found.append(Rounded(row, after, check, values, self._excess(count), fixed, total))
        return found

    def _positions(self, trades: Sequence[Decimal]) -> Vector:
        """USD (n,) after trades: what is untouched keeps its exact value, what is closed is exactly zero."""
        before = self.market.positions.contracts.tolist()
        contracts = [
            float(held + trade) if trade else exact
            for held, trade, exact in zip(self.held, trades, before, strict=True)
        ]
        return np.array(contracts, dtype=float) * self.market.prices.usd_per_contract

    def fixed_by_pocket(self, rounded: Rounded) -> Vector:
        """Fixed costs in USD (P,) of trades and transfers, by the pocket that pays them."""
        return self.rules.fixed_by_pocket(
            self.market, self._orders(rounded.trades), rounded.decision.transfers
        )

    def orders(self, i: int, trade: Decimal) -> int:
        """Orders that a trade takes: one that turns the position's sign is a close and an open."""
        if trade == 0:
            return 0
        return 2 if self.held[i] * (self.held[i] + trade) < 0 else 1

    def _orders(self, trades: Sequence[Decimal]) -> Vector:
        return np.array([self.orders(i, trade) for i, trade in enumerate(trades)], dtype=float)

    def choices(self) -> Choices:
        """All of it as numbers, for an integer program."""
        per_contract = self.market.prices.usd_per_contract
        held, lot = (np.array([float(c) for c in column]) for column in (self.held, self.lot))
        return Choices(
            tuple(self.ranges(i) for i in range(len(self.lot))),
            lot * per_contract,
            (held - self.market.positions.contracts) * per_contract,
            self.rules,
        )

    def ranges(self, i: int) -> tuple[Range, ...]:
        """Every trade of instrument i that `settle` keeps as it is and its bounds permit, in whole lots."""
        least, held = self._in_lots(i, self.least[i]), self._in_lots(i, self.held[i])
        usd = float(self.market.prices.usd_per_contract[i]) * float(self.lot[i])
        far = _FAR * self.market.book_usd + abs(float(self.market.positions.usd[i]))
        lower = max(float(self.market.lower[i]), -far) / usd
        upper = min(float(self.market.upper[i]), far) / usd
        slack = 1e-7 * max(1.0, abs(lower), abs(upper))
        low, high = int(np.ceil(lower - slack)) - held, int(np.floor(upper + slack)) - held
        wanted = [(least, max(high, least), 1), (min(low, -least), -least, 1)]
        if held:
            toward = -1 if held > 0 else 1
            size = abs(held)
            ends = sorted((toward * min(least, size), toward * size))
            flip = toward * (size + least)
            beyond = (min(low, flip), flip) if toward < 0 else (flip, max(high, flip))
            add = wanted[0] if held > 0 else wanted[1]
            wanted = [add, (ends[0], ends[1], 1), (*beyond, 2)]
        clipped = [Range(max(a, low), min(b, high), orders) for a, b, orders in wanted]
        return tuple(each for each in clipped if each.least <= each.most)

    def _in_lots(self, i: int, amount: Decimal) -> int:
        return int((amount / self.lot[i]).to_integral_value())

    def paid(self, rounded: Rounded) -> Market:
        """The market after the fixed costs of these trades and transfers have left the balances."""
        return self._paid(self._orders(rounded.trades), rounded.decision.transfers)

    def _paid(self, orders: Vector, transfers: Vector) -> Market:
        """The market after fixed costs have left the balances that pay them."""
        paid = self.rules.fixed_by_pocket(self.market, orders, transfers)
        if not paid.any():
            return self.market
        collateral = replace(self.market.collateral, balance=self.market.collateral.balance - paid)
        return replace(self.market, collateral=collateral)

    def _excess(self, orders: Vector) -> int:
        rules, count = self.rules, int(orders.sum())
        venues = len(np.unique(self.market.venue_of[orders > 0]))
        too_many = 0 if rules.max_orders is None else max(count - rules.max_orders, 0)
        too_wide = 0 if rules.max_venues is None else max(venues - rules.max_venues, 0)
        return too_many + too_wide

    def _allowed(self, i: int, trade: Decimal) -> Decimal:
        """The trade itself, none where it is too small, or a close where what it would open is too small."""
        held, least = self.held[i], self.least[i]
        after = held + trade
        if held * after < 0 and abs(after) < least:
            return -held
        # Venues exempt an order that closes a position from their minimum.
        return trade if abs(trade) >= least or after == 0 else Decimal(0)


def charged(market: Market, fixed_usd: float) -> float:
    """What fixed costs count in the objective: one-off cash, hence its share h/H."""
    return objective_weights(market)[1] * market.horizon_share * fixed_usd


def _checked(
    market: Market, paid: Sequence[Market], settled: Sequence[Decision]
) -> list[tuple[Check, tuple[LimitValues, ...], float]]:
    """Check, limits and objective in USD of decisions on the market, each after what it has paid there."""
    if len(settled) > 1 and evaluable(market) and all(after is market for after in paid):
        positions, transfers = (
            np.array([getattr(each, name) for each in settled]) for name in ("positions", "transfers")
        )
        with suppress(DifferentRows):
            block = check_block(paid, positions, transfers)
            costs = block.objective_usd.tolist()
            return [(*block.cell(k), cost) for k, cost in enumerate(costs)]
    found = []
    for after, decision in zip(paid, settled, strict=True):
        check, values = check_limits(after, decision)
        found.append((check, values, objective(market, decision, values)))
    return found
