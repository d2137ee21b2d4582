"""Best prices where an order rests without crossing: the book's, else half the usual spread off the mark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator.market.types import Market
from models.arrays import Vector


@dataclass(frozen=True)
class Quotes:
    """Best bid and ask per instrument (n,), in quote currency."""

    bid: Vector
    ask: Vector


def best_prices(market: Market, books: pd.DataFrame | None) -> Quotes:
    """Best prices from each instrument's newest book known at the market's time, where there is one."""
    mark, reach = market.prices.mark, market.costs.half_spread
    bid, ask = mark * (1 - reach), mark * (1 + reach)
    if books is None:
        return Quotes(bid, ask)
    top = books[(books["level"] == 1) & (books["time"] <= market.as_of)].sort_values("time", kind="stable")
    newest = top.drop_duplicates(["venue", "symbol", "side"], keep="last")
    price = newest.set_index(["venue", "symbol", "side"])["price"].to_dict()
    keys = [(i.exchange, i.symbol) for i in market.instruments]
    return Quotes(
        np.array([price.get((*key, "bid"), usual) for key, usual in zip(keys, bid, strict=True)]),
        np.array([price.get((*key, "ask"), usual) for key, usual in zip(keys, ask, strict=True)]),
    )
