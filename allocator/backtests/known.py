"""What was known at a bar, put together once for every desk that decides there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from allocator.backtests.rails import Rails
from allocator.backtests.tape import Tape
from allocator.market.history import History, InTime, Key, time_of, us_each, us_of
from allocator.market.memory import Memory
from allocator.market.observed import (
    Books,
    Newest,
    Row,
    Tiers,
    books_of,
    listed_rows,
    moments,
    newest_tiers,
    records,
)
from allocator.market.types import Matrix
from allocator.scenario.load import LoadedScenario

if TYPE_CHECKING:
    from allocator.sweeps.fast import Solver

_STRATEGIES = 16  # desks whose own stages are remembered while they decide on one bar


@dataclass(frozen=True)
class Known:
    """The scenario as of a bar, and the newest of each thing that was known by then."""

    loaded: LoadedScenario
    newest: Newest


class Records:
    """The history of a walk, arranged once; the market of a bar is estimated once, whoever decides."""

    def __init__(self, loaded: LoadedScenario, tape: Tape) -> None:
        self.loaded, self.tape = loaded, tape
        self.back = _lookback(loaded)
        self.history = History(tape.snapshot.tables)
        self.rails = Rails(tape)
        self.memory = Memory(_STRATEGIES)
        self._dated = {
            name: _Dated(tape.snapshot.tables[name])
            for name in ("instruments", "margin_tiers", "books")
            if name in tape.snapshot.tables
        }
        self._prices = _LastPrices(self.history)
        self._settled = _LastSettled(self.history)
        self._kept: tuple[int, Newest] | None = None
        holdings = tape.snapshot.tables["holdings"]
        self._announced = records(holdings[holdings["kind"] == "anticipated"])

    def widen(self, loaded: LoadedScenario) -> None:
        """Keep as much of the past at hand as this scenario looks back on."""
        self.back, self._kept = max(self.back, _lookback(loaded)), None

    @cached_property
    def solver(self) -> Solver:
        """Compiled programs, kept from one decision to the next."""
        from allocator.sweeps.fast import Solver

        # Each decision is scaled by its own numbers: it is the same whoever else decides in this walk.
        return Solver(afresh=True)

    def at(self, row: int, loaded: LoadedScenario) -> Known:
        """What was known at a bar of the tape, as a scenario of this walk sees it."""
        if self._kept is None or self._kept[0] != row:
            self._kept = (row, self._gathered(self.tape.times[row].to_pydatetime()))
        moved = loaded.scenario.model_copy(update={"as_of": self._kept[1].as_of})
        return Known(replace(loaded, scenario=moved), self._kept[1])

    def announced(self, now: datetime) -> list[Row]:
        """Trades of the book still to come that were known by now: from the time of their row on."""
        return [row for row in self._announced if row["time"] <= now < row["expected_time"]]

    def _gathered(self, now: datetime) -> Newest:
        after = now - self.back.to_pytimedelta()
        prices, times = self._prices.at(after, now)
        terms, tiers = self._dated["instruments"].at(now), self._dated["margin_tiers"].at(now)
        books = self._dated["books"].at(now) if "books" in self._dated else None
        return Newest(
            now,
            terms.rows,
            prices,
            tiers.tiers,
            None if books is None else books.books,
            {
                "prices": times,
                "funding": self._settled.at(after, now),
                "instruments": terms.times,
                "margin_tiers": tiers.times,
                **({} if books is None else {"books": books.times}),
            },
            self.tape.snapshot.from_tables,
        )


class _LastPrices:
    """The newest price of each thing at any time."""

    def __init__(self, history: History) -> None:
        self._grid = history.prices
        self._keys = list(self._grid.places)
        self._rows = _last_rows(self._grid.values)
        self._times = [time_of(us) for us in self._grid.times.tolist()]

    def at(self, after: datetime, now: datetime) -> tuple[dict[Key, float], dict[Key, datetime]]:
        """Prices known at `now` that are later than `after`, or of that very time, and their times."""
        first = int(np.searchsorted(self._grid.times, us_of(after), side="left"))
        row = int(np.searchsorted(self._grid.times, us_of(now), side="right")) - 1
        rows = self._rows[row]
        there = np.flatnonzero(rows >= max(first, 0))
        keys = [self._keys[k] for k in there.tolist()]
        values = self._grid.values[rows[there], there].tolist()
        return (
            dict(zip(keys, values, strict=True)),
            dict(zip(keys, [self._times[k] for k in rows[there].tolist()], strict=True)),
        )


class _LastSettled:
    """When the newest row of funding of each perp was known, at any time."""

    def __init__(self, history: History) -> None:
        stated = history.funding
        self._keys, self._starts = list(stated.places), stated.starts
        owners = np.repeat(np.arange(len(self._keys)), np.diff(stated.starts))
        self._known = stated.known[np.lexsort((stated.known, owners))]
        self._order = InTime(stated.starts, self._known)

    def at(self, after: datetime, now: datetime) -> dict[Key, datetime]:
        """Of each perp with a row known in [after, now], the time of the newest."""
        row = self._order.until(np.arange(len(self._keys)), us_of(now)) - 1
        there = np.flatnonzero(row >= self._starts[:-1])
        there = there[self._known[row[there]] >= us_of(after)]
        newest = self._known[row[there]].tolist()
        times = {us: time_of(us) for us in set(newest)}
        return {self._keys[k]: times[us] for k, us in zip(there.tolist(), newest, strict=True)}


@dataclass(frozen=True)
class _Newest:
    """The newest rows of a table that were known at a time, read as they are asked for."""

    table: pd.DataFrame

    @cached_property
    def rows(self) -> Mapping[Key, Row]:
        return listed_rows(self._last)

    @cached_property
    def tiers(self) -> Tiers:
        return newest_tiers(self.table)

    @cached_property
    def books(self) -> Books:
        return books_of(self.table)

    @cached_property
    def times(self) -> Mapping[Key, datetime]:
        last = self._last
        keys = [(str(v), str(s)) for v, s in zip(last["venue"], last["symbol"], strict=True)]
        return dict(zip(keys, moments(last["time"]), strict=True))

    @property
    def _last(self) -> pd.DataFrame:
        return self.table.drop_duplicates(["venue", "symbol"], keep="last")


class _Dated:
    """A table of which each thing has a newest row; the same object stands for it while nothing is new."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table.sort_values("time", kind="stable")
        self._times = us_each(self._table["time"])
        self._count, self._kept = -1, _Newest(self._table)

    def at(self, now: datetime) -> _Newest:
        count = int(np.searchsorted(self._times, us_of(now), side="right"))
        if self._count != count:
            self._count, self._kept = count, _Newest(self._table.iloc[:count])
        return self._kept


def _lookback(loaded: LoadedScenario) -> pd.Timedelta:
    believed = loaded.scenario.forecasts
    return pd.Timedelta(hours=max(believed.assets.window, believed.funding.window, 24.0))


def _last_rows(prices: Matrix) -> np.ndarray:
    """Of each bar and column (T, n) the last row with a price, −1 before the first."""
    rows = np.arange(len(prices))[:, np.newaxis]
    return np.asarray(np.maximum.accumulate(np.where(np.isnan(prices), -1, rows), axis=0))
