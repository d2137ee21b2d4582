"""What was known at a time, as a market asks for it: newest rows, histories, and one state of the desk.

A snapshot's tables give it by `observe`; a walk through a history puts it together itself, bar by bar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from allocator.market.history import History, Key
from allocator.snapshot.read import SnapshotData
from allocator.snapshot.tiers import TIER_COLUMNS, StatedTiers, stated_tiers
from models.arrays import Vector

if TYPE_CHECKING:
    from allocator.venues.fill import FromTable

Row = Mapping[str, Any]
Tiers = Mapping[Key, StatedTiers]
STATE = ("holdings", "positions", "collateral")  # tables of one state of the desk, not of its past
INDEX = "index"  # the `venue` of reference prices in the prices table


@dataclass(frozen=True)
class State:
    """What a desk holds, row by row as the tables of these names have it."""

    holdings: Sequence[Row]
    positions: Sequence[Row]
    collateral: Sequence[Row]


@dataclass(frozen=True)
class BookSide:
    """One side of a book from the best price outwards: prices and sizes in contracts (L,)."""

    prices: Vector
    contracts: Vector


Books = Mapping[Key, Mapping[str, BookSide]]


@dataclass(frozen=True)
class Newest:
    """The newest of each thing known at `as_of`, by exchange and symbol.

    `terms` are rows of `instruments`, `prices` in quote currency (of venue "index": reference prices in USD),
    `tiers` as the venue states them, `books` None without that table. `times` says by table when each was
    known, `from_tables` what was filled from venue tables.
    """

    as_of: datetime
    terms: Mapping[Key, Row]
    prices: Mapping[Key, float]
    tiers: Tiers
    books: Books | None
    times: Mapping[str, Mapping[Key, datetime]]
    from_tables: Mapping[Key, FromTable] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """Everything that was known: the newest of each thing, the past it is judged by, the state of the desk.

    `history` may go on after `newest.as_of`; what is read of it was known by then.
    """

    newest: Newest
    history: History
    state: State


def observe(snapshot: SnapshotData, as_of: datetime) -> Observed:
    """What a snapshot knew at a time."""
    tables = known(dict(snapshot.tables), as_of)
    last = {
        name: tables[name].drop_duplicates(["venue", "symbol"], keep="last")
        for name in ("instruments", "prices", "funding", "margin_tiers", "books")
        if name in tables
    }
    prices = last["prices"]
    newest = Newest(
        as_of,
        listed_rows(last["instruments"]),
        dict(zip(_keys(prices), prices["price"].astype(float).tolist(), strict=True)),
        newest_tiers(tables["margin_tiers"]),
        books_of(tables["books"]) if "books" in tables else None,
        {name: dict(zip(_keys(rows), moments(rows["time"]), strict=True)) for name, rows in last.items()},
        snapshot.from_tables,
    )
    return Observed(newest, History(tables), State(*(records(tables[name]) for name in STATE)))


def known(tables: dict[str, pd.DataFrame], as_of: datetime) -> dict[str, pd.DataFrame]:
    """The rows of every table that were known at `as_of`, oldest first."""
    return {name: _known(table, as_of) for name, table in tables.items()}


def _known(table: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    times = table["time"]
    if not times.is_monotonic_increasing:
        return table[times <= as_of].sort_values("time", kind="stable")
    count = int(times.searchsorted(pd.Timestamp(as_of), side="right"))
    return table if count == len(table) else table.iloc[:count]


def records(table: pd.DataFrame) -> list[Row]:
    """The rows of a table."""
    return [{str(name): cell for name, cell in row.items()} for row in table.to_dict("records")]


def listed_rows(instruments: pd.DataFrame) -> Mapping[Key, Row]:
    """Rows of `instruments`, one of each, by exchange and symbol."""
    return {(str(row["venue"]), str(row["symbol"])): row for row in records(instruments)}


def newest_tiers(table: pd.DataFrame) -> Tiers:
    """The newest tiers of every symbol, as its venue states them."""
    last = table.groupby(["venue", "symbol"])["time"].transform("max")
    rows = table[table["time"] == last].sort_values(["venue", "symbol", "tier"])
    columns = {name: rows[name].to_numpy(dtype=float) for name in TIER_COLUMNS}
    return {
        (venue, symbol): stated_tiers({name: column[a:b] for name, column in columns.items()})
        for (venue, symbol), a, b in _runs(rows, ["venue", "symbol"])
    }


def _runs(rows: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Where consecutive rows of one key begin and end: thousands of groups without a frame for each."""
    labels = [rows[key].to_numpy(dtype=object) for key in keys]
    if not len(rows):
        return
    new = np.any([np.append(True, k[1:] != k[:-1]) for k in labels], axis=0)
    for a, b in pairwise([*np.flatnonzero(new).tolist(), len(rows)]):
        yield tuple(str(label[a]) for label in labels), a, b


def books_of(books: pd.DataFrame) -> Books:
    """The newest book of each instrument, by side."""
    keys = ["venue", "symbol", "side"]
    last = books.groupby(["venue", "symbol"])["time"].transform("max")
    rows = books[books["time"] == last].sort_values([*keys, "level"])
    price, size = (rows[name].to_numpy(dtype=float) for name in ("price", "size_contracts"))
    found: dict[Key, dict[str, BookSide]] = {}
    for (venue, symbol, side), a, b in _runs(rows, keys):
        found.setdefault((venue, symbol), {})[side] = BookSide(price[a:b], size[a:b])
    return found


def moments(times: pd.Series) -> list[datetime]:
    """Times of a table as they are compared with `as_of`."""
    return list(times.dt.to_pydatetime())


def _keys(rows: pd.DataFrame) -> list[Key]:
    return [(str(v), str(s)) for v, s in zip(rows["venue"], rows["symbol"], strict=True)]
