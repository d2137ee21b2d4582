"""The order list for others: ccxt `create_order` calls as JSON lines, and csv that a spreadsheet may open."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from allocator.errors import Problem, ScenarioError
from allocator.orders.client_ids import venue_client_id
from models.contracts import plain

Row = Mapping[str, str]
_DECIMAL = re.compile(r"[-+]?\d+(\.\d+)?")
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

# ccxt's own names (https://docs.ccxt.com, 4.5) of exchanges whose name in the tables is another.
_CCXT_IDS = {"binance_coinm": "binancecoinm", "kraken": "krakenfutures"}
# Deribit counts amounts in USD (inverse) or coins (linear), not contracts: docs.deribit.com, private/buy.
_AMOUNT_IS_CONTRACTS_TIMES_SIZE = {"deribit"}
_NEEDS_PRICE_FOR_MARKET = {"hyperliquid", "dydx"}
_WORDS_IN_LOWER_CASE = {"kraken"}
_NO_FOK = {"kraken", "hyperliquid"}


def is_decimal(cell: str) -> bool:
    """Whether a cell is a plain decimal number."""
    return _DECIMAL.fullmatch(cell) is not None


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: text that would start one gets a leading apostrophe.

    Source: OWASP, CSV Injection. Numbers stay as they are.
    """
    return f"'{cell}" if cell.startswith(_STARTS_A_FORMULA) and not is_decimal(cell) else cell


def inert_rows(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Rows for csv that people open."""
    return [{key: inert(cell) for key, cell in row.items()} for row in rows]


def ccxt_lines(orders: Sequence[Row]) -> str:
    """One JSON object per order: which exchange and account, and the arguments of its `create_order`.

    Amounts and prices are decimal strings in the unit that ccxt takes there (contracts, but for Deribit).
    Raises `ScenarioError` for orders that ccxt cannot place as they are.
    """
    problems: list[Problem] = []
    calls = [_call(order, problems) for order in orders]
    seen: dict[tuple[str, str, str], str] = {}
    for order, call in zip(orders, calls, strict=True):
        key = (order["venue"], order["account"], call["params"]["clientOrderId"])
        if key in seen:
            message = (
                f"orders {seen[key]} and {order['seq']} have one client id in the form {order['venue']} takes"
            )
            problems.append(Problem(f"order {order['seq']}", message))
        seen[key] = order["seq"]
    if problems:
        raise ScenarioError(problems)
    return "".join(json.dumps(call, ensure_ascii=False) + "\n" for call in calls)


def _call(order: Row, problems: list[Problem]) -> dict[str, Any]:
    venue, amount = order["venue"], Decimal(order["contracts"])
    if venue in _AMOUNT_IS_CONTRACTS_TIMES_SIZE:
        amount *= Decimal(order["contract_size"])
    if order["type"] == "market" and venue in _NEEDS_PRICE_FOR_MARKET:
        message = f"{venue} takes market orders from ccxt only with a price: write orders.type: limit"
        problems.append(Problem(f"order {order['seq']}", message))
    if order["time_in_force"] == "fok" and venue in _NO_FOK and order["type"] == "limit":
        message = f"{venue} has no fill-or-kill orders: write orders.time_in_force: ioc or gtc"
        problems.append(Problem(f"order {order['seq']}", message))
    return {
        "exchange": _CCXT_IDS.get(venue, venue),
        "account": order["account"],
        "symbol": order["symbol"],
        "type": order["type"],
        "side": order["side"],
        "amount": plain(amount),
        "price": order["limit_price"] or None,
        "params": _params(order),
    }


def _params(order: Row) -> dict[str, Any]:
    """ccxt's unified parameters; a market order has no time in force, a post-only one no other."""
    venue = order["venue"]
    params: dict[str, Any] = {
        "clientOrderId": venue_client_id(venue, order["client_order_id"]),
        "reduceOnly": order["reduce_only"] == "true",
    }
    if order["type"] == "market":
        return params
    if order["post_only"] == "true":
        return {**params, "postOnly": True}
    force = order["time_in_force"]
    return {**params, "timeInForce": force if venue in _WORDS_IN_LOWER_CASE else force.upper()}
