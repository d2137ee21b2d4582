"""The book of a walk: as the first bar finds it, and the trades of it that were announced."""

from __future__ import annotations

import pandas as pd

from allocator.backtests.desk import Desk, opening
from allocator.backtests.known import Records
from allocator.backtests.ledger import Ledger
from allocator.backtests.tape import Tape
from allocator.market.build import assemble
from allocator.market.exposures import unknown_accounts
from allocator.market.observed import Observed, State
from allocator.market.observed import records as records_of
from allocator.market.types import Market
from allocator.market.universe import Findings

Announced = tuple[pd.Timestamp, str, float]  # time, asset, coins


def begin(records: Records, row: int) -> tuple[Desk, Market]:
    """The desk of the snapshot, and a market at the first bar with its positions in it."""
    tables, findings = records.tape.snapshot.tables, Findings()
    for name in ("positions", "collateral"):
        unknown_accounts(tables[name], name, records.loaded.scenario, findings)
    findings.raise_if_any()
    holdings = tables["holdings"]
    # The opening book is as of the first bar, whenever it was written down; trades to come are not in it.
    state = State(
        records_of(holdings[holdings["kind"] != "anticipated"]),
        records_of(tables["positions"]),
        records_of(tables["collateral"]),
    )
    known = records.at(row, records.loaded)
    market = assemble(known.loaded, Observed(known.newest, records.history, state), records.memory)
    return opening(state, market), market


def announced(holdings: pd.DataFrame, start: pd.Timestamp) -> list[Announced]:
    """Trades of the book that were announced: time, asset, coins; they happen whole.

    One expected before `start` is history: what the book holds by then is stated by its other rows.
    """
    rows = holdings[(holdings["kind"] == "anticipated") & (holdings["expected_time"] >= start)]
    return sorted(
        (pd.Timestamp(time), str(asset), float(coins))
        for time, asset, coins in zip(rows["expected_time"], rows["asset"], rows["coins"], strict=True)
    )


def happen(ahead: list[Announced], tape: Tape, row: int, desk: Desk, ledger: Ledger) -> list[Announced]:
    """Book announced trades that are due, at the reference price, against cash."""
    now = tape.times[row]
    for time, asset, coins in ahead:
        if time <= now:
            paid = coins * tape.price_of(row, asset)
            for name, units in ((asset, coins), ("USD", -paid)):
                desk.holdings[name] = desk.holdings.get(name, 0.0) + units
                ledger.book(now, "moved", ("", name, name), units, 0.0)
    return [item for item in ahead if item[0] > now]
