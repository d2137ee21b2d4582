"""Random markets whose lots are up to a given share of a position, and minimum sizes of a few lots."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
from random_markets import Wish, random_market

from allocator.market.types import Market
from allocator.trading import TradingRules


def free(market: Market, **rules: float | int | None) -> TradingRules:
    """No rules but those given: min_trade_usd, max_orders, max_venues, order_usd, transfer_usd."""
    given = {
        "min_trade_usd": 0.0,
        "max_orders": None,
        "max_venues": None,
        "order_usd": 0.0,
        "transfer_usd": 0.0,
    }
    given |= rules
    n, routes = len(market.instruments), len(market.transfers.routes)
    return TradingRules(
        float(given["min_trade_usd"] or 0.0),
        None if given["max_orders"] is None else int(given["max_orders"]),
        None if given["max_venues"] is None else int(given["max_venues"]),
        np.full(n, float(given["order_usd"] or 0.0)),
        np.full(routes, float(given["transfer_usd"] or 0.0)),
    )


def lotted_market(seed: int, wish: Wish, largest: float = 0.05, most: int | None = None) -> Market:
    """A random market; each lot is a share of the exposure it hedges, log-uniform up to `largest`.

    A contract is worth a dollar here, so a lot's contracts are its dollars. With `most`,
    markets of more instruments are passed over.
    """
    rng = np.random.default_rng(seed)
    while True:
        market = random_market(seed, wish)
        if most is None or len(market.instruments) <= most:
            break
        seed += 7_919_000_003
    share = largest * 10 ** rng.uniform(-4, 0, len(market.instruments))
    return with_lots(market, np.maximum(share * np.abs(market.hedged_exposure), 0.01), rng)


def with_lots(market: Market, lot_usd: np.ndarray, rng: np.random.Generator) -> Market:
    """The market with these lots, minimum sizes of one to three of them."""
    instruments = []
    for instrument, usd in zip(market.instruments, lot_usd, strict=True):
        lot = Decimal(f"{usd:.2g}")
        least = lot * int(rng.integers(1, 4))
        contract = replace(
            instrument.contract, lot_contracts=lot, min_contracts=least, min_notional_usd=Decimal(1)
        )
        instruments.append(replace(instrument, contract=contract))
    # Contracts of a dollar each; what is held need not be a whole number of lots.
    held = replace(market.positions, contracts=market.positions.usd)
    return replace(market, instruments=tuple(instruments), positions=held)
