"""A stretch of bars over which a desk only holds: prices settle, funding is paid, balances follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.backtests.desk import Desk, Place
from allocator.backtests.ledger import Ledger, Where
from allocator.backtests.rails import Rails, expiry_row
from allocator.market.types import Index, Matrix
from models.arrays import Vector


@dataclass(frozen=True)
class Stretch:
    """Bars `first` + 1 to `last` of a tape, (T,), and what they did.

    `places` (k,) are the positions held, `gains` (T, k) their price P&L in units of the settlement currency,
    `usd` (T, k) their notional. Funding is by event (E,): bar of the stretch, position, units. `pockets` (P,)
    hold `balances` (T, P) in units at `worth` (1 + T, P) USD a unit, `coming` (P,) is on its way to them.
    `coins` (m,) are held outside, at `prices` (1 + T, m).
    """

    first: int
    places: list[Place]
    gains: Matrix
    usd: Matrix
    settle: Matrix
    paid_at: Index
    paid_by: Index
    paid: Vector
    pockets: list[Place]
    opening: Vector
    coming: Vector
    balances: Matrix
    worth: Matrix
    assets: list[str]
    coins: Vector
    prices: Matrix

    @property
    def bars(self) -> int:
        """T."""
        return len(self.gains)

    @property
    def wealth(self) -> Vector:
        """USD of everything at each bar (T,)."""
        return np.asarray(
            self.prices[1:] @ self.coins + ((self.balances + self.coming) * self.worth[1:]).sum(axis=1)
        )

    def up_to(self, bars: int) -> Stretch:
        """The first bars of it alone."""
        early = self.paid_at < bars
        return Stretch(
            self.first, self.places, self.gains[:bars], self.usd[:bars], self.settle[:bars],
            self.paid_at[early], self.paid_by[early], self.paid[early],
            self.pockets, self.opening, self.coming, self.balances[:bars], self.worth[: 1 + bars],
            self.assets, self.coins, self.prices[: 1 + bars],
        )  # fmt: skip

    def book(self, rails: Rails, desk: Desk, ledger: Ledger) -> None:
        """Write the flows into a ledger, and put the balances at the last bar into the desk."""
        times = rails.times[self.first + 1 : self.first + 1 + self.bars]
        nothing = np.zeros((self.bars, len(self.assets)))
        outside: list[Where] = [("", asset, asset) for asset in self.assets]
        ledger.book_many(times, "holding", outside, nothing, self.coins * np.diff(self.prices, axis=0))
        before = np.vstack([self.opening, self.balances[:-1]]) + self.coming
        kept: list[Where] = [(venue, currency, currency) for venue, currency in self.pockets]
        ledger.book_many(
            times, "revaluation", kept, np.zeros_like(before), before * np.diff(self.worth, axis=0)
        )
        currency = [desk.listed[place].settlement_currency for place in self.places]
        perps: list[Where] = [(*place, c) for place, c in zip(self.places, currency, strict=True)]
        ledger.book_many(times, "price", perps, self.gains, self.gains * self.settle)
        self._book_funding(times, perps, ledger)
        for pocket, units in zip(self.pockets, self.balances[-1].tolist(), strict=True):
            if units or pocket in desk.balances:
                desk.balances[pocket] = units

    def _book_funding(self, times: NDArray[np.datetime64], perps: list[Where], ledger: Ledger) -> None:
        rest = np.arange(len(self.paid))
        while rest.size:
            # Two settlements of one perp at one bar are two rows.
            _, once = np.unique(self.paid_at[rest] * len(perps) + self.paid_by[rest], return_index=True)
            t, k, units = (values[rest[once]] for values in (self.paid_at, self.paid_by, self.paid))
            amount = np.zeros((self.bars, len(perps)))
            amount[t, k] = units
            ledger.book_many(times, "funding", perps, amount, amount * self.settle)
            rest = np.delete(rest, once)


def hold(rails: Rails, desk: Desk, first: int, last: int) -> Stretch:
    """What bars in (first, last] do to a desk; a future that expires there must do so at the last of them."""
    places = list(desk.contracts)
    instruments = [desk.listed[place] for place in places]
    held = np.array([desk.contracts[place] for place in places])
    rail = rails.of_all(instruments, first, last)
    gains, usd = held * rail.gain[1:], held * rail.usd[1:]
    for k, instrument in enumerate(instruments):
        row = expiry_row(rails.tape.times, instrument)
        if row is not None and row <= last:
            gains[-1, k] = held[k] * _settled(rails, desk, places[k], last)
            usd[-1, k] = 0.0
    coming = _coming(desk)
    settled_in = [(p[0], i.settlement_currency) for p, i in zip(places, instruments, strict=True)]
    pockets = list(dict.fromkeys([*desk.balances, *coming, *settled_in]))
    opening = np.array([desk.balances.get(pocket, 0.0) for pocket in pockets])
    flow = np.zeros((last - first, len(pockets)))
    into = np.array([pockets.index(pocket) for pocket in settled_in], dtype=np.int64)
    np.add.at(flow.T, into, gains.T)
    paid_at, paid_by, paid = _funding(rails, desk, places, usd, rail.settle[1:], first)
    np.add.at(flow, (paid_at, into[paid_by]), paid)
    owned = desk.owned
    assets = list(owned)
    return Stretch(
        first, places, gains, usd, rail.settle[1:], paid_at, paid_by, paid,
        pockets, opening, np.array([coming.get(pocket, 0.0) for pocket in pockets]),
        opening + np.cumsum(flow, axis=0), rails.prices([c for _, c in pockets], first, last),
        assets, np.array([owned[a] for a in assets]), rails.prices(assets, first, last),
    )  # fmt: skip


def _coming(desk: Desk) -> dict[Place, float]:
    found: dict[Place, float] = {}
    for _, pocket, units in desk.incoming:
        found[pocket] = found.get(pocket, 0.0) + units
    return found


def _settled(rails: Rails, desk: Desk, place: Place, row: int) -> float:
    """P&L of one contract that expires at a bar, since the bar before, in its settlement currency."""
    from models.contracts import unrealised_pnl_settle

    i, tape = desk.listed[place], rails.tape
    coins = tape.price_of(row, i.asset) * i.contract.coins_per_unit
    quote = tape.price_of(row, i.index_currency)
    gain = unrealised_pnl_settle(i.contract, 1.0, tape.mark_of(row - 1, i.exchange, i.symbol), coins / quote)
    return gain * quote / tape.price_of(row, i.settlement_currency) if i.contract.kind == "linear" else gain


def _funding(
    rails: Rails, desk: Desk, places: list[Place], usd: Matrix, settle: Matrix, first: int
) -> tuple[Index, Index, Vector]:
    """Payments by bar of the stretch (E,) and position (E,), in units (E,); longs pay if rate > 0.

    A rate is of the notional at the mark: an inverse contract is so many coins there.
    """
    paid, listed = rails.paid.between(first, first + len(usd)), [desk.listed[place] for place in places]
    keys = np.array([rails.tape.keys[i.exchange, i.symbol] for i in listed], dtype=np.int64)
    event, position = np.nonzero(paid.key[:, np.newaxis] == keys[np.newaxis])
    bar = paid.bar[event] - first - 1
    unit = settle[bar, position]
    units_of_base = np.array([i.contract.coins_per_unit for i in listed], dtype=float)
    inverse = np.array([i.contract.kind == "inverse" for i in listed], dtype=np.bool_)[position]
    marks = rails.tape.marks[first + 1 + bar, keys[position]] / units_of_base[position]
    unit[inverse] = marks[inverse]
    return bar, position, -usd[bar, position] * paid.rate[event] / unit
