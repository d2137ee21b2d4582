"""What time does to one contract of each instrument over the whole history, worked out once for any desk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allocator.backtests.tape import Tape
from allocator.errors import DataError, Problem
from allocator.identity import ByIdentity
from allocator.market.observed import INDEX
from allocator.market.types import Index, Instrument, Matrix
from models.arrays import Vector
from models.contracts import Contract, unrealised_pnl_settle, usd_per_contract

_Terms = tuple[str, str, Contract, str, str]  # exchange, symbol, contract, index and settlement currency


_REMEMBERED = 8192  # instruments, by identity: each walk lists its own anew where terms change


@dataclass(frozen=True)
class Rail:
    """One contract at every bar (T,), or k of them side by side (T, k), NaN before its first mark.

    `gain` is its price P&L since the bar before, in units of the settlement currency, `usd` its notional,
    `settle` the USD of a unit of the settlement currency. `up` ≥ 1 and `down` ≤ 1 are the bar's highest and
    lowest mark over its close; 1 where they were not recorded.
    """

    gain: Vector
    usd: Vector
    settle: Vector
    up: Vector
    down: Vector


@dataclass(frozen=True)
class Paid:
    """Funding settled after bars: the bar (E,) at which it is paid, column of `Tape.keys` (E,), rate (E,)."""

    bar: Index
    key: Index
    rate: Vector

    def between(self, first: int, last: int) -> Paid:
        """What is paid at bars in (first, last]."""
        a, b = (int(np.searchsorted(self.bar, row, side="right")) for row in (first, last))
        return Paid(self.bar[a:b], self.key[a:b], self.rate[a:b])


class Rails:
    """The rails of a tape, laid as they are asked for."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.times: NDArray[np.datetime64] = tape.times.tz_convert(None).to_numpy().astype("datetime64[us]")
        self.paid, hours = _paid(tape, self.times)
        self.jumps = _jumps(self.paid, hours)
        self._laid: list[Rail] = []
        self._columns: dict[_Terms, int] = {}
        self._known = ByIdentity[int](_REMEMBERED)
        self._beside: Rail | None = None

    def price(self, name: str, first: int, last: int) -> Vector:
        """USD of one coin or unit of currency at bars [first, last]. Raises `DataError` without one."""
        if name == "USD":
            return np.ones(last - first + 1)
        if name not in self.tape.names:
            self.tape.price_of(first, name)  # says what is missing
        found = self.tape.reference[first : last + 1, self.tape.names[name]]
        if not np.isfinite(found).all():
            self.tape.price_of(first + int(np.flatnonzero(~np.isfinite(found))[0]), name)
        return found

    def prices(self, names: list[str], first: int, last: int) -> Matrix:
        """`price` of many, side by side (T, m)."""
        found = np.ones((last - first + 1, len(names)))
        priced = [k for k, name in enumerate(names) if name != "USD"]
        if all(names[k] in self.tape.names for k in priced):
            columns = [self.tape.names[names[k]] for k in priced]
            found[:, priced] = self.tape.reference[first : last + 1, columns]
            if np.isfinite(found).all():
                return found
        for k in priced:  # says what is missing
            found[:, k] = self.price(names[k], first, last)
        return found

    def of(self, instrument: Instrument) -> Rail:
        """The rail of an instrument's contract as its terms are now."""
        return self._laid[self._column(instrument)]

    def of_all(self, instruments: list[Instrument], first: int, last: int) -> Rail:
        """The rails of many at bars [first, last] side by side (T, k). Raises `DataError` without a price."""
        columns = [self._column(instrument) for instrument in instruments]
        if not columns:
            none = np.zeros((last - first + 1, 0))
            return Rail(none, none, none, none, none)
        rows, beside = slice(first, last + 1), self._side_by_side()
        found = Rail(*(part[rows][:, columns] for part in _parts(beside)))
        if not (np.isfinite(found.usd).all() and np.isfinite(found.settle).all()):
            self._complain(instruments, first, last)
        return found

    def _column(self, instrument: Instrument) -> int:
        """Which of the rails is this instrument's."""
        known = self._known.get(instrument)
        if known is not None:
            return known
        i = instrument
        terms = (i.exchange, i.symbol, i.contract, i.index_currency, i.settlement_currency)
        if terms not in self._columns:
            self._columns[terms] = len(self._laid)
            self._laid.append(self._lay(i))
        return self._known.put(instrument, self._columns[terms])

    def _side_by_side(self) -> Rail:
        """All rails that are laid (T, k)."""
        if self._beside is None or self._beside.usd.shape[1] != len(self._laid):
            parts = zip(*(_parts(rail) for rail in self._laid), strict=True)
            self._beside = Rail(*(np.column_stack(part) for part in parts))
        return self._beside

    def _lay(self, instrument: Instrument) -> Rail:
        last = len(self.times) - 1
        mark = self.tape.marks[:, self.tape.keys[instrument.exchange, instrument.symbol]]
        quote, settle = (
            np.ones(last + 1) if name == "USD" else self._reference(name)
            for name in (instrument.index_currency, instrument.settlement_currency)
        )
        there = np.isfinite(mark) & np.isfinite(quote) & np.isfinite(settle)
        gain, usd = np.zeros(last + 1), np.full(last + 1, np.nan)
        usd[there] = usd_per_contract(instrument.contract, mark[there], quote[there])
        moved = np.flatnonzero(there[1:] & there[:-1]) + 1
        if moved.size:
            gain[moved] = unrealised_pnl_settle(
                instrument.contract, np.ones(moved.size), mark[moved - 1], mark[moved]
            )
            if instrument.contract.kind == "linear":
                gain[moved] *= quote[moved] / settle[moved]
        high, low = self._extremes(instrument, mark * quote)
        return Rail(gain, usd, settle, high, low)

    def _extremes(self, instrument: Instrument, close: Vector) -> tuple[Vector, Vector]:
        """Highest and lowest mark over the close (T,), which lies between them whatever was recorded."""
        ones = np.ones(len(self.times))
        rows = self.bars.get((instrument.exchange, instrument.symbol))
        if rows is None:
            return ones, ones
        at, high, low = rows
        up, down = ones.copy(), ones.copy()
        up[at], down[at] = np.fmax(high / close[at], 1.0), np.fmin(low / close[at], 1.0)
        return up, down

    @cached_property
    def bars(self) -> dict[tuple[str, str], tuple[Index, Vector, Vector]]:
        """Bars with recorded extremes by exchange and symbol: their rows, high and low in USD."""
        prices = self.tape.snapshot.tables["prices"]
        if not {"high_usd", "low_usd"} <= set(prices.columns):
            return {}
        known = prices.dropna(subset=["high_usd", "low_usd"])
        return {
            (str(venue), str(symbol)): (
                np.asarray(self.tape.times.searchsorted(mine["time"]), dtype=np.int64),
                mine["high_usd"].to_numpy(dtype=float),
                mine["low_usd"].to_numpy(dtype=float),
            )
            for (venue, symbol), mine in known.groupby(["venue", "symbol"])
            if venue != INDEX
        }

    @property
    def checked_on(self) -> str:
        """Where margin is checked: on closes, at bar extremes, or at extremes where they were recorded."""
        if not self.bars:
            return "closes"
        marks = self.tape.fresh.sum(axis=0)
        whole = all(len(self.bars.get(key, ((),))[0]) >= marks[k] for key, k in self.tape.keys.items())
        return "extremes" if whole else "extremes where recorded"

    def _reference(self, name: str) -> Vector:
        if name not in self.tape.names:
            self.tape.price_of(0, name)
        return self.tape.reference[:, self.tape.names[name]]

    def _complain(self, instruments: list[Instrument], first: int, last: int) -> None:
        for i in instruments:
            for name in (i.index_currency, i.settlement_currency):
                self.price(name, first, last)
            mark = self.tape.marks[first : last + 1, self.tape.keys[i.exchange, i.symbol]]
            if not np.isfinite(mark).all():
                when = f"{self.tape.times[first]:%Y-%m-%dT%H:%MZ}"
                raise DataError(
                    [Problem("prices", f"{i.exchange} {i.symbol} is held at {when} without a price")]
                )


def _parts(rail: Rail) -> tuple[Matrix, ...]:
    return rail.gain, rail.usd, rail.settle, rail.up, rail.down


def _paid(tape: Tape, times: NDArray[np.datetime64]) -> tuple[Paid, Vector]:
    """What was paid, and the length of each interval in hours (E,)."""
    settled = tape.settled
    when = settled["settlement_time"].dt.tz_convert(None).to_numpy().astype("datetime64[us]")
    bar = np.searchsorted(times, when, side="left").astype(np.int64)
    key = np.array(
        [tape.keys.get(k, -1) for k in zip(settled["venue"], settled["symbol"], strict=True)], dtype=np.int64
    )
    kept = (bar < len(times)) & (key >= 0)
    hours = _interval_hours(tape)[kept]
    return Paid(bar[kept], key[kept], settled["rate"].to_numpy(dtype=float)[kept]), hours


def _interval_hours(tape: Tape) -> Vector:
    """The interval of each row of `Tape.settled` (E,)."""
    funding = tape.snapshot.tables["funding"]
    names = ["settlement_time", "venue", "symbol"]
    stated = funding.drop_duplicates(names, keep="last")[[*names, "interval_hours"]]
    return tape.settled[names].merge(stated, on=names, how="left")["interval_hours"].to_numpy(dtype=float)


def _jumps(paid: Paid, hours: Vector) -> Paid:
    """Changes of each perp's funding per hour from one settlement to the next, at the later one's bar."""
    hourly = paid.rate / hours
    order = np.lexsort((np.arange(len(paid.bar)), paid.key))
    same = paid.key[order][1:] == paid.key[order][:-1]
    later, change = order[1:][same], np.diff(hourly[order])[same]
    by_bar = np.argsort(later, kind="stable")
    return Paid(paid.bar[later][by_bar], paid.key[later][by_bar], change[by_bar])


def expiry_row(times: pd.DatetimeIndex, instrument: Instrument) -> int | None:
    """The first bar at or after a dated future's expiry; None for a perp, or where the tape ends before."""
    if instrument.expiry is None:
        return None
    row = int(times.searchsorted(pd.Timestamp(instrument.expiry), side="left"))
    return row if row < len(times) else None
