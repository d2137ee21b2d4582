"""What a history leaves out: settlements of funding, which were not nothing, and prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from allocator.market.observed import INDEX
from allocator.market.universe import expiry_of
from allocator.scenario.schema import Scenario
from allocator.snapshot.read import SnapshotData

_LATE = 1.5  # intervals: a settlement that far after the one before has another in between
_OFF = 0.5  # of the coin's price: a mark or extreme farther away is hardly one
_NAMED = 5


@dataclass(frozen=True)
class Gap:
    """What is missing between two times: so many settlements within the walk, or prices."""

    exchange: str
    symbol: str
    after: pd.Timestamp
    before: pd.Timestamp
    settlements: int | None = None


def funding_gaps(
    scenario: Scenario, snapshot: SnapshotData, start: pd.Timestamp, end: pd.Timestamp
) -> list[Gap]:
    """Gaps within (start, end] in the settled funding of the perps that a scenario chooses.

    A perp counts from its first settlement on. One whose interval changed keeps the longer of the two at the
    change.
    """
    stated = snapshot.tables["funding"]
    settled = stated[(stated["settlement_time"] <= stated["time"]) & (stated["settlement_time"] <= end)]
    chosen = {key for key, expiry in _chosen(scenario, snapshot).items() if expiry is None}
    found: list[Gap] = []
    for (exchange, symbol), rows in settled.groupby(["venue", "symbol"]):
        if (exchange, symbol) in chosen:
            mine = rows.drop_duplicates("settlement_time", keep="last").sort_values("settlement_time")
            found += _without_settlements(str(exchange), str(symbol), mine, start, end)
    return found


def price_gaps(
    scenario: Scenario, snapshot: SnapshotData, start: pd.Timestamp, end: pd.Timestamp
) -> list[Gap]:
    """Where a contract that a scenario chooses, or a reference price that it needs, goes without a price.

    Within (start, end], for longer than `snapshot.max_age.prices`. A contract counts from its first price on,
    a future until it expires.
    """
    longest = pd.Timedelta(hours=scenario.snapshot.max_age.prices)
    expiries, needed = _chosen(scenario, snapshot), _references(scenario, snapshot)
    found: list[Gap] = []
    for (exchange, symbol), rows in snapshot.tables["prices"].groupby(["venue", "symbol"]):
        key = (str(exchange), str(symbol))
        if key not in expiries and key not in needed:
            continue
        expiry = expiries.get(key)
        until = end if expiry is None else min(end, pd.Timestamp(expiry))
        known = pd.DatetimeIndex(rows["time"].drop_duplicates().sort_values())
        times = pd.DatetimeIndex([*known[known <= until], until])
        empty = np.flatnonzero((np.diff(times) > longest) & (times[1:] > start))
        found += [Gap(*key, times[k], times[k + 1]) for k in empty.tolist()]
    return found


def far_prices(
    scenario: Scenario, snapshot: SnapshotData, start: pd.Timestamp, end: pd.Timestamp
) -> list[str]:
    """A sentence for each chosen contract with a mark or extreme that is far from its coin's price."""
    prices, said = snapshot.tables["prices"], list[str]()
    walked, chosen = prices[(prices["time"] > start) & (prices["time"] <= end)], _chosen(scenario, snapshot)
    listed = snapshot.tables["instruments"].drop_duplicates(["venue", "symbol"], keep="last")
    for row in listed.to_dict("records"):
        exchange, symbol = str(row["venue"]), str(row["symbol"])
        if (exchange, symbol) not in chosen:
            continue
        mine = walked[(walked["venue"] == exchange) & (walked["symbol"] == symbol)].set_index("time")
        coin = walked[(walked["venue"] == INDEX) & (walked["symbol"] == f"{row['asset']}/USD")]
        index = coin.set_index("time")["price"].reindex(mine.index).ffill() * float(row["coins_per_unit"])
        columns = [name for name in ("price", "high_usd", "low_usd") if name in mine.columns]
        off = mine[columns].div(index, axis=0).sub(1.0).abs().max(axis=1)
        if bool((off > _OFF).any()):
            when = _stamp(pd.Timestamp(str(off.idxmax())))
            said.append(
                f"{exchange} {symbol} was {100 * off.max():.0f} % away from its coin at {when}: if that is a "
                "bad print, mend it, or what it liquidates is nobody's loss"
            )
    return said


def _chosen(scenario: Scenario, snapshot: SnapshotData) -> dict[tuple[str, str], datetime | None]:
    """Contracts that some selection names, and when they expire."""
    found: dict[tuple[str, str], datetime | None] = {}
    for row in snapshot.tables["instruments"].to_dict("records"):
        for selection in scenario.instruments.values():
            here = row["venue"] == (scenario.venues[selection.venue].exchange or selection.venue)
            named = selection.symbols == "all" or row["symbol"] in selection.symbols
            wanted = selection.assets is None or row["asset"] in selection.assets
            if here and named and wanted:
                terms = {str(name): cell for name, cell in row.items()}
                found[str(row["venue"]), str(row["symbol"])] = expiry_of(terms)
    return found


def _references(scenario: Scenario, snapshot: SnapshotData) -> set[tuple[str, str]]:
    """Reference prices of the coins and currencies of chosen contracts, holdings and balances."""
    chosen, terms = _chosen(scenario, snapshot), snapshot.tables["instruments"]
    mine = [key in chosen for key in zip(terms["venue"], terms["symbol"], strict=True)]
    names = set[str]()
    for column in ("asset", "index_currency", "settlement_currency"):
        names |= set(terms.loc[mine, column].astype(str))
    names |= set(snapshot.tables["holdings"]["asset"].astype(str))
    names |= set(snapshot.tables["collateral"]["currency"].astype(str))
    return {(INDEX, f"{name}/USD") for name in names - {"USD"}}


def _without_settlements(
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


def told(what: str, gaps: Sequence[Gap]) -> str:
    """What is missing, in words."""
    each = [
        f"{g.exchange} {g.symbol}{'' if g.settlements is None else f' {g.settlements}'} between "
        f"{_stamp(g.after)} and {_stamp(g.before)}"
        for g in gaps[:_NAMED]
    ]
    more = f" and {len(gaps) - _NAMED} more gaps" if len(gaps) > _NAMED else ""
    return f"{'settlements' if what == 'funding' else 'prices'} are missing of {', '.join(each)}{more}"


def _stamp(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%MZ}"
