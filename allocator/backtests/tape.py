"""A recorded market as a tape: marks, reference prices and settled funding on the clock of its own rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allocator.errors import DataError, Problem
from allocator.market.observed import INDEX
from allocator.market.types import Matrix
from allocator.snapshot.read import SnapshotData

Key = tuple[str, str]  # exchange, symbol


@dataclass(frozen=True)
class Tape:
    """What happened, by the time at which it was known.

    `marks` (T, n) in quote currency, columns as `keys` (exchange, symbol); `reference` (T, m) in USD, columns
    as `names` of coins and currencies. Both carry their last value forward, NaN before the first: a gap has
    no news, it is not a price of 0. `fresh` (T, n) is where a mark was recorded. `settled` holds the funding
    that was paid: settlement_time, venue, symbol, rate.
    """

    snapshot: SnapshotData
    times: pd.DatetimeIndex
    keys: Mapping[Key, int]
    marks: Matrix
    fresh: NDArray[np.bool_]
    names: Mapping[str, int]
    reference: Matrix
    settled: pd.DataFrame

    @classmethod
    def of(cls, snapshot: SnapshotData) -> Tape:
        """The tape of a snapshot's `prices` and `funding`. Raises `DataError` with fewer than two bars."""
        snapshot = sorted_by_time(snapshot)
        prices = snapshot.tables["prices"]
        index = prices["venue"] == INDEX
        marks = prices[~index].pivot_table(index="time", columns=["venue", "symbol"], values="price")
        names = prices[index].assign(name=prices["symbol"].str.removesuffix("/USD"))
        reference = names.pivot_table(index="time", columns="name", values="price")
        times = pd.DatetimeIndex(marks.index.union(reference.index))
        if len(times) < 2:
            raise DataError([Problem("prices", "a backtest needs the prices of at least two times")])
        marks = marks.reindex(times)
        funding = snapshot.tables["funding"]
        paid = funding[funding["settlement_time"] <= funding["time"]]
        columns = ["settlement_time", "venue", "symbol", "rate"]
        settled = paid[columns].sort_values(columns[:3]).reset_index(drop=True)
        return cls(
            snapshot,
            times,
            {(str(key[0]), str(key[1])): k for k, key in enumerate(marks.columns.to_list())},
            marks.ffill().to_numpy(dtype=float),
            marks.notna().to_numpy(),
            {str(name): k for k, name in enumerate(reference.columns)},
            reference.reindex(times).ffill().to_numpy(dtype=float),
            settled,
        )

    def funding_between(self, after: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
        """Settlements in (after, until]."""
        times = self.settled["settlement_time"]
        first, last = (int(times.searchsorted(t, side="right")) for t in (after, until))
        return self.settled.iloc[first:last]

    def price_of(self, row: int, name: str) -> float:
        """USD of one coin or unit of a currency at a bar; USD itself is 1. Raises `DataError` without one."""
        if name == "USD":
            return 1.0
        price = self.reference[row, self.names[name]] if name in self.names else np.nan
        if not np.isfinite(price):
            message = f"no price {name}/USD of venue {INDEX!r} up to {self.times[row]:%Y-%m-%dT%H:%MZ}"
            raise DataError([Problem("prices", message)])
        return float(price)

    def mark_of(self, row: int, exchange: str, symbol: str) -> float:
        """Last known mark in quote currency; NaN before the first."""
        return float(self.marks[row, self.keys[exchange, symbol]])


def sorted_by_time(snapshot: SnapshotData) -> SnapshotData:
    """The same snapshot with prices and funding in order of time, so that the past is a slice of them."""
    tables = dict(snapshot.tables)
    for name in ("prices", "funding"):
        tables[name] = tables[name].sort_values("time", kind="stable")
    return replace(snapshot, tables=tables)
