"""Contract terms and margin brackets: units, symbols and schedules that cannot be right."""

from __future__ import annotations

import re

import numpy as np

from allocator.errors import Problem
from allocator.snapshot.faults import Checked, Tables
from allocator.snapshot.symbols import SYMBOL, expiry_date, is_dated
from allocator.snapshot.tiers import TIER_COLUMNS, stated_tiers
from models.arrays import BoolVector
from models.margin import check_brackets

INTERVALS_HOURS = (1, 2, 4, 8)
# Published caps reach 4.8 % per 8 h (dYdX) and 4 % per hour (Hyperliquid): beyond 25 % it is in percent.
_HIGHEST_CAP = 0.25
_WIDEST_HALF_SPREAD = 0.05


def check_instruments(table: Checked, tables: Tables) -> list[Problem]:
    """Terms out of range, symbols that contradict their columns, contracts that cannot exist."""
    return (
        _check_sizes(table)
        + _check_rates(table)
        + _check_symbols(table)
        + _check_expiries(table)
        + _check_currencies(table)
        + table.faults(
            table.repeated("venue", "venue_symbol"),
            lambda i: (
                f"venue_symbol `{table.text('venue_symbol')[i]}` is there twice at "
                f"`{table.text('venue')[i]}`: one row per contract"
            ),
        )
    )


def _check_sizes(table: Checked) -> list[Problem]:
    problems: list[Problem] = []
    for name in ("contract_size", "lot_contracts", "tick", "coins_per_unit", "adv_usd", "open_interest_usd"):
        values = table.number(name)
        problems += table.faults(
            values <= 0,
            lambda i, name=name, values=values: f"`{name}` is {values[i]:g}: write a number > 0",  # type: ignore[misc]
        )
    for name in ("min_contracts", "min_notional_usd"):
        values = table.number(name)
        problems += table.faults(
            values < 0,
            lambda i, name=name, values=values: f"`{name}` is {values[i]:g}: write a number >= 0",  # type: ignore[misc]
        )
    return problems


def _check_rates(table: Checked) -> list[Problem]:
    interval, cap, spread = (
        table.number(n) for n in ("funding_interval_hours", "funding_cap", "half_spread")
    )
    dated = _dated(table)
    return (
        table.faults(
            ~np.isin(interval, INTERVALS_HOURS) & ~dated,
            lambda i: f"`funding_interval_hours` is {interval[i]:g}: write 1, 2, 4 or 8",
        )
        + table.faults(
            dated & ((interval != 0) | (cap != 0)),
            lambda i: (
                f"`{table.text('symbol')[i]}` is a dated future, without funding, but funding_interval_hours "
                f"is {interval[i]:g} and funding_cap {cap[i]:g}: write 0 for both"
            ),
        )
        + table.faults(~dated & (cap <= 0), lambda i: f"`funding_cap` is {cap[i]:g}: write a fraction > 0")
        + table.faults(
            cap > _HIGHEST_CAP,
            lambda i: (
                f"`funding_cap` is {cap[i]:g} of notional per settlement: write a fraction, 0.003 for 0.3 %"
            ),
        )
        + table.faults(
            (spread < 0) | (spread > _WIDEST_HALF_SPREAD),
            lambda i: f"`half_spread` is {spread[i]:g}: write a fraction between 0 and 0.05, 0.0001 for 1 bp",
        )
    )


def _check_symbols(table: Checked) -> list[Problem]:
    """`BTC/USDT:USDT` says base, index currency and settlement currency; the columns must say the same."""
    names = ("symbol", "asset", "index_currency", "settlement_currency")
    columns = [table.text(name) for name in names]
    units = table.number("coins_per_unit")
    problems: list[Problem] = []
    for i, (symbol, asset, index, settle) in enumerate(zip(*columns, strict=True)):
        match = SYMBOL.fullmatch(symbol)
        if match is None:
            problems.append(
                Problem(
                    table.at(i),
                    f"symbol `{symbol}` is not a ccxt contract: write BASE/QUOTE:SETTLE, as in "
                    "BTC/USDT:USDT, or with the day of expiry, as in BTC/USDT:USDT-261225",
                )
            )
            continue
        bases = base_names(asset, int(units[i]))
        for part, wanted, column in (
            ("base", bases, f"asset `{asset}` with coins_per_unit {int(units[i])}"),
            ("quote", (index,), f"index_currency `{index}`"),
            ("settle", (settle,), f"settlement_currency `{settle}`"),
        ):
            if match[part] not in wanted:
                problems.append(
                    Problem(
                        table.at(i),
                        f"symbol `{symbol}` has {part} `{match[part]}`, but the row says {column}: "
                        f"write {' or '.join(wanted)}, or correct the columns",
                    )
                )
    return problems


def _dated(table: Checked) -> BoolVector:
    return np.array([is_dated(symbol) for symbol in table.text("symbol")], dtype=np.bool_)


def _check_expiries(table: Checked) -> list[Problem]:
    """Exactly the dated futures have an expiry, on the day that their symbol says."""
    symbols, stated, dated = table.text("symbol"), ~np.isnan(table.hours("expiry")), _dated(table)
    times = table.frame["expiry"]
    days = [expiry_date(symbol) for symbol in symbols]
    unreal = dated & np.array([day is None for day in days], dtype=np.bool_)
    agree = [on and times.iloc[i].date() == days[i] for i, on in enumerate(stated & dated & ~unreal)]
    return (
        table.faults(
            unreal, lambda i: f"symbol `{symbols[i]}` ends in no date: write the day of expiry as YYMMDD"
        )
        + table.faults(
            dated & ~stated,
            lambda i: f"`{symbols[i]}` is a dated future without `expiry`: write when it settles",
        )
        + table.faults(
            ~dated & stated,
            lambda i: (
                f"`{symbols[i]}` is a perpetual with an `expiry`: leave it empty, or write the day of expiry "
                "after the symbol, as in BTC/USDT:USDT-261225"
            ),
        )
        + table.faults(
            dated & stated & ~unreal & ~np.array(agree, dtype=np.bool_),
            lambda i: (
                f"`{symbols[i]}` says {days[i]}, but its `expiry` is {times.iloc[i]:%Y-%m-%dT%H:%MZ}: "
                "write one day in both"
            ),
        )
    )


def base_names(asset: str, coins_per_unit: int) -> tuple[str, ...]:
    """Bases a symbol may have: `BTC`; for 1000 coins per unit `1000PEPE` and `kPEPE`; `1M` for a million."""
    if coins_per_unit == 1:
        return (asset,)
    prefixes = {1_000: ("k", "K"), 1_000_000: ("1M", "M")}.get(coins_per_unit, ())
    return (f"{coins_per_unit}{asset}", *(prefix + asset for prefix in prefixes))


def _check_currencies(table: Checked) -> list[Problem]:
    inverse = table.text("kind") == "inverse"
    asset, settle, index = (table.text(n) for n in ("asset", "settlement_currency", "index_currency"))
    return (
        table.faults(
            inverse & (settle != asset),
            lambda i: (
                f"inverse contract on `{asset[i]}` settles in `{settle[i]}`: an inverse contract settles in "
                "its own coin; write kind linear, or the coin"
            ),
        )
        + table.faults(
            ~inverse & (settle == asset),
            lambda i: (
                f"linear contract on `{asset[i]}` settles in its own coin: "
                "write kind inverse, or the currency"
            ),
        )
        + table.faults(
            index == asset, lambda i: f"index_currency is the asset `{asset[i]}` itself: write its quote"
        )
    )


def check_margin_tiers(table: Checked, tables: Tables) -> list[Problem]:
    """Each instrument's tiers: from 0, no gaps, growing rates, the deductions they imply, leverage > 0."""
    columns = {name: table.number(name) for name in TIER_COLUMNS}
    tiers, venue, symbol = table.number("tier"), table.text("venue"), table.text("symbol")
    problems: list[Problem] = []
    for rows in table.groups("time", "venue", "symbol"):
        rows = rows[np.argsort(tiers[rows], kind="stable")]
        name = f"{venue[rows[0]]} {symbol[rows[0]]}"
        if not np.array_equal(tiers[rows], np.arange(1, rows.size + 1)):
            found = ", ".join(f"{tier:g}" for tier in tiers[rows])
            problems.append(
                Problem(table.at(rows[0]), f"{name}: tiers are {found}: write 1, 2, 3, … without gaps")
            )
            continue
        try:
            stated = stated_tiers({name: column[rows] for name, column in columns.items()})
        except ValueError as error:
            problems.append(Problem(table.at(rows[0]), f"{name}: {error}"))
            continue
        defects = check_brackets(stated.brackets)
        problems += [Problem(_bracket_line(table, rows, defect), f"{name}: {defect}") for defect in defects]
    return problems


def _bracket_line(table: Checked, rows: np.ndarray, defect: str) -> str:
    """Line of the bracket a defect names, or of the table's first bracket."""
    match = re.match(r"bracket (\d+)", defect)
    return table.at(rows[min(int(match[1]), rows.size) - 1] if match else rows[0])
