"""One decision of a backtest: the market as it was known, and the strategies that choose on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from allocator.backtests.desk import Desk
from allocator.backtests.known import Records
from allocator.backtests.tape import Tape
from allocator.errors import AuditFailed
from allocator.market.build import build_market
from allocator.market.types import Decision, Market
from allocator.orders.lots import round_to_lots
from allocator.scenario.load import LoadedScenario
from allocator.snapshot.columns import TABLES
from allocator.trading import TradingRules
from models.arrays import Vector

if TYPE_CHECKING:
    from allocator.sweeps.fast import Solver


@dataclass(frozen=True)
class Moment:
    """What a strategy may look at: the scenario, the tape up to `row`, and the market built from it.

    `tape` holds the future too; only a strategy that says so (perfect foresight) may read beyond `row`.
    `solver` keeps compiled programs from one decision to the next; without one each is compiled anew.
    """

    loaded: LoadedScenario
    tape: Tape
    row: int
    market: Market
    solver: Solver | None = None


# Positions in USD (n,) and transfers (R,) wanted at a moment; raises `HedgeError` where there is no answer.
Strategy = Callable[[Moment], Decision]


def market_at(records: Records, row: int, desk: Desk, scenario: LoadedScenario | None = None) -> Market:
    """The market at a bar, from what was known then and what the desk holds. Raises `DataError`.

    `scenario` takes the place of the records' own: other settings on the same tape.
    """
    loaded, tape = scenario or records.loaded, records.tape
    now, known = tape.times[row].to_pydatetime(), records.at(row, loaded)
    state = {
        "positions": _positions(loaded, tape, row, desk, now),
        "collateral": _collateral(loaded, desk, now),
        "holdings": _holdings(tape.snapshot.tables["holdings"], desk, now),
    }
    return build_market(known.loaded, known.snapshot, None, records.memory, records.history, state)


def _frame(name: str, rows: list[tuple[object, ...]]) -> pd.DataFrame:
    names, most = TABLES[name].names, max((len(row) for row in rows), default=0)
    columns = {
        column: pd.Series([row[k] if k < most else None for row in rows], dtype=object)
        for k, column in enumerate(names)
    }
    columns["time"] = pd.Series([row[0] for row in rows], dtype="datetime64[us, UTC]")
    return pd.DataFrame(columns)


def _positions(loaded: LoadedScenario, tape: Tape, row: int, desk: Desk, now: datetime) -> pd.DataFrame:
    venues = loaded.scenario.venues
    rows: list[tuple[object, ...]] = []
    for (venue, symbol), held in desk.contracts.items():
        exchange = venues[venue].exchange or venue
        mark = tape.mark_of(row, exchange, symbol)
        rows.append((now, exchange, venues[venue].account, symbol, held, mark, 0.0, 0.0))
    return _frame("positions", rows)


def _collateral(loaded: LoadedScenario, desk: Desk, now: datetime) -> pd.DataFrame:
    venues = loaded.scenario.venues
    return _frame(
        "collateral",
        [
            (now, venues[venue].exchange or venue, venues[venue].account, currency, units, max(units, 0.0))
            for (venue, currency), units in desk.balances.items()
        ],
    )


def _holdings(stated: pd.DataFrame, desk: Desk, now: datetime) -> pd.DataFrame:
    """Coins held outside as spot; trades still to come that were known by now."""
    spot = _frame(
        "holdings",
        [(now, f"{asset} held", "spot", asset, coins, 1.0) for asset, coins in desk.holdings.items()],
    )
    # A trade to come is known from the time of its row on.
    ahead = stated[(stated["kind"] == "anticipated") & (stated["time"] <= now)]
    ahead = ahead[ahead["expected_time"] > now].assign(time=pd.Timestamp(now))
    if not len(ahead):
        return spot
    found = pd.concat([spot, ahead], ignore_index=True)
    times = {name: pd.to_datetime(found[name], utc=True) for name in ("time", "expected_time")}
    return found.assign(**times)


def allocator(moment: Moment) -> Decision:
    """The program, audited and rounded to whole lots."""
    from allocator.sweeps.fast import Answer, Solver

    market = moment.market
    answer = (moment.solver or Solver()).solve([market])[0]
    if not isinstance(answer, Answer):
        raise answer
    rounded = round_to_lots(
        market, answer.solution.decision, TradingRules.of(market, moment.loaded.scenario.orders)
    )
    if not rounded.check.passed:
        raise AuditFailed(f"no whole-lot rounding keeps {rounded.check.worst_limit}")
    return rounded.decision


def stay(market: Market) -> Decision:
    """Keep every position, move nothing."""
    return Decision(market.positions.usd.copy(), np.zeros(len(market.transfers.routes)))


def only(market: Market, positions: Vector) -> Decision:
    """These positions in USD (n,), no transfers."""
    return Decision(positions, np.zeros(len(market.transfers.routes)))
