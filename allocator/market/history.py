"""A history arranged once, so that each of many decisions in it reads only what it needs.

Prices stand side by side, settlements one behind the other; what was known at some time is a slice of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.arrays import Vector

Key = tuple[str, str]  # exchange, symbol
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Settlements:
    """Rows of `funding` of one instrument (k,), in order of settlement, then of when they were known.

    `known` and `settled` are datetime64[us] in UTC, `rate` is per interval of `hours`.
    """

    known: Times
    settled: Times
    rate: Vector
    hours: Vector

    def between(self, after: datetime, as_of: datetime) -> Settlements:
        """Of settlements later than `after`, what was known at `as_of`."""
        first = int(np.searchsorted(self.settled, utc_us(after), side="right"))
        seen = first + np.flatnonzero(self.known[first:] <= utc_us(as_of))
        return Settlements(self.known[seen], self.settled[seen], self.rate[seen], self.hours[seen])


def utc_us(time: datetime) -> np.datetime64:
    """A time with a zone as datetime64[us] in UTC."""
    return pd.Timestamp(time).tz_convert("UTC").tz_localize(None).as_unit("us").to_datetime64()


def settlements(funding: pd.DataFrame) -> Mapping[Key, Settlements]:
    """The rows of a `funding` table by exchange and symbol."""
    ordered = funding.sort_values(["venue", "symbol", "settlement_time", "time"], kind="stable")
    columns = {
        "known": _us(ordered["time"]),
        "settled": _us(ordered["settlement_time"]),
        "rate": ordered["rate"].to_numpy(dtype=float),
        "hours": ordered["interval_hours"].to_numpy(dtype=float),
    }
    venues, symbols = ordered["venue"].to_numpy(dtype=object), ordered["symbol"].to_numpy(dtype=object)
    new = np.flatnonzero((venues[1:] != venues[:-1]) | (symbols[1:] != symbols[:-1])) + 1
    edges = [0, *new.tolist(), len(ordered)] if len(ordered) else []
    return {
        (str(venues[a]), str(symbols[a])): Settlements(**{name: v[a:b] for name, v in columns.items()})
        for a, b in pairwise(edges)
    }


def _us(times: pd.Series) -> Times:
    return np.asarray(times.dt.tz_convert(None).to_numpy().astype("datetime64[us]"))


def side_by_side(prices: pd.DataFrame) -> pd.DataFrame:
    """A `prices` table with one row a time, one column per (venue, symbol); NaN where there is none."""
    return prices.pivot_table(index="time", columns=["venue", "symbol"], values="price", sort=True)


@dataclass(frozen=True)
class History:
    """The `prices` and `funding` of a whole history: `prices` as `side_by_side` gives them."""

    prices: pd.DataFrame
    funding: Mapping[Key, Settlements]

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame]) -> History:
        """Arrange a snapshot's tables."""
        return cls(side_by_side(tables["prices"]), settlements(tables["funding"]))

    def grid(self, after: datetime, until: datetime, venue: str | None = None) -> pd.DataFrame:
        """Prices of times in (after, until], as `side_by_side` of those rows of the table alone."""
        times = pd.DatetimeIndex(self.prices.index)
        first, last = (int(times.searchsorted(pd.Timestamp(t), side="right")) for t in (after, until))
        values = self.prices.to_numpy()[first:last]
        mine = np.arange(values.shape[1])
        if venue is not None:
            mine = np.flatnonzero(self.prices.columns.get_level_values(0) == venue)
        there = ~np.isnan(values[:, mine])
        kept, rows = mine[there.any(axis=0)], np.flatnonzero(there.any(axis=1))
        return pd.DataFrame(
            values[np.ix_(rows, kept)], index=times[first:last][rows], columns=self.prices.columns[kept]
        )
