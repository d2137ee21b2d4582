"""Prices: positive, moving when the market moves, and near the reference price of the coin."""

from __future__ import annotations

import re

import numpy as np

from allocator.errors import Problem
from allocator.snapshot.faults import Checked, Tables
from allocator.snapshot.reference_prices import INDEX, reference_prices
from models.arrays import IntVector, Vector

FARTHEST_FROM_INDEX = 0.10
# Carry of dated Bitcoin futures has reached 60 % a year (Schmeling, Schrimpf and Todorov, "Crypto carry", BIS
# Working Paper 1087, 2023): a contract a year from expiry may be that much further from its index.
_HIGHEST_CARRY_PER_HOUR = 0.60 / (365 * 24)
STALE_ROWS = 12
_INDEX_MOVED = 0.001


def check_prices(table: Checked, tables: Tables) -> list[Problem]:
    """Prices that are not positive, reference symbols that are not in USD, marks far from index or frozen."""
    price, venue, symbol = table.number("price"), table.text("venue"), table.text("symbol")
    high, low = (
        table.number(name) if name in table.frame else np.full(len(price), np.nan)
        for name in ("high_usd", "low_usd")
    )
    index_names = {name for name in set(symbol[venue == INDEX]) if not re.fullmatch(r"[^/:\s]+/USD", name)}
    return (
        table.faults(
            price <= 0, lambda i: f"price of {venue[i]} {symbol[i]} is {price[i]:g}: write a price > 0"
        )
        + table.faults(
            (venue == INDEX) & np.isin(symbol, list(index_names)),
            lambda i: (
                f"reference price `{symbol[i]}` is not in USD: write the USD price as COIN/USD, as in BTC/USD"
            ),
        )
        + table.faults(
            (low <= 0) | (low > high) | (np.isnan(low) != np.isnan(high)),
            lambda i: (
                f"high_usd {high[i]:g} and low_usd {low[i]:g} of {venue[i]} {symbol[i]}: "
                "write both, 0 < low_usd <= high_usd, or neither"
            ),
        )
        + _check_marks(table, tables)
    )


def _check_marks(table: Checked, tables: Tables) -> list[Problem]:
    instruments = tables.get("instruments")
    if instruments is None:
        return []
    names = ("venue", "symbol", "asset", "index_currency")
    numbers = (instruments.number("coins_per_unit"), instruments.hours("expiry"))
    terms = {
        (venue, symbol): (asset, quote, float(unit), float(expiry))
        for venue, symbol, asset, quote, unit, expiry in zip(
            *(instruments.text(name) for name in names), *numbers, strict=True
        )
    }
    reference = reference_prices(table)
    venue, symbol, hours = table.text("venue"), table.text("symbol"), table.hours("time")
    problems: list[Problem] = []
    for rows in table.groups("venue", "symbol"):
        found = terms.get((venue[rows[0]], symbol[rows[0]]))
        if found is None:
            continue
        rows = rows[np.argsort(hours[rows], kind="stable")]
        asset, quote, unit, expiry = found
        coin, currency = reference.at(asset, hours[rows]), reference.at(quote, hours[rows])
        carry = np.nan_to_num(_HIGHEST_CARRY_PER_HOUR * np.maximum(expiry - hours[rows], 0.0))
        problems += _far_from_index(table, rows, unit * coin / currency, FARTHEST_FROM_INDEX + carry)
        problems += _stale(table, rows, coin)
    return problems


def _far_from_index(table: Checked, rows: IntVector, index: Vector, allowed: Vector) -> list[Problem]:
    """The newest mark and the median of the history: one wild hour in the past is a fact, not a fault."""
    price = table.number("price")[rows]
    ratio = price / index
    known = np.flatnonzero(np.isfinite(ratio) & (price > 0))
    if not known.size:
        return []
    newest, median = float(ratio[known[-1]]), float(np.median(ratio[known]))
    limits = float(allowed[known[-1]]), float(np.median(allowed[known]))
    worst, limit = (newest, limits[0]) if abs(newest - 1) > limits[0] else (median, limits[1])
    if abs(worst - 1) <= limit:
        return []
    row = rows[known[-1]]
    name = f"{table.text('venue')[row]} {table.text('symbol')[row]}"
    return [Problem(table.at(row), f"{name} is {worst:.4g} times its index price: {_likely_cause(worst)}")]


def _likely_cause(ratio: float) -> str:
    for power, cause in (
        (1000.0, "the price is of 1000 coins: write coins_per_unit 1000 in instruments"),
        (1e-3, "the price is of one coin: write coins_per_unit 1 in instruments"),
        (1e6, "the price is of a million coins: write coins_per_unit 1000000 in instruments"),
    ):
        if 0.8 < ratio / power < 1.25:
            return cause
    return "write the price in index_currency per unit, of the coin in `asset`"


def _stale(table: Checked, rows: IntVector, coin: Vector) -> list[Problem]:
    price = table.number("price")[rows]
    last, index = price[-STALE_ROWS:], coin[-STALE_ROWS:]
    if price.size < STALE_ROWS or np.ptp(last) > 0 or not np.isfinite(index).all():
        return []
    if index.max() / index.min() - 1 < _INDEX_MOVED:
        return []
    name = f"{table.text('venue')[rows[0]]} {table.text('symbol')[rows[0]]}"
    unchanged = int(np.argmax(price[::-1] != price[-1])) or price.size
    return [
        Problem(
            table.at(rows[-1]),
            f"{name} has not changed for {unchanged} rows while its index moved "
            f"{index.max() / index.min() - 1:.2%}: the feed is stuck; "
            "write fresh prices, or leave the instrument's rows out",
        )
    ]
