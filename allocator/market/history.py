"""A history arranged once, so that each of many decisions in it reads only what it needs.

Prices stand side by side, settlements one behind the other; what was known at some time is a slice of either.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from allocator.market.types import Index, Matrix
from models.arrays import BoolVector, Vector

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Key = tuple[str, str]  # exchange, symbol


@dataclass(frozen=True)
class Settlements:
    """Rows of `funding` (R,), one instrument after another, in order of settlement, then of when known.

    Those of the instrument at `places[key]` stand at [starts[place], starts[place + 1]). `known` and
    `settled` are microseconds since 1970 in UTC, `rate` is per interval of `hours`.
    """

    places: Mapping[Key, int]
    starts: Index
    known: Index
    settled: Index
    rate: Vector
    hours: Vector

    def between(self, places: Index, after: datetime, as_of: datetime) -> tuple[Index, Index]:
        """Of settlements later than `after`, rows (K,) known at `as_of`, and whose they are: `places[k]`."""
        now = us_of(as_of)
        # Beyond what an indication is ahead of its settlement, nothing can have been known.
        first, last = (self._order.until(places, time) for time in (us_of(after), now + self._lead))
        counts = np.maximum(last - first, 0)
        ends = np.cumsum(counts)
        rows = np.repeat(first - (ends - counts), counts) + np.arange(int(counts.sum()))
        seen = self.known[rows] <= now
        return rows[seen], np.repeat(np.arange(len(places)), counts)[seen]

    @cached_property
    def _lead(self) -> int:
        return max(int((self.settled - self.known).max(initial=0)), 0)

    @cached_property
    def _order(self) -> InTime:
        return InTime(self.starts, self.settled)


class InTime:
    """Times (R,) of many things, one thing behind the other, those of each rising; `starts` says where."""

    def __init__(self, starts: Index, times: Index) -> None:
        # By rank, not by time: a thing's place times a span of years would leave the whole numbers.
        self._ranks = np.unique(times)
        place = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        self._keys = place * (len(self._ranks) + 1) + np.searchsorted(self._ranks, times) + 1

    def until(self, places: Index, time: int) -> Index:
        """The row behind the last of each of `places` (m,) that is no later than `time`."""
        rank = int(np.searchsorted(self._ranks, time, side="right"))
        return np.asarray(np.searchsorted(self._keys, places * (len(self._ranks) + 1) + rank, side="right"))


def us_of(time: datetime) -> int:
    """A time with a zone as microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """The time in UTC that is so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def settlements(funding: pd.DataFrame) -> Settlements:
    """The rows of a `funding` table by exchange and symbol."""
    owner, keys = _by_key(funding)
    known, settled = (us_each(funding[name]) for name in ("time", "settlement_time"))
    order = np.lexsort((known, settled, owner))
    return Settlements(
        places={key: k for k, key in enumerate(keys)},
        starts=np.searchsorted(owner[order], np.arange(len(keys) + 1)),
        known=known[order],
        settled=settled[order],
        rate=funding["rate"].to_numpy(dtype=float)[order],
        hours=funding["interval_hours"].to_numpy(dtype=float)[order],
    )


def us_each(times: pd.Series) -> Index:
    """Times of a table (R,) as microseconds since 1970."""
    return np.asarray(times.dt.tz_convert(None).to_numpy().astype("datetime64[us]").astype(np.int64))


def _by_key(table: pd.DataFrame) -> tuple[Index, list[Key]]:
    """Whose each row of a table is: the place (R,) of its venue and symbol in a list of them."""
    venue, venues = pd.factorize(table["venue"].to_numpy(dtype=object))
    symbol, symbols = pd.factorize(table["symbol"].to_numpy(dtype=object))
    found, owner = np.unique(venue * max(len(symbols), 1) + symbol, return_inverse=True)
    of = [divmod(key, len(symbols)) for key in found.tolist()]
    return owner.astype(np.int64), [(str(venues[v]), str(symbols[s])) for v, s in of]


@dataclass(frozen=True)
class Grid:
    """Prices side by side (T, n): a row a time, in microseconds since 1970, NaN where there is no price.

    `places` is the column of each (venue, symbol).
    """

    times: Index
    places: Mapping[Key, int]
    values: Matrix

    @classmethod
    def of(cls, prices: pd.DataFrame) -> Grid:
        """A `prices` table by time and symbol."""
        times, row = np.unique(us_each(prices["time"]), return_inverse=True)
        owner, keys = _by_key(prices)
        values = np.full((len(times), len(keys)), np.nan)
        values[row, owner] = prices["price"].to_numpy(dtype=float)
        return cls(times, {key: k for k, key in enumerate(keys)}, values)

    def rows(self, after: datetime, until: datetime) -> slice:
        """Of times in (after, until]."""
        return slice(*(int(np.searchsorted(self.times, us_of(t), side="right")) for t in (after, until)))

    def between(self, after: datetime, until: datetime) -> Grid:
        """Of times in (after, until]."""
        rows = self.rows(after, until)
        return Grid(self.times[rows], self.places, self.values[rows])

    @property
    def step_hours(self) -> float:
        """Usual hours between rows, NaN for a single row."""
        return float(np.median(np.diff(self.times))) / 3.6e9 if len(self.times) > 1 else float("nan")

    def columns(self, keys: Sequence[Key | None]) -> Matrix:
        """Prices (T, m) of `keys`, NaN of one that is not here; 1 where None is asked for."""
        found = np.full((len(self.times), len(keys)), np.nan)
        there = {k: self.places[key] for k, key in enumerate(keys) if key is not None and key in self.places}
        found[:, np.array(list(there), dtype=np.int64)] = self.values[
            :, np.array(list(there.values()), dtype=np.int64)
        ]
        found[:, np.array([key is None for key in keys], dtype=np.bool_)] = 1.0
        return found

    def evenly(self, keys: Collection[Key]) -> Grid:
        """Rows that have a price of any of `keys`, and empty ones where a step between them has none.

        A time without any price is a gap, not a longer step.
        """
        mine = [self.places[key] for key in keys if key in self.places]
        even = evenly_spaced(self.times, np.asarray(np.isfinite(self.values[:, mine]).any(axis=1)))
        return self if even is None else Grid(even.times, self.places, even.spread(self.values))


class Even(NamedTuple):
    """Evenly spaced times (T,), and where rows `kept` of what there is stand among them, `at`."""

    times: Index
    kept: Index
    at: Index

    def spread(self, values: Matrix) -> Matrix:
        """These rows at their times, NaN at others."""
        found = np.full((len(self.times), values.shape[1]), np.nan)
        found[self.at] = values[self.kept]
        return found


def evenly_spaced(times: Index, there: BoolVector) -> Even | None:
    """Rows `there` (T,) with empty ones where a step between them has none; None where rows stay as they are.

    Where steps are of no common length, the rows that are there are all.
    """
    kept = np.flatnonzero(there)
    mine = times[kept]
    apart, every = np.diff(mine), len(kept) == len(times)
    if not apart.size or (apart == apart[0]).all():
        return None if every else Even(mine, kept, np.arange(len(kept)))
    step = int(np.median(apart))
    at, off = np.divmod(mine - mine[0], step)
    if off.any():
        return None if every else Even(mine, kept, np.arange(len(kept)))
    return Even(mine[0] + step * np.arange(int(at[-1]) + 1), kept, at)


@dataclass(frozen=True)
class Known:
    """Prices of a history, of which what was known at `as_of` counts, and how many hours ahead risk looks."""

    prices: Grid
    as_of: datetime
    hours: float

    def grid(self, window_hours: float) -> Grid:
        """Prices of the last `window_hours`."""
        return self.prices.between(self.as_of - timedelta(hours=window_hours), self.as_of)


class History:
    """The `prices` and `funding` of a whole history, arranged when asked for: not every scenario asks.

    Two histories are one only if they are the same object.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame]) -> None:
        self._tables = tables

    @cached_property
    def prices(self) -> Grid:
        """Prices side by side."""
        return Grid.of(self._tables["prices"])

    @cached_property
    def funding(self) -> Settlements:
        """Settlements one behind the other."""
        return settlements(self._tables["funding"])
