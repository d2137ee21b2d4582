"""Filling a snapshot from venue tables: contract terms that its rows leave out, and margin tiers.

What the snapshot states wins. A cell that neither states is an error that names both places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation

import numpy as np
import pandas as pd

from allocator.errors import DataError, Problem
from allocator.snapshot.cells import is_missing
from allocator.snapshot.columns import TABLES
from allocator.snapshot.faults import Checked
from allocator.snapshot.reference_prices import ReferencePrices, reference_prices
from allocator.venues.schema import TierSchedule
from allocator.venues.table import Cell, Terms, VenueTable, tier_brackets, tier_sizes

Key = tuple[str, str]
RawCells = Mapping[str, Sequence[object] | pd.Series]

_DAILY = ("time", "venue", "symbol", "half_spread", "adv_usd", "expiry", "open_interest_usd", "status")
STATIC_COLUMNS = tuple(column for column in TABLES["instruments"].columns if column.name not in _DAILY)


@dataclass(frozen=True)
class VenueTables:
    """The venue tables of a scenario by exchange. `as_of`: when caps in coins are priced; None is newest."""

    by_exchange: Mapping[str, tuple[VenueTable, ...]]
    as_of: datetime | None = None

    def of(self, exchange: str, symbol: str) -> VenueTable | None:
        """The table that speaks of a symbol: the only one, or the only one with an entry of it."""
        tables = self.by_exchange.get(exchange, ())
        if len(tables) > 1:
            tables = tuple(table for table in tables if table.mentions(symbol))
        if len(tables) > 1:
            labels = " and ".join(table.label for table in tables)
            message = f"{exchange} {symbol} is in {labels}: take it out of all but one"
            raise DataError([Problem(tables[0].label, message)])
        return tables[0] if tables else None


@dataclass(frozen=True)
class FromTable:
    """What one instrument takes from its venue's table `label`.

    `cells` were filled; `unverified` are those of them (and `margin_tiers`) from memory only; `differing`
    says in words where snapshot and table disagree; `tiers` is the date of tiers that come from the table.
    """

    label: str
    cells: tuple[str, ...]
    unverified: tuple[str, ...]
    differing: tuple[str, ...]
    tiers: datetime | None = None


@dataclass
class Filled:
    """Raw columns of `instruments` with what tables gave; None where cells are in neither place."""

    cells: RawCells | None
    used: dict[Key, FromTable] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def fill_terms(cells: RawCells, at: Callable[[int], str], tables: VenueTables) -> Filled:
    """Fill what rows of `instruments` leave out; `at` gives ``file:line`` of a row. Raises DataError."""
    if "venue" not in cells or "symbol" not in cells:
        return Filled(cells)
    keys = [(str(v).strip(), str(s).strip()) for v, s in zip(cells["venue"], cells["symbol"], strict=True)]
    found = {key: table for key in dict.fromkeys(keys) if (table := tables.of(*key)) is not None}
    terms = {key: table.terms(key[1]) for key, table in found.items()}
    columns, taken, problems = dict(cells), {key: list[str]() for key in found}, list[Problem]()
    for column in STATIC_COLUMNS:
        own = list(cells[column.name]) if column.name in cells else [None] * len(keys)
        gaps, changed = [], False
        for i, key in enumerate(keys):
            if key not in found or not is_missing(own[i]):
                continue
            if column.name in terms[key].cells:
                own[i], changed = terms[key].cells[column.name], True
                taken[key].append(column.name)
            else:
                gaps.append(i)
        if changed:
            columns[column.name] = own
        if gaps:
            problems.append(_in_neither(column.name, [keys[i] for i in gaps], at(gaps[0]), found))
    used = {
        key: _use(table, terms[key], taken[key], _differing(cells, keys.index(key), terms[key]))
        for key, table in found.items()
    }
    return Filled(None if problems else columns, used, problems)


def _in_neither(column: str, keys: Sequence[Key], where: str, found: Mapping[Key, VenueTable]) -> Problem:
    key = keys[0]
    more = f" (and {len(keys) - 1} more rows)" if len(keys) > 1 else ""
    message = f"`{column}` of {' '.join(key)} is neither here nor in {found[key].label}"
    return Problem(where, f"{message}: write it in one of them{more}")


def _use(table: VenueTable, terms: Terms, taken: list[str], differing: list[str]) -> FromTable:
    doubtful = [name for name in taken if name in terms.unverified]
    return FromTable(table.label, tuple(taken), tuple(doubtful), tuple(differing))


def _differing(cells: RawCells, row: int, terms: Terms) -> list[str]:
    """Cells that snapshot and table state differently, in words."""
    words = []
    for column in STATIC_COLUMNS:
        if column.name not in cells or column.name not in terms.stated:
            continue
        (own,), theirs = cells[column.name][row : row + 1], terms.cells[column.name]
        if not is_missing(own) and _differ(own, theirs):
            words.append(f"{column.name} is {own} in the snapshot and {theirs}")
    return words


def _differ(own: object, theirs: Cell) -> bool:
    try:
        return Decimal(str(own).strip()) != Decimal(str(theirs))
    except InvalidOperation:
        return str(own).strip() != str(theirs)


def with_tiers(
    tables: Mapping[str, pd.DataFrame], venues: VenueTables, used: Mapping[Key, FromTable]
) -> tuple[pd.DataFrame | None, dict[Key, FromTable], list[Problem]]:
    """`margin_tiers` with the tables' rows for instruments that have none, what was used, and notes.

    The rows bear their table's date. None when there is nothing to add them to or from.
    """
    tiers, instruments = tables.get("margin_tiers"), tables.get("instruments")
    if instruments is None:
        return tiers, dict(used), []
    there = set() if tiers is None else set(zip(tiers["venue"], tiers["symbol"], strict=True))
    prices = _reference(tables.get("prices"), venues.as_of)
    frames, taken, notes = [] if tiers is None else [tiers], dict(used), []
    for row in instruments.to_dict("records"):
        key = (str(row["venue"]), str(row["symbol"]))
        table = venues.of(*key)
        schedule = None if table is None else table.schedule(key[1])
        if table is None or schedule is None or key in there:
            continue
        scale = _usd_per_unit(schedule, {str(name): cell for name, cell in row.items()}, prices)
        if not np.isfinite(scale):
            message = f"tiers of {' '.join(key)} are not in USD, and it has no reference price: left out"
            notes.append(Problem(table.label, message))
            continue
        frames.append(_rows(key, schedule, table.schedule_time(key[1]), scale))
        taken[key] = _with_schedule(taken[key], table, schedule)
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    if not frames:
        return _rows_of_none(), taken, notes
    joined = pd.concat(frames, ignore_index=True)
    # Rows keep their lines; those of tables, which were checked when read, go on counting.
    first = [] if tiers is None else list(tiers.index)
    start = max(first, default=0) + 1
    joined.index = pd.Index([*first, *range(start, start + len(joined) - len(first))], name="line")
    return joined, taken, notes


def _with_schedule(use: FromTable, table: VenueTable, schedule: TierSchedule) -> FromTable:
    stated = frozenset(("symbols", "tiers"))
    doubtful = ("margin_tiers",) if table.unverified(schedule, stated) else ()
    symbol = schedule.symbols[0]
    return replace(use, unverified=use.unverified + doubtful, tiers=table.schedule_time(symbol))


def _reference(prices: pd.DataFrame | None, as_of: datetime | None) -> ReferencePrices:
    if prices is None:
        return ReferencePrices({})
    known = prices if as_of is None else prices[prices["time"] <= as_of]
    return reference_prices(Checked("prices", known, "prices"))


def _usd_per_unit(schedule: TierSchedule, row: Mapping[str, object], prices: ReferencePrices) -> float:
    """USD per unit of the tiers' caps: a contract, or a coin, at the coin's reference price; NaN unknown."""
    unit, _ = tier_sizes(schedule.tiers)
    if unit == "usd":
        return 1.0
    coin = prices.latest(str(row["asset"]))
    if unit == "coins":
        return coin
    size = float(str(row["contract_size"]))
    if row["kind"] == "inverse":
        return size * prices.latest(str(row["index_currency"]))
    return size * float(str(row["coins_per_unit"])) * coin


def _rows(key: Key, schedule: TierSchedule, time: datetime, usd_per_unit: float) -> pd.DataFrame:
    brackets = tier_brackets(schedule.tiers, usd_per_unit)
    count = brackets.rates.size
    stamp = pd.DatetimeIndex([pd.Timestamp(time)] * count).as_unit("us")
    return pd.DataFrame(
        {
            "time": stamp,
            "venue": pd.Series([key[0]] * count, dtype="object"),
            "symbol": pd.Series([key[1]] * count, dtype="object"),
            "tier": np.arange(1, count + 1, dtype=np.int64),
            "floor_usd": brackets.floors_usd,
            "cap_usd": brackets.caps_usd,
            "maintenance_margin_rate": brackets.rates,
            "deduction_usd": brackets.deductions_usd,
            "max_leverage": brackets.max_leverages,
            "cap_contracts": np.full(count, np.nan),
        }
    )


def _rows_of_none() -> pd.DataFrame:
    """An empty `margin_tiers`: no instrument needs tiers, or none has them."""
    nothing = tier_frame_columns()
    return pd.DataFrame(nothing, index=pd.Index([], dtype=np.int64, name="line"))


def tier_frame_columns() -> dict[str, pd.Series]:
    """The columns of `margin_tiers`, empty, with their types."""
    kinds = {"time": "datetime64[us, UTC]", "text": "object", "integer": "int64", "number": "float64"}
    return {c.name: pd.Series([], dtype=kinds[c.type]) for c in TABLES["margin_tiers"].columns}
