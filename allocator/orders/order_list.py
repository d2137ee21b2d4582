"""The order list: one row per order, every number a decimal string, ids that repeat with the run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from allocator import evaluate
from allocator.market.types import Market
from allocator.orders.legs import Leg
from allocator.orders.quotes import Quotes
from allocator.orders.sequence import Sequence
from allocator.orders.settle import Rounded
from allocator.scenario.orders import Orders
from models.contracts import OrderSide, coins_from_contracts, plain, round_to_tick

_CENT = Decimal("0.01")
_COIN = Decimal("0.00000001")


@dataclass(frozen=True)
class Order:
    """One order as it leaves the house. Costs and funding > 0 are paid by us."""

    run_id: str
    seq: int
    venue: str
    account: str
    symbol: str
    venue_symbol: str
    side: OrderSide
    type: str
    contracts: str
    coins: str
    contract_size: str
    limit_price: str | None
    limit_price_time: str | None
    time_in_force: str
    post_only: bool
    reduce_only: bool
    client_order_id: str
    notional_usd: str
    expected_fee_usd: str
    expected_slippage_usd: str
    funding_to_next_settlement_usd: str
    position_before_contracts: str
    position_target_contracts: str
    reason: str
    batch: int
    waits_for_transfers: bool


COLUMNS = tuple(field.name for field in fields(Order))


@dataclass(frozen=True)
class Place:
    """Where an order stands: its number, its batch from 1, and whether transfers must have arrived."""

    seq: int
    batch: int
    waits_for_transfers: bool


def order_list(
    market: Market, rounded: Rounded, sequence: Sequence, style: Orders, quotes: Quotes, run_id: str
) -> list[Order]:
    """All orders of a run, batch after batch of their sequence."""
    costs = evaluate.trade_costs(market, rounded.decision.positions - market.positions.usd)
    orders = []
    for seq, (batch, leg) in enumerate(sequence.in_order(), start=1):
        share = float(abs(leg.size) / abs(rounded.trades[leg.instrument]))
        slippage = costs.slippage[leg.instrument] + costs.impact[leg.instrument]
        money = (share * float(costs.fees[leg.instrument]), share * float(slippage))
        limit = limit_price(market, leg.instrument, leg.side, style, quotes)
        place = Place(seq, batch, batch in sequence.waiting)
        orders.append(_order(market, leg, style, limit, (run_id, place), money))
    return orders


def _order(
    market: Market,
    leg: Leg,
    style: Orders,
    limit: Decimal | None,
    number: tuple[str, Place],
    money: tuple[float, float],
) -> Order:
    """One order; `number` is its run and place, `money` its fee and slippage."""
    i, (run_id, place) = leg.instrument, number
    instrument, size = market.instruments[i], abs(leg.size)
    usd = float(leg.size) * float(market.prices.usd_per_contract[i])
    return Order(
        run_id=run_id,
        seq=place.seq,
        venue=instrument.exchange,
        account=instrument.account,
        symbol=instrument.symbol,
        venue_symbol=instrument.venue_symbol,
        side=leg.side,
        type=style.type,
        contracts=plain(size),
        coins=plain(_coins(market, i, size)),
        contract_size=plain(instrument.contract.contract_size),
        limit_price=plain(limit) if limit is not None else None,
        limit_price_time=timestamp(market.prices.times[i]) if limit is not None else None,
        time_in_force=style.time_in_force if limit is not None else "ioc",
        post_only=style.post_only,
        reduce_only=leg.reduces,
        client_order_id=client_order_id(run_id, place.seq, instrument.key, leg.side),
        notional_usd=cents(abs(usd)),
        expected_fee_usd=cents(money[0]),
        expected_slippage_usd=cents(money[1]),
        funding_to_next_settlement_usd=cents(float(market.funding.next_rate[i]) * usd),
        position_before_contracts=plain(leg.before),
        position_target_contracts=plain(leg.after),
        reason=leg.reason,
        batch=place.batch,
        waits_for_transfers=place.waits_for_transfers,
    )


def _coins(market: Market, i: int, size: Decimal) -> Decimal:
    """Coins of an order: exact for linear contracts, at the mark to eight decimals for inverse ones."""
    contract = market.instruments[i].contract
    if contract.kind == "linear":
        return size * contract.contract_size * contract.coins_per_unit
    coins = coins_from_contracts(contract, float(size), float(market.prices.mark[i]))
    return Decimal(repr(float(coins))).quantize(_COIN)


def limit_price(market: Market, i: int, side: OrderSide, style: Orders, quotes: Quotes) -> Decimal | None:
    """Limit of an order: the mark plus the collar; post-only, no nearer than the near side of the book.

    None for a market order.

    Both round away from the far side: a collar is a promise, and a post-only order must not cross.
    """
    if style.type == "market":
        return None
    sign = 1.0 if side == "buy" else -1.0
    price = float(market.prices.mark[i]) * (1 + sign * style.collar)
    if style.post_only:
        near = float((quotes.bid if side == "buy" else quotes.ask)[i])
        price = min(price, near) if side == "buy" else max(price, near)
    tick = market.instruments[i].contract.tick
    return round_to_tick(price, tick, "sell" if side == "buy" else "buy")


def client_order_id(run_id: str, seq: int, key: str, side: str) -> str:
    """An id of 26 characters [a-z0-9] that the same run always gives the same order."""
    digest = hashlib.sha256(f"{run_id}|{seq}|{key}|{side}".encode()).digest()
    number = int.from_bytes(digest[:16], "big")
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while len(text) < 25:
        number, digit = divmod(number, 36)
        text += letters[digit]
    return f"h{text}"


def cents(usd: float) -> str:
    """USD to the cent, as a decimal string."""
    value = Decimal(repr(float(usd))).quantize(_CENT)
    return format(value if value else abs(value), "f")


def timestamp(time: datetime) -> str:
    """ISO-8601 in UTC with Z, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
