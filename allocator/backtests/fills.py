"""Orders on their way, and how they fill: at the marks of their bar, as far as their venue's margin goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from allocator import evaluate, margin
from allocator.backtests.desk import Desk, Place
from allocator.backtests.ledger import Kind, Ledger
from allocator.backtests.rails import Rails
from allocator.backtests.walks import Filled, Refusal, Rejected
from allocator.market.types import Decision, Market
from allocator.scenario.load import LoadedScenario
from models.arrays import BoolVector, Vector
from models.contracts import round_each_to_lot

_ROUNDING = 1e-9  # of what a venue asks for or allows: no want of margin


@dataclass(frozen=True)
class Pending:
    """Decided trades in contracts, to be filled from `due` on at the costs of the decision's `market`."""

    decided: pd.Timestamp
    due: pd.Timestamp
    market: Market
    contracts: Mapping[Place, float]

    def without(self, venue: str) -> Pending:
        """Those of other venues: who liquidates an account cancels its orders."""
        kept = {place: trade for place, trade in self.contracts.items() if place[0] != venue}
        return replace(self, contracts=kept)


def ordered(loaded: LoadedScenario, rails: Rails, row: int, market: Market, decision: Decision) -> Pending:
    """The trades of a decision in whole lots, and when they fill."""
    times = rails.tape.times
    now, delay = times[row], pd.Timedelta(hours=loaded.scenario.horizons.execution)
    apart = times[row + 1] - now if row + 1 < len(times) else delay
    wanted = (decision.positions - market.positions.usd) / market.prices.usd_per_contract
    lots = round_each_to_lot(wanted, [i.contract.lot_contracts for i in market.instruments], "nearest")
    contracts = {
        (i.venue, i.symbol): float(trade) for i, trade in zip(market.instruments, lots, strict=True) if trade
    }
    return Pending(now, now + delay if delay >= apart else now, market, contracts)


def fill(
    pending: Pending, rails: Rails, row: int, desk: Desk, ledger: Ledger
) -> tuple[Pending | None, Filled | None, list[Rejected]]:
    """Fill orders at this bar's marks for fee, spread and impact.

    Returns what still waits for a new mark (None where nothing does), what filled (None where all waits), and
    what its venues refused. A decision without orders fills once, with nothing.
    """
    market, tape = pending.market, rails.tape
    now, places = tape.times[row], [(i.venue, i.symbol) for i in market.instruments]
    columns = [tape.keys[i.exchange, i.symbol] for i in market.instruments]
    wanted = np.array([pending.contracts.get(place, 0.0) for place in places])
    expired = np.array([i.expiry is not None and now >= pd.Timestamp(i.expiry) for i in market.instruments])
    contracts = np.where(tape.fresh[row, columns] | expired, wanted, 0.0)
    rest = {places[k]: float(wanted[k]) for k in np.flatnonzero(wanted != contracts).tolist()}
    left = replace(pending, contracts=rest) if rest else None
    if left is not None and not contracts.any():
        return left, None, []
    if not pending.contracts:
        return None, Filled(pending.decided, now, 0.0, 0.0), []
    per_contract = rails.of_all(list(market.instruments), row, row).usd[0]
    refused = _refused(market, contracts, per_contract, expired, rails, row, desk)
    trade = np.where([not why for why in refused], contracts * per_contract, 0.0)
    costs = evaluate.trade_costs(market, trade)
    for k in np.flatnonzero(trade).tolist():
        place, instrument = places[k], market.instruments[k]
        desk.contracts[place] = desk.contracts.get(place, 0.0) + float(contracts[k])
        if abs(desk.contracts[place]) < 0.5 * float(instrument.contract.lot_contracts):
            desk.contracts.pop(place)
        price = tape.price_of(row, instrument.settlement_currency)
        paid: list[tuple[Kind, Vector]] = [
            ("fee", costs.fees), ("slippage", costs.slippage), ("impact", costs.impact)
        ]  # fmt: skip
        for kind, cost in paid:
            desk.receive(tape, row, ledger, place, -float(cost[k]) / price, kind)
    rejected = [
        Rejected(now, *places[k], float(contracts[k]), float(contracts[k] * per_contract[k]), why)
        for k, why in enumerate(refused)
        if why and contracts[k]
    ]
    filled = Filled(pending.decided, now, -float(costs.total.sum()), float(np.abs(trade).sum()))
    return left, filled, rejected


def _refused(
    market: Market,
    contracts: Vector,
    per_contract: Vector,
    expired: BoolVector,
    rails: Rails,
    row: int,
    desk: Desk,
) -> list[Refusal]:
    """Why their venues refuse orders (n,), "" where they take them.

    Nobody trades a future that has ``expired`` (n,), no position grows beyond what its ``leverage`` allows.
    After an order an account must cover the larger of its initial and its maintenance ``margin``, unless the
    order asks for no more than before. Where all orders of a venue together do not pass, those that shrink a
    position come first, together or else one by one; then one by one the others.
    """
    held = np.array([desk.contracts.get((i.venue, i.symbol), 0.0) for i in market.instruments])
    before, after = held * per_contract, (held + contracts) * per_contract
    largest = np.array([i.largest_usd for i in market.instruments])
    shrinks = np.abs(after) <= np.abs(before)
    allowed = (np.abs(after) <= largest * (1.0 + _ROUNDING)) | shrinks
    found: list[Refusal] = [
        "expired" if gone else "" if fits else "leverage"
        for gone, fits in zip(expired.tolist(), allowed.tolist(), strict=True)
    ]
    wanted = allowed & ~expired & (contracts != 0.0)
    purse, taken = _Purse.of(market, rails, row, desk), wanted.copy()

    def passes(without: BoolVector, with_them: BoolVector) -> BoolVector:
        end = np.where(with_them, after, before)
        asked, covered = purse.asks(end), purse.equity(end - before)
        if (asked <= covered).all():
            return np.ones(len(asked), dtype=np.bool_)
        no_more = asked <= purse.asks(np.where(without, after, before)) * (1.0 + _ROUNDING)
        return np.asarray((asked <= covered) | no_more)

    none = np.zeros(len(wanted), dtype=np.bool_)
    for venue in np.flatnonzero(~passes(none, wanted)).tolist():
        mine = (market.venue_of == venue) & wanted
        taken &= ~mine
        rest = mine
        if bool(passes(taken, taken | (mine & shrinks))[venue]):
            taken, rest = taken | (mine & shrinks), mine & ~shrinks
        for k in sorted(np.flatnonzero(rest).tolist(), key=lambda k: not shrinks[k]):
            one = taken.copy()
            one[k] = True
            taken = one if bool(passes(taken, one)[venue]) else taken
    for k in np.flatnonzero(wanted & ~taken).tolist():
        found[k] = "margin"
    return found


@dataclass(frozen=True)
class _Purse:
    """What accounts own and owe at a bar, positions at its marks: P&L up to them is in the balances (P,)."""

    market: Market
    balances: Vector

    @classmethod
    def of(cls, market: Market, rails: Rails, row: int, desk: Desk) -> _Purse:
        units = np.array([desk.balances.get((p.venue, p.currency), 0.0) for p in market.pockets])
        return cls(market, units * rails.prices([p.currency for p in market.pockets], row, row)[0])

    def asks(self, positions: Vector) -> Vector:
        """Margin (V,) that an order must leave covered."""
        now = margin.Shock.common_move(self.market, 0.0)
        maintenance = margin.maintenance(self.market, positions, now, "true")
        return np.maximum(margin.initial(self.market, positions, "true"), maintenance)

    def equity(self, trades: Vector) -> Vector:
        """Equity of each account (V,) once these trades are paid."""
        costs = evaluate.trade_costs(self.market, trades)
        paid = np.bincount(self.market.pocket_of, weights=costs.total, minlength=len(self.balances))
        now, nothing = margin.Shock.common_move(self.market, 0.0), np.zeros(len(trades))
        return np.asarray(margin.equity(self.market, nothing, self.balances - paid, now))
