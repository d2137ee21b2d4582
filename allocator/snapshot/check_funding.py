"""Funding: fractions per interval, on the hour, on one clock per series, indications only of what comes next.

Percent stored as fractions, local time stamped as UTC, hourly rates quoted per 8 h and gaps read as longer
intervals have all been seen in published funding files.
"""

from __future__ import annotations

import numpy as np

from allocator.errors import Problem
from allocator.snapshot.check_instruments import INTERVALS_HOURS
from allocator.snapshot.faults import Checked, Tables
from allocator.snapshot.symbols import is_dated
from models.arrays import BoolVector, IntVector, Vector
from models.funding import looks_like_percent

# Hours past a multiple of the interval, counted from UTC midnight, at which venues really settle: 8-hourly at
# 00/08/16 (most) or 04/12/20 (BitMEX, KuCoin); shorter intervals always from midnight.
_CLOCKS: dict[int, tuple[int, ...]] = {8: (0, 4), 4: (0,), 2: (0,), 1: (0,)}
_ROUNDING = 1e-9
_ENOUGH_RATES = 10
# The default rate of 0.01 % per 8 h, printed exactly 41 % of the time on Binance BTC 2020-23.
_DEFAULT_IN_PERCENT = 0.01
_DEFAULT_SHARE = 0.2


def check_funding(table: Checked, tables: Tables) -> list[Problem]:
    """Rates, clocks and intervals of every series; see the module for the faults found in the wild."""
    interval, settled_at = table.number("interval_hours"), table.hours("settlement_time")
    known_at = table.hours("time")
    ahead = settled_at - known_at
    dated = np.array([is_dated(symbol) for symbol in table.text("symbol")], dtype=np.bool_)
    problems = (
        table.faults(
            dated,
            lambda i: f"{_name(table, i)} is a dated future and pays no funding: leave its rows out",
        )
        + table.faults(
            ~np.isin(interval, INTERVALS_HOURS) & ~dated,
            lambda i: f"interval_hours is {interval[i]:g}: write 1, 2, 4 or 8 (a gap is not an interval)",
        )
        + table.faults(
            np.abs(settled_at - np.round(settled_at)) > 1e-6,
            lambda i: (
                f"settlement_time {table.frame['settlement_time'].iloc[i]} is not on the hour: "
                "write the venue's settlement time in UTC"
            ),
        )
        + table.faults(
            ahead > interval + 1 / 60,
            lambda i: (
                f"settles {ahead[i]:.1f} h after it was known, but the interval is {interval[i]:g} h: "
                "only the running interval has an indication"
            ),
        )
        + _check_caps(table, tables, ~dated)
        + _check_percent(table)
    )
    if problems:  # clocks and spacings mean nothing while times, intervals or rates are wrong
        return problems
    for rows in table.groups("venue", "symbol"):
        rows = rows[np.lexsort((known_at[rows], settled_at[rows]))]
        # A wrong interval spoils the clock too: report the cause only.
        problems += _check_spacing(table, rows[ahead[rows] <= 0]) or _check_clock(table, rows)
    return problems


def _name(table: Checked, row: int) -> str:
    return f"{table.text('venue')[row]} {table.text('symbol')[row]}"


def _check_caps(table: Checked, tables: Tables, perps: BoolVector) -> list[Problem]:
    instruments = tables.get("instruments")
    if instruments is None:
        return []
    caps = dict(
        zip(
            zip(instruments.text("venue"), instruments.text("symbol"), strict=True),
            instruments.number("funding_cap"),
            strict=True,
        )
    )
    rate = table.number("rate")
    keys = zip(table.text("venue"), table.text("symbol"), strict=True)
    cap = np.array([caps.get(key, np.inf) for key in keys])
    return table.faults(
        perps & (np.abs(rate) > cap * (1 + _ROUNDING)),
        lambda i: (
            f"{_name(table, i)} rate {rate[i]:g} is beyond its funding_cap {cap[i]:g} per settlement: "
            "write a fraction (0.0001 for 0.01 %) of one interval, or correct the cap"
        ),
    )


def _check_percent(table: Checked) -> list[Problem]:
    """Percent stored as fractions: a venue's series together, or the fixed default rate in one of them.

    The median is judged over the venue, not per series: single coins do pay more than 20 bp per 8 h for days.
    """
    rate, interval, venue = table.number("rate"), table.number("interval_hours"), table.text("venue")
    problems: list[Problem] = []
    for rows in table.groups("venue", "interval_hours"):
        reason = looks_like_percent(rate[rows], interval[rows[0]]) if interval[rows[0]] > 0 else None
        if rows.size >= _ENOUGH_RATES and reason is not None:
            problems.append(Problem(table.at(rows[0]), f"{venue[rows[0]]} rates look like percent: {reason}"))
    if problems:
        return problems
    for rows in table.groups("venue", "symbol"):
        share = float(np.mean(np.isclose(rate[rows], _DEFAULT_IN_PERCENT, rtol=1e-9, atol=0.0)))
        if rows.size >= _ENOUGH_RATES and share >= _DEFAULT_SHARE:
            reason = f"{share:.0%} are exactly 0.01, the default rate in percent; divide by 100"
            name = _name(table, rows[0])
            problems.append(Problem(table.at(rows[0]), f"{name} rates look like percent: {reason}"))
    return problems


def _check_clock(table: Checked, rows: IntVector) -> list[Problem]:
    """Settlements of one interval length keep one phase, and it is one that venues use."""
    settled_at, interval = (
        np.round(table.hours("settlement_time")[rows]),
        table.number("interval_hours")[rows],
    )
    problems: list[Problem] = []
    for length, phases in _CLOCKS.items():
        mine = np.flatnonzero(interval == length)
        phase = settled_at[mine] % length
        if not mine.size:
            continue
        odd = np.flatnonzero(~np.isin(phase, phases))
        if odd.size:
            row = rows[mine[odd[0]]]
            problems.append(
                Problem(
                    table.at(row),
                    f"{_name(table, row)} settles every {length} h at {_clock(settled_at[mine[odd]])} UTC: "
                    f"venues settle at {_usual_clock(length)}; write UTC, not local time",
                )
            )
        elif np.unique(phase).size > 1:
            row = rows[mine[int(np.argmax(phase != phase[0]))]]
            problems.append(
                Problem(
                    table.at(row),
                    f"{_name(table, row)} changes its {length} h settlement clock "
                    f"({_clock(settled_at[mine])} UTC): one series has one clock; write UTC throughout",
                )
            )
    return problems


def _clock(hours: Vector) -> str:
    return "/".join(f"{int(hour):02d}" for hour in np.unique(hours % 24)[:6])


def _usual_clock(length: int) -> str:
    return "00/08/16 or 04/12/20" if length == 8 else f"multiples of {length} h from 00:00"


def _check_spacing(table: Checked, settled: IntVector) -> list[Problem]:
    """Settled rows: no settlement twice, none closer than its interval, no gap taken for an interval."""
    hours, interval = table.hours("settlement_time")[settled], table.number("interval_hours")[settled]
    step = np.diff(hours)
    if (step == 0).any():
        row = settled[int(np.argmax(step == 0)) + 1]
        return [
            Problem(table.at(row), f"{_name(table, row)} settles twice at one settlement_time: keep one row")
        ]
    close = step < interval[1:]
    if close.any():
        at = int(np.argmax(close)) + 1
        row = settled[at]
        return [
            Problem(
                table.at(row),
                f"{_name(table, row)} settles {step[at - 1]:g} h after the settlement before, "
                f"but interval_hours is {interval[at]:g}: write interval and rate of one settlement",
            )
        ]
    # One row longer than both its neighbours and as long as its step: hours since the last print.
    lone = (interval[1:-1] > interval[:-2]) & (interval[1:-1] > interval[2:]) & (step[:-1] == interval[1:-1])
    if lone.any():
        at = int(np.argmax(lone)) + 1
        row = settled[at]
        return [
            Problem(
                table.at(row),
                f"{_name(table, row)} interval_hours jumps to {interval[at]:g} for one row: "
                f"a settlement is missing before it; write {interval[at - 1]:g}, a gap is not an interval",
            )
        ]
    return []
