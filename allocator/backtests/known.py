"""What was known at a bar, put together once for every desk that decides there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from allocator.backtests.rails import Rails
from allocator.backtests.tape import Tape
from allocator.market.build import STATE
from allocator.market.history import History
from allocator.market.memory import Memory
from allocator.market.types import Matrix
from allocator.scenario.load import LoadedScenario
from allocator.snapshot.read import SnapshotData

if TYPE_CHECKING:
    from allocator.sweeps.fast import Solver

_STRATEGIES = 16  # desks whose own stages are remembered while they decide on one bar


@dataclass(frozen=True)
class Known:
    """The scenario as of a bar, and the newest row of each thing that was known by then."""

    loaded: LoadedScenario
    snapshot: SnapshotData


class Records:
    """The history of a walk, arranged once; the market of a bar is estimated once, whoever decides."""

    def __init__(self, loaded: LoadedScenario, tape: Tape) -> None:
        self.loaded, self.tape = loaded, tape
        self.back = _lookback(loaded)
        self.history = History.of(tape.snapshot.tables)
        self.rails = Rails(tape)
        self.memory = Memory(_STRATEGIES)
        self._names = tuple(self.history.prices.columns)
        self._last = _last_rows(self.history.prices.to_numpy())
        self._tables = {name: _plain(table) for name, table in tape.snapshot.tables.items()}
        self._funding = self._tables["funding"].sort_values("time", kind="stable")
        self._kept: tuple[int, SnapshotData] | None = None
        self._terms: dict[str, tuple[int, pd.DataFrame]] = {}

    def widen(self, loaded: LoadedScenario) -> None:
        """Keep as much of the past at hand as this scenario looks back on."""
        self.back = max(self.back, _lookback(loaded))

    @cached_property
    def solver(self) -> Solver:
        """Compiled programs, kept from one decision to the next."""
        from allocator.sweeps.fast import Solver

        return Solver()

    def at(self, row: int, loaded: LoadedScenario) -> Known:
        """What was known at a bar of the tape, as a scenario of this walk sees it."""
        if self._kept is None or self._kept[0] != row:
            self._kept = (row, self._gathered(row))
        moved = loaded.scenario.model_copy(update={"as_of": self.tape.times[row].to_pydatetime()})
        return Known(replace(loaded, scenario=moved), self._kept[1])

    def _gathered(self, row: int) -> SnapshotData:
        now = self.tape.times[row]
        after = now - self.back
        tables = {"prices": self._prices(now, after), "funding": self._settled(now, after)}
        for name, table in self._tables.items():
            if name not in tables and name not in STATE:
                tables[name] = self._newest_terms(name, table, now)
        # State tables are each desk's own; what stands here is only their columns.
        tables |= {name: self.tape.snapshot.tables[name].iloc[:0] for name in STATE}
        return SnapshotData(tables, now.to_pydatetime(), {}, {}, (), self.tape.snapshot.from_tables)

    def _prices(self, now: pd.Timestamp, after: pd.Timestamp) -> pd.DataFrame:
        """The newest price of each thing within the window."""
        times = pd.DatetimeIndex(self.history.prices.index)
        last = self._last[int(times.searchsorted(now, side="right")) - 1]
        there = np.flatnonzero((last >= 0) & (times[np.maximum(last, 0)] >= after))
        values = self.history.prices.to_numpy()[last[there], there]
        frame = pd.DataFrame(
            {
                "time": times[last[there]],
                "venue": pd.Series([self._names[k][0] for k in there], dtype=object),
                "symbol": pd.Series([self._names[k][1] for k in there], dtype=object),
                "price": values,
            }
        )
        # As in a table in order of time; instruments, then reference prices, would do as well.
        return frame.sort_values("time", kind="stable", ignore_index=True)

    def _settled(self, now: pd.Timestamp, after: pd.Timestamp) -> pd.DataFrame:
        """The newest row of funding of each perp within the window; forecasts read the history."""
        times = self._funding["time"]
        first = int(times.searchsorted(after, side="left"))
        last = int(times.searchsorted(now, side="right"))
        # Whatever still settles has a row within the last days; look further back only where it has not.
        near = self._funding.iloc[max(first, last - 50 * len(self.history.funding.places)) : last]
        found = near.drop_duplicates(["venue", "symbol"], keep="last")
        if len(found) < len(self.history.funding.places):
            found = self._funding.iloc[first:last].drop_duplicates(["venue", "symbol"], keep="last")
        return found

    def _newest_terms(self, name: str, table: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
        """Terms known at a bar, the newest of each instrument; the same object while nothing is new."""
        known = table[table["time"] <= now]
        kept = self._terms.get(name)
        if kept is not None and kept[0] == len(known):
            return kept[1]
        newest = known.groupby(["venue", "symbol"])["time"].transform("max")
        found = known[known["time"] == newest].sort_values("time", kind="stable")
        self._terms[name] = (len(known), found)
        return found


def _lookback(loaded: LoadedScenario) -> pd.Timedelta:
    believed = loaded.scenario.forecasts
    return pd.Timedelta(hours=max(believed.assets.window, believed.funding.window, 24.0))


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Names as objects: a few rows of them are read faster than those of a string array."""
    return table.astype({name: object for name in ("venue", "symbol") if name in table.columns})


def _last_rows(prices: Matrix) -> np.ndarray:
    """Of each bar and column (T, n) the last row with a price, −1 before the first."""
    rows = np.arange(len(prices))[:, np.newaxis]
    return np.asarray(np.maximum.accumulate(np.where(np.isnan(prices), -1, rows), axis=0))
