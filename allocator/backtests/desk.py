"""What a desk holds while time passes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from allocator.backtests.ledger import Kind, Ledger
from allocator.backtests.tape import Tape
from allocator.market.observed import State
from allocator.market.types import Instrument, Market
from models.contracts import notional_usd

Place = tuple[str, str]  # scenario's venue, and symbol or currency


@dataclass(frozen=True)
class Agreed:
    """Coins (< 0 sold) that change hands at `due` for `usd`, which is fixed."""

    due: pd.Timestamp
    asset: str
    coins: float
    usd: float


@dataclass
class Desk:
    """State between bars. `contracts` by (venue, symbol); `balances` by (venue, currency) in its units.

    P&L of perps is settled into balances at every bar, so a position's entry price is always the last mark.
    `incoming` are transfers on their way: arrival, pocket, amount. `holdings` are coins by asset, `agreed`
    the trades of the book that are still to be done.
    """

    holdings: dict[str, float]
    balances: dict[Place, float]
    contracts: dict[Place, float] = field(default_factory=dict)
    listed: dict[Place, Instrument] = field(default_factory=dict)
    incoming: list[tuple[pd.Timestamp, Place, float]] = field(default_factory=list)
    agreed: list[Agreed] = field(default_factory=list)

    @property
    def owned(self) -> dict[str, float]:
        """Holdings as if what is agreed were done: what is sold at a fixed price moves no more."""
        found = dict(self.holdings)
        for trade in self.agreed:
            for name, units in ((trade.asset, trade.coins), ("USD", -trade.usd)):
                found[name] = found.get(name, 0.0) + units
        return found

    def wealth(self, tape: Tape, row: int) -> float:
        """USD of everything: coins outside, balances, transfers on their way."""
        coins = sum(coins * tape.price_of(row, asset) for asset, coins in self.owned.items())
        settled = sum(units * tape.price_of(row, c) for (_, c), units in self.balances.items())
        coming = sum(units * tape.price_of(row, pocket[1]) for _, pocket, units in self.incoming)
        return coins + settled + coming

    def usd(self, tape: Tape, row: int) -> dict[Place, float]:
        """USD notional of each position at a bar's marks."""
        found = {}
        for place, held in self.contracts.items():
            instrument = self.listed[place]
            mark = _mark(tape, row, instrument)
            quote = tape.price_of(row, instrument.index_currency)
            found[place] = float(notional_usd(instrument.contract, np.array([held]), mark, quote)[0])
        return found

    def units(self) -> dict[Place, float]:
        """Units by place: balances, what is held outside (venue ""); without what is on its way."""
        return {("", asset): coins for asset, coins in self.holdings.items()} | dict(self.balances)

    def settle(self, tape: Tape, row: int, ledger: Ledger) -> None:
        """At a bar, after its prices: expired futures are gone, transfers that are due arrive."""
        now = tape.times[row]
        for place in list(self.contracts):
            expiry = self.listed[place].expiry
            if expiry is not None and now >= pd.Timestamp(expiry):
                self.contracts.pop(place)
        self.incoming, due = _split(self.incoming, now)
        for _, pocket, units in due:
            self.balances[pocket] = self.balances.get(pocket, 0.0) + units
            ledger.book(now, "moved", (*pocket, pocket[1]), units, 0.0)

    def receive(self, tape: Tape, row: int, ledger: Ledger, place: Place, units: float, kind: Kind) -> None:
        """Book `units` of an instrument's settlement currency; negative is paid."""
        currency = self.listed[place].settlement_currency
        pocket = (place[0], currency)
        self.balances[pocket] = self.balances.get(pocket, 0.0) + units
        usd = units * tape.price_of(row, currency)
        ledger.book(tape.times[row], kind, (place[0], place[1], currency), units, usd)


def _mark(tape: Tape, row: int, instrument: Instrument) -> float:
    return tape.mark_of(row, instrument.exchange, instrument.symbol)


def _split(
    incoming: list[tuple[pd.Timestamp, Place, float]], now: pd.Timestamp
) -> tuple[list[tuple[pd.Timestamp, Place, float]], list[tuple[pd.Timestamp, Place, float]]]:
    return [i for i in incoming if i[0] > now], [i for i in incoming if i[0] <= now]


def opening(state: State, market: Market) -> Desk:
    """The desk as the first market finds it; what its positions had gained by then is in its balances."""
    names = {(a.exchange, a.account): a.name for a in market.accounts}
    holdings: dict[str, float] = {}
    coming: list[tuple[pd.Timestamp, Place, float]] = []
    for row in state.holdings:
        if row["kind"] == "in_transit":
            pocket = (names[row["to_venue"], row["to_account"]], str(row["asset"]))
            coming.append((pd.Timestamp(row["expected_time"]), pocket, float(row["coins"])))
        elif row["kind"] != "anticipated":
            holdings[row["asset"]] = holdings.get(row["asset"], 0.0) + float(row["coins"])
    desk = Desk(holdings, {}, incoming=coming)
    for row in state.collateral:
        desk.balances[names[row["venue"], row["account"]], str(row["currency"])] = float(row["coins"])
    for i, held, gain, mark in zip(
        market.instruments,
        market.positions.contracts,
        market.collateral.unrealised,
        market.prices.mark * market.prices.quote_usd,
        strict=True,
    ):
        desk.listed[i.venue, i.symbol] = i
        if held:
            desk.contracts[i.venue, i.symbol] = float(held)
            pocket = (i.venue, i.settlement_currency)
            units = gain / (mark / i.contract.coins_per_unit if i.contract.kind == "inverse" else 1.0)
            desk.balances[pocket] = desk.balances.get(pocket, 0.0) + float(units)
    return desk
