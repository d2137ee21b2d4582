"""The forms that venues want client order ids in, all of them made from the one in the order list."""

from __future__ import annotations

from collections.abc import Iterable

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def venue_client_id(exchange: str, client_order_id: str) -> str:
    """The id as the exchange takes it: as it is, but for two.

    Hyperliquid takes 128 bits in hex (`cloid`: Hyperliquid docs, Exchange endpoint, 2026-11); dYdX a whole
    number of 32 bits (`client_id`: dYdX v4 protocol, OrderId, 2026-03). Both are digits of the same number.
    """
    if exchange == "hyperliquid":
        return f"0x{_number(client_order_id):032x}"
    if exchange == "dydx":
        return str(_number(client_order_id) % 2**32)
    return client_order_id


def _number(client_order_id: str) -> int:
    """The 128 bits behind an id: after its first letter, digits of base 36 from the lowest."""
    value = 0
    for letter in reversed(client_order_id[1:]):
        value = 36 * value + _DIGITS.index(letter)
    return value


def spellings(orders: Iterable[tuple[str, str]]) -> dict[str, str]:
    """From every form of an id to the id of the order list; `orders` are exchange and id."""
    found: dict[str, str] = {}
    for exchange, own in orders:
        found[own] = found[venue_client_id(exchange, own)] = own
    return found
