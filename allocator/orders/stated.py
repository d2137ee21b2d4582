"""What the snapshot's optional columns say of each instrument, for the pre-trade checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from allocator.market.observed import known
from allocator.market.types import Market
from allocator.orders.checks import Stated
from models.arrays import Vector


def stated(market: Market, tables: Mapping[str, pd.DataFrame]) -> Stated:
    """Optional columns of instruments and positions, as known at the market's time, in market order."""
    seen = known({name: tables[name] for name in ("instruments", "positions")}, market.as_of)
    listed = _newest(seen["instruments"], ["venue", "symbol"])
    held = _newest(seen["positions"], ["venue", "account", "symbol"])
    symbols = [(i.exchange, i.symbol) for i in market.instruments]
    accounts = [(i.exchange, i.account, i.symbol) for i in market.instruments]
    return Stated(
        open_interest_usd=_numbers(listed["open_interest_usd"], symbols),
        status=tuple(str(listed["status"].get(key, "")) for key in symbols),
        last_target_contracts=_numbers(held["last_target_contracts"], accounts),
        largest_trade_contracts=_numbers(held["largest_trade_20d_contracts"], accounts),
    )


def _newest(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The newest row of each key, indexed by it."""
    return table.drop_duplicates(keys, keep="last").set_index(keys)


def _numbers(column: pd.Series, keys: Sequence[tuple[str, ...]]) -> Vector:
    values = column.to_dict()
    return pd.Series([values.get(key, float("nan")) for key in keys], dtype=float).to_numpy()
