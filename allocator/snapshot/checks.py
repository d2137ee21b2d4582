"""The door: every table is checked for the bad data seen in the wild before anything is computed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from allocator.errors import Problem
from allocator.snapshot.check_accounts import check_collateral, check_holdings, check_positions
from allocator.snapshot.check_books import check_books
from allocator.snapshot.check_funding import check_funding
from allocator.snapshot.check_instruments import check_instruments, check_margin_tiers
from allocator.snapshot.check_prices import check_prices
from allocator.snapshot.columns import TABLES, did_you_mean
from allocator.snapshot.faults import Checked, Tables

# Each check sees its own table, with at least one row, and all tables that could be read.
_CHECKS: Mapping[str, Callable[[Checked, Tables], list[Problem]]] = {
    "instruments": check_instruments,
    "prices": check_prices,
    "funding": check_funding,
    "books": check_books,
    "margin_tiers": check_margin_tiers,
    "holdings": check_holdings,
    "positions": check_positions,
    "collateral": check_collateral,
}
_NEED_INSTRUMENT = ("funding", "books", "margin_tiers", "positions")


def check_tables(
    tables: Mapping[str, pd.DataFrame], sources: Mapping[str, str] | None = None
) -> list[Problem]:
    """Return every problem of the tables, an empty list when they may be used.

    ``tables`` are typed frames as :func:`allocator.snapshot.read.read_snapshot` returns them, ``sources``
    their file names (default: ``inline``). Tables that are absent are not asked for.
    """
    checked = {
        name: Checked(name, tables[name], sources[name] if sources else "inline")
        for name in TABLES
        if name in tables
    }
    problems: list[Problem] = []
    for name, table in checked.items():
        if not len(table.frame):
            continue
        problems += _duplicates(table)
        if name in _NEED_INSTRUMENT:
            problems += _unknown_instruments(table, checked)
        problems += _CHECKS[name](table, checked)
    return problems + _venue_spellings(checked)


def _duplicates(table: Checked) -> list[Problem]:
    key = TABLES[table.name].key

    def describe(position: int) -> str:
        values = ", ".join(str(table.frame[name].iloc[position]) for name in key)
        return f"a second row for {values}: keep one row per {', '.join(key)}"

    return table.faults(table.repeated(*key), describe)


def _unknown_instruments(table: Checked, tables: Tables) -> list[Problem]:
    instruments = tables.get("instruments")
    if instruments is None:
        return []
    known = dict.fromkeys(zip(instruments.text("venue"), instruments.text("symbol"), strict=True))
    problems: list[Problem] = []
    seen = set(known)
    for position, key in enumerate(zip(table.text("venue"), table.text("symbol"), strict=True)):
        if key in seen:
            continue
        seen.add(key)
        hint = did_you_mean(" ".join(key), [" ".join(pair) for pair in known])
        message = (
            f"`{key[0]} {key[1]}` has no row in instruments{hint or ': add it there, or drop these rows'}"
        )
        problems.append(Problem(table.at(position), message))
    return problems


def _venue_spellings(tables: Tables) -> list[Problem]:
    """One venue under two spellings would count twice: `Binance` and `binance`."""
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for table in tables.values():
        if "venue" not in table.frame.columns:
            continue
        for venue in table.frame["venue"].drop_duplicates():
            usual = first.setdefault(str(venue).casefold(), str(venue))
            if usual != venue:
                bad = table.text("venue") == venue
                problems += table.faults(bad, _two_spellings(str(venue), usual))
    return problems


def _two_spellings(venue: str, usual: str) -> Callable[[int], str]:
    return lambda _: f"venue `{venue}` is `{usual}` elsewhere: write one spelling, in lower case"
