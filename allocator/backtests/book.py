"""The book of a walk: as the first bar finds it, and the trades of it that were announced."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from allocator.backtests.desk import Agreed, Desk, opening
from allocator.backtests.known import Records
from allocator.backtests.ledger import Ledger
from allocator.backtests.tape import Tape
from allocator.market.build import assemble
from allocator.market.exposures import unknown_accounts
from allocator.market.observed import Observed, State
from allocator.market.observed import records as records_of
from allocator.market.types import Market
from allocator.market.universe import Findings


@dataclass(frozen=True)
class Announced:
    """A trade of the book: known from a time on, at the reference price of that bar, and due at another."""

    known: pd.Timestamp
    due: pd.Timestamp
    asset: str
    coins: float


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
    """Trades of the book that were announced; they happen whole.

    One expected before `start` is history: what the book holds by then is stated by its other rows.
    """
    rows = holdings[(holdings["kind"] == "anticipated") & (holdings["expected_time"] >= start)]
    columns = (rows[name] for name in ("time", "expected_time", "asset", "coins"))
    found = [
        Announced(pd.Timestamp(known), pd.Timestamp(due), str(asset), float(coins))
        for known, due, asset, coins in zip(*columns, strict=True)
    ]
    return sorted(found, key=lambda trade: (trade.known, trade.due, trade.asset))


def happen(ahead: list[Announced], tape: Tape, row: int, desk: Desk, ledger: Ledger) -> list[Announced]:
    """What is known by now is agreed at the reference price, and what is due changes hands for cash.

    From the agreement on it gains and loses as if it were held: its price is fixed. What was announced before
    the walk is agreed at its first bar. Returns the trades that nobody knows of yet.
    """
    now = tape.times[row]
    for trade in ahead:
        if trade.known <= now:
            paid = trade.coins * tape.price_of(row, trade.asset)
            desk.agreed.append(Agreed(trade.due, trade.asset, trade.coins, paid))
    for agreed in [each for each in desk.agreed if each.due <= now]:
        desk.agreed.remove(agreed)
        for name, units in ((agreed.asset, agreed.coins), ("USD", -agreed.usd)):
            desk.holdings[name] = desk.holdings.get(name, 0.0) + units
            ledger.book(now, "moved", ("", name, name), units, 0.0)
    return [trade for trade in ahead if trade.known > now]
