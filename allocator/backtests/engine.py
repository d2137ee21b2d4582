"""The walk: time passes bar by bar, venues settle and check margin, the strategy decides, orders fill.

At each bar, in this order: prices settle into balances, funding since the last bar is paid, margin is checked
at the bar's extremes where these were recorded, expired futures are gone, transfers arrive, trades of the
book are agreed or done, orders decided earlier fill as far as margin goes, margin is checked on the close
where there are no extremes, then the strategy may decide on what is known by now. A venue that finds an
account below its maintenance margin closes all of it and cancels its orders; a loss beyond the collateral
stays owed.

Orders fill at the first bar that is no earlier than `horizons.execution` after the decision, or at the
decision's own bar where bars are farther apart than that, and that has a new mark of theirs. A new decision
takes the place of orders that are still to fill. Where the data of a decision are missing, or it has no
answer, everything stays as it is, orders under way too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from allocator import evaluate, margin
from allocator.backtests.book import announced, begin, happen
from allocator.backtests.decide import Moment, Strategy, market_at, stay
from allocator.backtests.desk import Desk, Place
from allocator.backtests.events import Alarm, Bars
from allocator.backtests.fills import Pending, fill, ordered
from allocator.backtests.known import Records
from allocator.backtests.ledger import Ledger
from allocator.backtests.margin_call import MarginPath, liquidate, margin_path
from allocator.backtests.rails import expiry_row
from allocator.backtests.recording import bar_now, bars_of
from allocator.backtests.stretch import Stretch, hold
from allocator.backtests.tape import Tape
from allocator.backtests.walks import Block, Choice, Walk
from allocator.errors import DataError, HedgeError
from allocator.market.types import Decision, Market
from allocator.scenario.load import LoadedScenario
from allocator.trading import made
from models.arrays import Vector

log = logging.getLogger(__name__)
# The scenario by which a desk decides at a time.
Settings = Callable[[pd.Timestamp], LoadedScenario]


@dataclass(frozen=True)
class Span:
    """When to walk: bars in [start, end], a decision every `every` from the first bar on."""

    start: pd.Timestamp
    end: pd.Timestamp
    every: pd.Timedelta


def _silent(bars: int) -> None:
    """No progress to tell."""


def walk(
    loaded: LoadedScenario,
    tape: Tape,
    span: Span,
    name: str,
    strategy: Strategy,
    progress: Callable[[int], None] = _silent,
) -> Walk:
    """Walk one strategy over the tape. Raises `DataError` where a decision's data are not there."""
    return walk_all(loaded, tape, span, {name: strategy}, {name: progress})[0]


def walk_all(
    loaded: LoadedScenario,
    tape: Tape,
    span: Span,
    strategies: Mapping[str, Strategy],
    progress: Mapping[str, Callable[[int], None]] | None = None,
) -> list[Walk]:
    """Walk many strategies side by side: what was known at a bar is put together once for all of them.

    `progress` is called with a number of bars walked, by name.
    """
    records = Records(loaded, tape)
    told = progress or {}
    return _together(
        [_Walker(records, span, name, choose, told.get(name, _silent)) for name, choose in strategies.items()]
    )


def walk_settings(
    records: Records, span: Span, strategy: Strategy, settings: Mapping[str, Settings]
) -> list[Walk]:
    """Walk one strategy under several settings side by side; they may change from decision to decision."""
    return _together([_Walker(records, span, name, strategy, _silent, by) for name, by in settings.items()])


def _together(walkers: list[_Walker]) -> list[Walk]:
    while behind := [walker for walker in walkers if not walker.done]:
        min(behind, key=lambda walker: walker.row).advance()
    return [walker.found for walker in walkers]


class _Walker:
    """One desk on its way: at `row`, everything of that bar has happened."""

    def __init__(
        self,
        records: Records,
        span: Span,
        name: str,
        strategy: Strategy,
        progress: Callable[[int], None],
        settings: Settings | None = None,
    ) -> None:
        tape = records.tape
        self.settings = settings or (lambda _: records.loaded)
        self.records, self.tape, self.span, self.strategy = records, tape, span, strategy
        self.progress, self.found = progress, Walk(name)
        self.row = int(tape.times.searchsorted(span.start, side="left"))
        self.last = int(tape.times.searchsorted(span.end, side="right")) - 1
        self.desk, self.market = begin(records, self.row)
        self.ahead = announced(tape.snapshot.tables["holdings"], tape.times[self.row])
        self.orders: Pending | None = None
        self.next_decision = tape.times[self.row]
        events = records.loaded.scenario.backtest.events
        self.alarm = None if events is None else Alarm(events)
        self.found.opening_usd = self.desk.wealth(tape, self.row)
        self.found.opening = self.desk.units()
        self._at_bar()
        progress(1)

    @property
    def done(self) -> bool:
        """Whether the last bar is behind."""
        return self.row >= self.last

    def advance(self) -> None:
        """On to the next bar at which more happens than time passing."""
        start = self.row
        held = hold(self.records.rails, self.desk, start, self._next_stop())
        held = self._pass(held)
        held.book(self.records.rails, self.desk, self.found.ledger)
        self.row = start + held.bars
        self._at_bar()
        self.progress(held.bars)

    def _next_stop(self) -> int:
        """The next bar with a decision, a fill, an arrival, an announced trade or an expiry, or the last."""
        times = [self.next_decision, *(i[0] for i in self.desk.incoming)]
        times += [trade.known for trade in self.ahead] + [trade.due for trade in self.desk.agreed]
        if self.orders is not None:
            times.append(self.orders.due)
        rows = [int(self.tape.times.searchsorted(time, side="left")) for time in times]
        expiries = (expiry_row(self.tape.times, self.desk.listed[place]) for place in self.desk.contracts)
        rows += [row for row in expiries if row is not None]
        return min([max(row, self.row + 1) for row in rows] + [self.last])

    def _pass(self, held: Stretch) -> Stretch:
        """The stretch up to the first margin call or event; the bars before its last are recorded here."""
        if held.bars == 1:
            return held
        rails, before = self.records.rails, held.bars - 1
        path = self._margin(held.first + 1, {p: held.balances[:-1, k] for k, p in enumerate(held.pockets)})
        if path is not None and path.called.any():
            before = int(np.argmax(path.called))
        block = bars_of(held, self.desk, self.tape, self.market.assets)
        if self.alarm is not None:
            alarm = self.alarm.first(rails, self._bars(held.first, block, path))
            before = before if alarm is None else min(before, alarm)
        held, block = held.up_to(before + 1), block.up_to(before)
        if before:
            if path is not None:
                self.found.venues += path.bars(block.times, before)
            if self.alarm is not None:
                margin = None if path is None else path.up_to(before)
                self.alarm.see(rails, self._bars(held.first, block, margin), self._idle)
            self._record(block, held.wealth[:-1])
        return held

    def _at_bar(self) -> None:
        """What happens at a bar once its prices are settled."""
        row, now, desk, found = self.row, self.tape.times[self.row], self.desk, self.found
        within = bool(self.records.rails.bars) and bool(found.times)
        if within:
            # The bar's extremes came before its close, at which transfers have arrived and orders fill.
            self._check_margin(extremes=True)
        desk.settle(self.tape, row, found.ledger)
        self.ahead = happen(self.ahead, self.tape, row, desk, found.ledger)
        self._fill_due()
        if not within:
            self._check_margin(extremes=False)
        due = now >= self.next_decision
        causes = self._causes(due)
        if due:
            self._decide("clock")
            while self.next_decision <= now:  # after a gap the clock goes on, it does not catch up
                self.next_decision = self.next_decision + self.span.every
        elif causes:
            self._decide(", ".join(causes))
        self._record(*bar_now(self.records.rails, desk, row, self.market.assets))
        if self.done:
            found.closing = desk.units()

    def _fill_due(self) -> None:
        orders, found = self.orders, self.found
        if orders is None or self.tape.times[self.row] < orders.due:
            return
        self.orders, filled, rejected = fill(orders, self.records.rails, self.row, self.desk, found.ledger)
        if filled is not None:
            found.fills.append(filled)
        found.rejected += rejected

    def _causes(self, due: bool) -> list[str]:
        """The events of this bar that call for a decision, which none does while orders are under way.

        A decision that is `due` anyway heeds them all.
        """
        if self.alarm is None:
            return []
        block, _ = bar_now(self.records.rails, self.desk, self.row, self.market.assets)
        balances = {pocket: np.array([units]) for pocket, units in self.desk.balances.items()}
        # What filled at the close was not there at the bar's extremes.
        filled = any(each.time == self.tape.times[self.row] for each in self.found.fills[-1:])
        margin = self._margin(self.row, balances, extremes=not filled)
        bars = self._bars(self.row - 1, block, margin)
        return self.alarm.see(self.records.rails, bars, due or self._idle)

    @property
    def _idle(self) -> bool:
        """Whether no order is under way."""
        return self.orders is None or not self.orders.contracts

    def _margin(
        self, first: int, balances: Mapping[Place, Vector], extremes: bool = True
    ) -> MarginPath | None:
        if not self.desk.contracts:
            return None
        return margin_path(self.market, self.records.rails, self.desk, first, balances, extremes)

    def _decide(self, cause: str) -> None:
        records, tape, row, desk, found = self.records, self.tape, self.row, self.desk, self.found
        loaded = self.settings(tape.times[row])
        try:
            market = market_at(records, row, desk, loaded)
        except DataError as error:
            said = {choice.message for choice in found.choices}
            found.choices.append(_unanswered(tape.times[row], error, cause))
            if str(error) not in said:  # once is enough of what goes on for days
                log.warning("%s, %s: %s", tape.times[row], found.name, error)
            return
        self.market = market
        desk.listed |= {(i.venue, i.symbol): i for i in market.instruments}
        decision, choice = _decide(Moment(loaded, tape, row, market, records.solver), self.strategy)
        found.choices.append(replace(choice, cause=cause))
        if choice.status != "optimal":
            return  # orders under way, too, stay as they are
        self.orders = ordered(loaded, records.rails, row, market, decision)
        if cost := send(loaded, decision, market, tape, row, desk, found.ledger):
            found.sent_usd[tape.times[row]] = -cost
        self._fill_due()

    def _check_margin(self, extremes: bool) -> None:
        desk, found, row = self.desk, self.found, self.row
        path = self._margin(row, {p: np.array([units]) for p, units in desk.balances.items()}, extremes)
        if path is None:
            return
        for bar in path.bars(self.tape.times[row : row + 1], 1):
            found.venues.append(bar)
            if bar.equity_usd < bar.maintenance_margin_usd:
                found.liquidations.append(bar)
                loaded = self.records.loaded
                liquidate(loaded, self.records.rails, row, desk, found.ledger, bar.venue, extremes)
                self.orders = None if self.orders is None else self.orders.without(bar.venue)

    def _record(self, block: Block, wealth: Vector) -> None:
        found, desk = self.found, self.desk
        found.blocks.append(block)
        found.assets |= {place: desk.listed[place].asset for place in block.places}
        found.times += list(block.times)
        found.wealth += wealth.tolist()

    def _bars(self, first: int, block: Block, margin: MarginPath | None) -> Bars:
        places = [(self.desk.listed[place].exchange, place[1]) for place in block.places]
        return Bars(first, block.assets, block.delta, places, margin)


def _unanswered(now: pd.Timestamp, error: DataError, cause: str) -> Choice:
    """Without data there is no market to expect anything of."""
    unknown = float("nan")
    return Choice(now, error.status, str(error), unknown, unknown, 0.0, unknown, unknown, cause)


def _decide(moment: Moment, strategy: Strategy) -> tuple[Decision, Choice]:
    market, now = moment.market, moment.tape.times[moment.row]
    status, message = "optimal", ""
    try:
        decision = strategy(moment)
    except HedgeError as error:
        # No answer: keep what there is, and say so.
        decision, status, message = stay(market), error.status, str(error)
        log.warning("%s: %s", now, error)
    trade = decision.positions - market.positions.usd
    return decision, Choice(
        now,
        status,
        message,
        float(np.sqrt(sum(evaluate.variances(market, decision.positions).values()))),
        float(market.funding.cost @ decision.positions),
        float(np.abs(trade).sum()),
        float(evaluate.trade_costs(market, trade).total.sum()),
        _margin_use(market, decision),
    )


def _margin_use(market: Market, decision: Decision) -> float:
    """Largest true maintenance margin over equity of any venue, at these positions; inf without equity."""
    now = margin.Shock.common_move(market, 0.0)
    required = margin.maintenance(market, decision.positions, now, "true")
    equity = margin.equity(market, np.zeros(len(decision.positions)), market.collateral.balance, now)
    asked = required > 0
    if not asked.any():
        return 0.0
    return float(np.max(required[asked] / equity[asked])) if (equity[asked] > 0).all() else float("inf")


def send(
    loaded: LoadedScenario,
    decision: Decision,
    market: Market,
    tape: Tape,
    row: int,
    desk: Desk,
    ledger: Ledger,
) -> float:
    """Send the transfers of a decision, which arrive after their venue's delay; what that costs in USD."""
    now, total = tape.times[row], 0.0
    for r in np.flatnonzero(made(decision.transfers)).tolist():
        route, sent = market.transfers.routes[r], float(decision.transfers[r])
        source, target = market.pockets[route.source], market.pockets[route.target]
        price = tape.price_of(row, source.currency)
        units, cost = sent / price, sent * float(market.transfers.cost[r]) / price
        desk.balances[source.venue, source.currency] -= units + cost
        where = (source.venue, source.currency, source.currency)
        ledger.book(now, "transfer", where, -cost, -cost * price)
        ledger.book(now, "moved", where, -units, 0.0)
        delay = loaded.scenario.venues[source.venue].withdrawals[source.currency].delay
        arrival = now + pd.Timedelta(hours=delay)
        desk.incoming.append((arrival, (target.venue, target.currency), units))
        total += cost * price
    return total
