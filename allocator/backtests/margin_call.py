"""The venues' margin between decisions: equity against maintenance margin at every bar, and liquidation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator import margin
from allocator.backtests.desk import Desk
from allocator.backtests.ledger import Ledger
from allocator.backtests.tape import Tape
from allocator.market.types import Market
from allocator.scenario.load import LoadedScenario
from models.arrays import Vector


@dataclass(frozen=True)
class VenueBar:
    """A venue at a bar, in USD."""

    time: pd.Timestamp
    venue: str
    equity_usd: float
    maintenance_margin_usd: float


def margin_state(market: Market, tape: Tape, row: int, desk: Desk) -> tuple[Vector, Vector]:
    """Equity and maintenance margin (V,) in USD at a bar's marks, by the schedules of the last market.

    Schedules stated in USD at the last decision's marks scale with price as stresses scale them: a linear
    contract's notional, an inverse contract's deductions.
    """
    then, now = np.zeros(len(market.instruments)), np.ones(len(market.instruments))
    for k, i in enumerate(market.instruments):
        held = desk.contracts.get((i.venue, i.symbol), 0.0)
        then[k] = held * market.prices.usd_per_contract[k]
        quote = tape.price_of(row, i.index_currency) / market.prices.quote_usd[k]
        now[k] = tape.mark_of(row, i.exchange, i.symbol) / market.prices.mark[k] * quote
    inverse = np.array([i.contract.kind == "inverse" for i in market.instruments])
    notional = np.where(inverse, 1.0, now)
    shock = margin.Shock(
        pnl=np.zeros(len(now)),
        size_loss=np.zeros(len(now)),
        notional=notional,
        deduction=np.where(market.scheme.whole_position, notional, np.where(inverse, now, 1.0)),
        bend=np.where(inverse, 1 / now, now),
        pocket_factor=np.ones(len(market.pockets)),
        haircut=market.collateral.haircut,
    )
    balances = np.array(
        [
            desk.balances.get((p.venue, p.currency), 0.0) * tape.price_of(row, p.currency)
            for p in market.pockets
        ]
    )
    # P&L is already in the balances: positions add nothing to equity.
    return (
        margin.equity(market, np.zeros(len(now)), balances, shock),
        margin.maintenance(market, then, shock, "true"),
    )


def liquidate(
    loaded: LoadedScenario, market: Market, tape: Tape, row: int, desk: Desk, ledger: Ledger, venue: str
) -> None:
    """Close everything on a venue at the mark, for the venue's liquidation penalty."""
    penalties = loaded.scenario.venues[venue].liquidation_penalty
    for place, usd in desk.usd(tape, row).items():
        if place[0] == venue:
            instrument = desk.listed[place]
            rate = penalties.get(instrument.asset, penalties.get("all", 0.0))
            price = tape.price_of(row, instrument.settlement_currency)
            desk.receive(tape, row, ledger, place, -rate * abs(usd) / price, "liquidation")
            desk.contracts.pop(place)
