"""How old each table is where the market uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from allocator.scenario.schema import MaxAge

_BY_INSTRUMENT = ("instruments", "prices", "funding", "books", "margin_tiers")


@dataclass(frozen=True)
class TableAge:
    """The stalest thing that is used of a table: its newest row is `age_hours` older than `as_of`.

    Histories and books are told by the newest row of each instrument, states of accounts by every row.
    Both are None for a table of which nothing is used.
    """

    table: str
    rows: int
    oldest: datetime | None
    age_hours: float | None
    limit_hours: float


def table_ages(
    tables: Mapping[str, pd.DataFrame],
    instruments: Iterable[tuple[str, str]],
    as_of: datetime,
    limits: MaxAge,
) -> tuple[TableAge, ...]:
    """Ages of all tables against `as_of`; `instruments` are exchange and symbol of what is used."""
    used = pd.MultiIndex.from_tuples(sorted(set(instruments)), names=["venue", "symbol"])
    return tuple(
        _age(name, frame, used, as_of, getattr(limits, name)) for name, frame in sorted(tables.items())
    )


def _age(name: str, frame: pd.DataFrame, used: pd.MultiIndex, as_of: datetime, limit: float) -> TableAge:
    times = frame["time"]
    if name in _BY_INSTRUMENT and len(frame):
        newest = frame.groupby(["venue", "symbol"], sort=False)["time"].max()
        times = newest[newest.index.isin(used)]
    if not len(times):
        return TableAge(name, len(frame), None, None, limit)
    oldest = times.min().to_pydatetime()
    return TableAge(name, len(frame), oldest, (as_of - oldest).total_seconds() / 3600, limit)
