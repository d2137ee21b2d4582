"""ccxt unified symbols of contracts: what they say by themselves."""

from __future__ import annotations

import re
from datetime import date

SYMBOL = re.compile(r"(?P<base>[^/:\s]+)/(?P<quote>[^/:\s]+):(?P<settle>[^/:\s-]+)(?:-(?P<expiry>\d{6}))?")
"""`BTC/USDT:USDT` linear, `BTC/USD:BTC` inverse; `BTC/USDT:USDT-261225` expires on 25 December 2026."""


def is_dated(symbol: str) -> bool:
    """Whether a symbol is one of a dated future."""
    match = SYMBOL.fullmatch(symbol)
    return match is not None and match["expiry"] is not None


def expiry_date(symbol: str) -> date | None:
    """The day in the symbol of a dated future; None where it has none, or one that is no date."""
    match = SYMBOL.fullmatch(symbol)
    if match is None or match["expiry"] is None:
        return None
    digits = match["expiry"]
    try:
        return date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return None
