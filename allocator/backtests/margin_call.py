"""The venues' margin between decisions: equity against maintenance margin at every bar, and liquidation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator import margin
from allocator.backtests.desk import Desk, Place
from allocator.backtests.ledger import Ledger
from allocator.backtests.rails import Rails
from allocator.market.types import Index, Market, Matrix
from allocator.scenario.load import LoadedScenario
from models.arrays import BoolVector, Vector


@dataclass(frozen=True)
class VenueBar:
    """A venue at a bar, in USD; `gross_usd` is the notional of all its positions."""

    time: pd.Timestamp
    venue: str
    equity_usd: float
    maintenance_margin_usd: float
    gross_usd: float

    @property
    def distance(self) -> float:
        """Share of its gross notional that the account may lose before it is liquidated."""
        left = self.equity_usd - self.maintenance_margin_usd
        return left / self.gross_usd if self.gross_usd > 0 else float("inf")


@dataclass(frozen=True)
class MarginPath:
    """Equity, maintenance margin and gross (V, T) in USD, bar by bar; `held` (V,) says who has positions."""

    accounts: tuple[str, ...]
    held: BoolVector
    equity: Matrix
    required: Matrix
    gross: Matrix

    @property
    def called(self) -> BoolVector:
        """Whether any account is below its maintenance margin at each bar (T,)."""
        return np.asarray(((self.equity < self.required) & self.held[:, np.newaxis]).any(axis=0))

    def up_to(self, bars: int) -> MarginPath:
        """The first bars of it alone."""
        parts = (part[:, :bars] for part in (self.equity, self.required, self.gross))
        return MarginPath(self.accounts, self.held, *parts)

    def bars(self, times: pd.DatetimeIndex, until: int) -> list[VenueBar]:
        """Each account with positions at each of the first `until` bars."""
        found = []
        held = np.flatnonzero(self.held).tolist()
        columns = [part.tolist() for part in (self.equity, self.required, self.gross)]
        for t, time in enumerate(times[:until]):
            found += [VenueBar(time, self.accounts[v], *(column[v][t] for column in columns)) for v in held]
        return found


def margin_path(
    market: Market,
    rails: Rails,
    desk: Desk,
    first: int,
    balances: Mapping[Place, Vector],
    extremes: bool,
) -> MarginPath:
    """Margin at bars from `first` on, as many as `balances` (T,) in units by pocket, positions unchanged.

    At `extremes`, every coin of an account is taken at the end of the bar that hurts it most, all coins at
    once: its contracts at their highest where the account is net short of it, else at their lowest. Joint
    extremes are not recorded, but legs of one coin rise and fall together.
    Coins that margin an inverse contract move with its mark; other collateral is taken at the close.
    Schedules stated in USD at the last decision's marks scale with price as stresses scale them: a linear
    contract's notional, an inverse contract's deductions.
    """
    bars = max((len(units) for units in balances.values()), default=1)
    last = first + bars - 1
    held = np.array([desk.contracts.get((i.venue, i.symbol), 0.0) for i in market.instruments])
    then = held * market.prices.usd_per_contract
    keys = [rails.tape.keys[i.exchange, i.symbol] for i in market.instruments]
    quotes = rails.prices([i.index_currency for i in market.instruments], first, last)
    marks = rails.tape.marks[first : last + 1, keys]
    close = (marks / market.prices.mark * (quotes / market.prices.quote_usd)).T
    worst = np.ones(close.shape)
    if extremes and rails.bars:
        rail = rails.of_all(list(market.instruments), first, last)
        short = short_of_its_coin(then, market.venue_of, market.asset_of)
        worst = np.where(short[:, np.newaxis], rail.up.T, rail.down.T)
        worst[held == 0] = 1.0
    now = close * worst
    inverse = np.array([i.contract.kind == "inverse" for i in market.instruments])[:, np.newaxis]
    notional, whole = np.where(inverse, 1.0, now), market.scheme.whole_position[:, np.newaxis]
    shock = margin.Shock(
        pnl=worst - 1.0,
        size_loss=np.zeros(len(now)),
        notional=notional,
        deduction=np.where(whole, notional, np.where(inverse, now, 1.0)),
        bend=np.where(inverse, 1 / now, now),
        pocket_factor=_coins_at(market, then, worst),
        haircut=market.collateral.haircut,
    )
    prices = rails.prices([p.currency for p in market.pockets], first, last).T
    nothing = np.zeros(bars)
    worth = np.array([balances.get((p.venue, p.currency), nothing) for p in market.pockets]) * prices
    path = np.repeat(then[:, np.newaxis], bars, axis=1)
    names = tuple(account.name for account in market.accounts)
    busy = {venue for venue, _ in desk.contracts}
    return MarginPath(
        names,
        np.array([name in busy for name in names]),
        # P&L up to the close is already in the balances: positions add what comes beyond it.
        margin.equity(market, path * np.where(inverse, 1.0, close), worth, shock),
        margin.maintenance(market, path, shock, "true"),
        _by_venue(market, np.abs(path) * notional),
    )


def short_of_its_coin(usd: Vector, accounts: Index, coins: Index) -> BoolVector:
    """Whether the account of each position (n,) is net short of its coin: a rise of it hurts."""
    _, group = np.unique(np.stack([accounts, coins]), axis=1, return_inverse=True)
    net = np.bincount(group.ravel(), weights=usd)
    return np.asarray(net[group.ravel()] < 0.0)


def _coins_at(market: Market, then: Vector, worst: Matrix) -> Matrix:
    """Price of each pocket's currency over its close (P, T), by the largest inverse contract it margins."""
    found = np.ones((len(market.pockets), worst.shape[1]))
    for k in np.argsort(np.abs(then), kind="stable"):
        if then[k] and market.instruments[k].contract.kind == "inverse":
            found[market.pocket_of[k]] = worst[k]
    return found


def _by_venue(market: Market, values: Matrix) -> Matrix:
    totals = np.zeros((len(market.accounts), values.shape[1]))
    np.add.at(totals, market.venue_of, values)
    return totals


def liquidate(
    loaded: LoadedScenario, rails: Rails, row: int, desk: Desk, ledger: Ledger, venue: str, extremes: bool
) -> None:
    """Close everything on a venue for its liquidation penalty: at the mark, or at the bar's `extremes`.

    What the price lost between close and extreme is booked with the penalty, in the settlement currency.
    """
    penalties, tape = loaded.scenario.venues[venue].liquidation_penalty, rails.tape
    lost = {place: usd for place, usd in desk.usd(tape, row).items() if place[0] == venue}
    net: dict[str, float] = {}
    for place, usd in lost.items():
        asset = desk.listed[place].asset
        net[asset] = net.get(asset, 0.0) + usd
    for place, usd in lost.items():
        instrument = desk.listed[place]
        linear, rail = instrument.contract.kind == "linear", rails.of(instrument)
        worst = float((rail.up if net[instrument.asset] < 0 else rail.down)[row]) if extremes else 1.0
        rate = penalties.get(instrument.asset, penalties.get("all", 0.0))
        # In coins of the close an inverse contract gains x(1 − 1/e), and its notional x buys 1/e of them.
        gain = usd * (worst - 1.0) if linear else usd * (1.0 - 1.0 / worst)
        penalty = rate * abs(usd) * (worst if linear else 1.0 / worst)
        price = tape.price_of(row, instrument.settlement_currency)
        desk.receive(tape, row, ledger, place, (gain - penalty) / price, "liquidation")
        desk.contracts.pop(place)
