"""Settlements that a history of funding leaves out: what was paid there is unknown, and not nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator.market.universe import expiry_of
from allocator.scenario.schema import Scenario
from allocator.snapshot.read import SnapshotData

_LATE = 1.5  # intervals: a settlement that far after the one before has another in between
_NAMED = 5


@dataclass(frozen=True)
class Gap:
    """Settlements of a perp that are missing between two times, and within the walk."""

    exchange: str
    symbol: str
    after: pd.Timestamp
    before: pd.Timestamp
    missing: int


def funding_gaps(
    scenario: Scenario, snapshot: SnapshotData, start: pd.Timestamp, end: pd.Timestamp
) -> list[Gap]:
    """Gaps within (start, end] in the settled funding of the perps that a scenario chooses.

    A perp counts from its first settlement on. One whose interval changed keeps the longer of the two at the
    change.
    """
    stated = snapshot.tables["funding"]
    settled = stated[(stated["settlement_time"] <= stated["time"]) & (stated["settlement_time"] <= end)]
    chosen = set(_chosen(scenario, snapshot.tables["instruments"]))
    found: list[Gap] = []
    for (exchange, symbol), rows in settled.groupby(["venue", "symbol"]):
        if (exchange, symbol) in chosen:
            mine = rows.drop_duplicates("settlement_time", keep="last").sort_values("settlement_time")
            found += _of_one(str(exchange), str(symbol), mine, start, end)
    return found


def _chosen(scenario: Scenario, instruments: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for row in instruments.to_dict("records"):
        if expiry_of({str(name): cell for name, cell in row.items()}) is not None:
            continue
        for selection in scenario.instruments.values():
            here = row["venue"] == (scenario.venues[selection.venue].exchange or selection.venue)
            named = selection.symbols == "all" or row["symbol"] in selection.symbols
            wanted = selection.assets is None or row["asset"] in selection.assets
            if here and named and wanted:
                yield row["venue"], row["symbol"]


def _of_one(
    exchange: str, symbol: str, rows: pd.DataFrame, start: pd.Timestamp, end: pd.Timestamp
) -> Iterator[Gap]:
    times = pd.DatetimeIndex([*rows["settlement_time"], end])
    hours = rows["interval_hours"].to_numpy(dtype=float)
    longest = np.maximum(hours, np.append(hours[1:], hours[-1:]))
    apart = np.diff(times.to_numpy()) / np.timedelta64(1, "h")
    for k in np.flatnonzero((apart > _LATE * longest) & (times[1:] > start)).tolist():
        # The walk's end is no settlement: what is missing before it is whole intervals.
        last = k == len(hours) - 1
        count = max(int(apart[k] / longest[k]) if last else round(apart[k] / longest[k]) - 1, 1)
        due = times[k] + pd.to_timedelta(longest[k] * np.arange(1, count + 1), unit="h")
        if missing := int((due > start).sum()):
            yield Gap(exchange, symbol, times[k], times[k + 1], missing)


def told(gaps: Sequence[Gap]) -> str:
    """What is missing, in words."""
    each = [
        f"{g.exchange} {g.symbol} {g.missing} between {_stamp(g.after)} and {_stamp(g.before)}"
        for g in gaps[:_NAMED]
    ]
    more = f" and {len(gaps) - _NAMED} more gaps" if len(gaps) > _NAMED else ""
    return f"settlements are missing of {', '.join(each)}{more}"


def _stamp(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%MZ}"
