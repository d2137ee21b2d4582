"""What the desk has: holdings, positions and collateral, in the units their columns declare."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from allocator.errors import Problem
from allocator.snapshot.columns import did_you_mean
from allocator.snapshot.faults import Checked, Tables
from allocator.snapshot.reference_prices import reference_prices
from models.arrays import BoolVector

_LOT_ROUNDING = 1e-6


def check_holdings(table: Checked, tables: Tables) -> list[Problem]:
    """Confidence outside [0, 1], dates that are missing, past or of no use, transit to nowhere."""
    confidence, kind, name = table.number("confidence"), table.text("kind"), table.text("name")
    anticipated, transit = kind == "anticipated", kind == "in_transit"
    coins = table.number("coins")
    return (
        table.faults(
            (confidence < 0) | (confidence > 1),
            lambda i: f"confidence of `{name[i]}` is {confidence[i]:g}: write a fraction from 0 to 1",
        )
        + table.faults(
            ~anticipated & (confidence != 1) & (confidence >= 0) & (confidence <= 1),
            lambda i: (
                f"`{name[i]}` is {kind[i]} with confidence {confidence[i]:g}: write 1, or kind anticipated"
            ),
        )
        + table.faults(
            transit & (coins <= 0),
            lambda i: f"`{name[i]}` in transit is {coins[i]:g} coins: write what will arrive, > 0",
        )
        + _check_expected(table, anticipated, transit)
        + _check_locked(table)
        + _check_destination(table, transit)
    )


def _check_expected(table: Checked, anticipated: BoolVector, transit: BoolVector) -> list[Problem]:
    """Exactly what is yet to come has an expected_time, and it is to come."""
    name, kind = table.text("name"), table.text("kind")
    expected, now = table.hours("expected_time"), table.hours("time")
    return (
        table.faults(
            anticipated & np.isnan(expected),
            lambda i: f"`{name[i]}` is anticipated without expected_time: write when it will happen",
        )
        + table.faults(
            transit & np.isnan(expected),
            lambda i: f"`{name[i]}` is in transit without expected_time: write when it will arrive",
        )
        + table.faults(
            (anticipated | transit) & (expected < now),
            lambda i: (
                f"`{name[i]}` was expected at {table.frame['expected_time'].iloc[i]}, before its own time: "
                "write the new date, or its kind if it has happened"
            ),
        )
        + table.faults(
            ~(anticipated | transit) & ~np.isnan(expected),
            lambda i: (
                f"`{name[i]}` is {kind[i]} with an expected_time: "
                "leave it empty, or write kind anticipated or in_transit"
            ),
        )
    )


def _check_locked(table: Checked) -> list[Problem]:
    name, kind, until = table.text("name"), table.text("kind"), table.hours("locked_until")
    return table.faults(
        (kind == "locked") & np.isnan(until),
        lambda i: f"`{name[i]}` is locked without locked_until: write when it may move, or kind staked",
    ) + table.faults(
        ~np.isin(kind, ["locked", "staked"]) & ~np.isnan(until),
        lambda i: f"`{name[i]}` is {kind[i]} with a locked_until: leave it empty, or write kind locked",
    )


def _check_destination(table: Checked, transit: BoolVector) -> list[Problem]:
    name, kind = table.text("name"), table.text("kind")
    stated = np.array([table.text(column) != "" for column in ("to_venue", "to_account")], dtype=np.bool_)
    return table.faults(
        transit & ~stated.all(axis=0),
        lambda i: f"`{name[i]}` is in transit to nowhere: write to_venue and to_account",
    ) + table.faults(
        ~transit & stated.any(axis=0),
        lambda i: (
            f"`{name[i]}` is {kind[i]} with a to_venue or to_account: leave them empty, or write in_transit"
        ),
    )


def check_positions(table: Checked, tables: Tables) -> list[Problem]:
    """Sizes that no account can hold: not a multiple of the lot (coins or USD written for contracts)."""
    problems: list[Problem] = []
    contracts, entry = table.number("contracts"), table.number("entry_price")
    for name in ("open_buy_contracts", "open_sell_contracts", "largest_trade_20d_contracts"):
        resting = table.number(name)
        problems += table.faults(
            resting < 0,
            lambda i, name=name, resting=resting: f"{name} is {resting[i]:g}: write a number >= 0",  # type: ignore[misc]
        )
    problems += table.faults(
        (entry < 0) | ((entry == 0) & (contracts != 0)),
        lambda i: (
            f"entry_price is {entry[i]:g} for {contracts[i]:g} contracts: write the average entry price > 0"
        ),
    )
    instruments = tables.get("instruments")
    if instruments is None:
        return problems
    lots = dict(
        zip(
            zip(instruments.text("venue"), instruments.text("symbol"), strict=True),
            instruments.text("lot_contracts"),
            strict=True,
        )
    )
    return problems + _check_lots(table, lots)


def _check_lots(table: Checked, lots: Mapping[tuple[str, str], Decimal]) -> list[Problem]:
    keys = list(zip(table.text("venue"), table.text("symbol"), strict=True))
    lot = np.array([float(lots.get(key, Decimal(0))) for key in keys])
    problems: list[Problem] = []
    for name in ("contracts", "open_buy_contracts", "open_sell_contracts"):
        size = table.number(name)
        count = np.divide(size, lot, out=np.zeros_like(size), where=lot > 0)
        off = np.abs(count - np.round(count)) > _LOT_ROUNDING * np.maximum(1.0, np.abs(count) * 1e-3)
        problems += table.faults(
            off,
            lambda i, name=name, size=size: (
                f"{name} of {' '.join(keys[i])} is {size[i]:.10g}, not a multiple of its "  # type: ignore[misc]
                f"lot of {lot[i]:g} contracts: write contracts, not coins or USD"
            ),
        )
    return problems


def check_collateral(table: Checked, tables: Tables) -> list[Problem]:
    """More withdrawable than there is, currencies without a price, accounts that are under water."""
    coins, free = table.number("coins"), table.number("withdrawable_coins")
    problems = table.faults(
        free < 0, lambda i: f"withdrawable_coins is {free[i]:g}: write a number >= 0"
    ) + table.faults(
        free > np.maximum(coins, 0.0) * (1 + 1e-9),
        lambda i: (
            f"withdrawable_coins {free[i]:g} is more than the balance of {coins[i]:g}: "
            "write what may leave the venue, at most the balance"
        ),
    )
    prices = tables.get("prices")
    if prices is None or not len(prices.frame):
        return problems
    reference = reference_prices(prices)
    currency = table.text("currency")
    known = ["USD", *reference.series]
    problems += table.faults(
        ~np.isin(currency, known) & (coins != 0),
        lambda i: (
            f"`{currency[i]}` has no reference price{did_you_mean(currency[i], known)}: "
            f"add {currency[i]}/USD of venue index to prices"
        ),
    )
    value = coins * np.array([reference.latest(name) for name in currency])
    return problems + _check_equity(table, value, tables)


def _check_equity(table: Checked, value_usd: np.ndarray, tables: Tables) -> list[Problem]:
    """Loans beyond the balances of an account, before any P&L: the venue would have closed it."""
    problems: list[Problem] = []
    for rows in table.groups("time", "venue", "account"):
        total = float(value_usd[rows].sum())
        if total < 0:
            name = f"{table.text('venue')[rows[0]]} {table.text('account')[rows[0]]}"
            problems.append(
                Problem(
                    table.at(rows[0]),
                    f"balances of {name} sum to {total:,.0f} USD: "
                    "an account cannot owe more than it holds; check signs",
                )
            )
    return problems
