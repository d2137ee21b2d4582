"""One decision of a backtest: the market as it was known, and the strategies that choose on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocator.backtests.desk import Desk
from allocator.backtests.known import Records
from allocator.backtests.tape import Tape
from allocator.errors import AuditFailed
from allocator.market.build import assemble
from allocator.market.observed import Observed, Row, State
from allocator.market.types import Decision, Market
from allocator.orders.lots import round_to_lots
from allocator.scenario.load import LoadedScenario
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
    known = records.at(row, loaded)
    state = State(
        _holdings(desk) + records.announced(known.newest.as_of),
        _positions(loaded, tape, row, desk),
        _collateral(loaded, tape, row, desk),
    )
    return assemble(known.loaded, Observed(known.newest, records.history, state), records.memory)


def _positions(loaded: LoadedScenario, tape: Tape, row: int, desk: Desk) -> list[Row]:
    found: list[Row] = []
    for (venue, symbol), held in desk.contracts.items():
        account = loaded.scenario.venues[venue]
        exchange = account.exchange or venue
        found.append(
            {
                "venue": exchange,
                "account": account.account,
                "symbol": symbol,
                "contracts": held,
                "entry_price": tape.mark_of(row, exchange, symbol),
                "open_buy_contracts": 0.0,
                "open_sell_contracts": 0.0,
            }
        )
    return found


def _collateral(loaded: LoadedScenario, tape: Tape, row: int, desk: Desk) -> list[Row]:
    """What each account owns; one that has lost everything counts as empty.

    With its debt in the program no margin limit could hold there, and no hedge be found anywhere else.
    """
    venues = loaded.scenario.venues
    worth: dict[str, float] = {}
    for (venue, currency), units in desk.balances.items():
        worth[venue] = worth.get(venue, 0.0) + units * tape.price_of(row, currency)
    trading = {venue for venue, _ in desk.contracts}
    lost = {venue for venue, usd in worth.items() if usd <= 0.0 and venue not in trading}
    return [
        {
            "venue": venues[venue].exchange or venue,
            "account": venues[venue].account,
            "currency": currency,
            "coins": 0.0 if venue in lost else units,
            "withdrawable_coins": 0.0 if venue in lost else max(units, 0.0),
        }
        for (venue, currency), units in desk.balances.items()
    ]


def _holdings(desk: Desk) -> list[Row]:
    """Coins held outside as spot."""
    return [
        {
            "name": f"{asset} held",
            "kind": "spot",
            "asset": asset,
            "coins": coins,
            "confidence": 1.0,
            "expected_time": None,
            "locked_until": None,
        }
        for asset, coins in desk.holdings.items()
    ]


def allocator(moment: Moment) -> Decision:
    """The program, audited and rounded to whole lots."""
    from allocator.sweeps.fast import Answer, Solver

    market = moment.market
    answer = (moment.solver or Solver()).solve([market])[0]
    if not isinstance(answer, Answer):
        raise answer
    decision, rules = answer.solution.decision, TradingRules.of(market, moment.loaded.scenario.orders)
    rounded = round_to_lots(market, decision, rules)
    if not rounded.check.passed:
        from allocator.program.confined import Confined  # slow: solves again around the lots

        rounded = round_to_lots(market, decision, rules, Confined)
    if not rounded.check.passed:
        raise AuditFailed(f"no whole-lot rounding keeps {rounded.check.worst_limit}")
    return rounded.decision


def stay(market: Market) -> Decision:
    """Keep every position, move nothing."""
    return Decision(market.positions.usd.copy(), np.zeros(len(market.transfers.routes)))


def only(market: Market, positions: Vector) -> Decision:
    """These positions in USD (n,), no transfers."""
    return Decision(positions, np.zeros(len(market.transfers.routes)))
