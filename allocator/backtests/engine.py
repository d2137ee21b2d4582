"""The walk: time passes bar by bar, venues settle and check margin, the strategy decides, orders fill.

At each bar, in this order: prices settle into balances, funding since the last bar is paid, transfers arrive,
announced trades of the book happen, orders decided earlier fill, margin is checked and a venue below its
maintenance margin liquidates, then the strategy may decide on what is known by now. Orders fill at the first
bar that is no earlier than `horizons.execution` after the decision, or at the decision's own bar where bars
are farther apart than that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from allocator import evaluate
from allocator.backtests.decide import Moment, Strategy, market_at, stay
from allocator.backtests.desk import Desk, Place, opening
from allocator.backtests.known import Records
from allocator.backtests.ledger import Ledger
from allocator.backtests.margin_call import VenueBar, liquidate, margin_state
from allocator.backtests.tape import Tape
from allocator.errors import HedgeError
from allocator.market.build import build_market
from allocator.market.types import Decision, Market
from allocator.scenario.load import LoadedScenario
from allocator.snapshot.read import SnapshotData
from models.contracts import round_to_lot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Span:
    """When to walk: bars in [start, end], a decision every `every` from the first bar on."""

    start: pd.Timestamp
    end: pd.Timestamp
    every: pd.Timedelta


@dataclass(frozen=True)
class Choice:
    """What was decided at a bar and what was expected of it, in USD over the decision horizon.

    `status` is optimal, or that of the error that left everything as it was; `message` is its text.
    """

    time: pd.Timestamp
    status: str
    message: str
    volatility_usd: float
    funding_usd: float
    trade_usd: float
    cost_usd: float


@dataclass
class Walk:
    """Everything that happened under one strategy.

    `wealth` USD and net `delta` USD by asset are by bar, `positions` are (time, venue, symbol, USD), `fills`
    what each fill cost in USD, < 0.
    """

    name: str
    ledger: Ledger = field(default_factory=Ledger)
    times: list[pd.Timestamp] = field(default_factory=list)
    wealth: list[float] = field(default_factory=list)
    delta: list[dict[str, float]] = field(default_factory=list)
    venues: list[VenueBar] = field(default_factory=list)
    positions: list[tuple[pd.Timestamp, str, str, float]] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    liquidations: list[VenueBar] = field(default_factory=list)
    fills: dict[pd.Timestamp, float] = field(default_factory=dict)
    opening_usd: float = 0.0


@dataclass(frozen=True)
class _Orders:
    """Decided trades in contracts, filled from `due` on at the market of the decision's costs."""

    due: pd.Timestamp
    market: Market
    contracts: Mapping[Place, float]


def walk(
    loaded: LoadedScenario,
    tape: Tape,
    span: Span,
    name: str,
    strategy: Strategy,
    progress: Callable[[], None] = lambda: None,
) -> Walk:
    """Walk one strategy over the tape. Raises `DataError` where a decision's data are not there."""
    first = int(tape.times.searchsorted(span.start, side="left"))
    last = int(tape.times.searchsorted(span.end, side="right"))
    snapshot, records = tape.snapshot, Records(loaded, tape)
    found = Walk(name)
    desk, market = _begin(loaded, tape, first)
    found.opening_usd = desk.wealth(tape, first)
    exchanges: dict[str, list[str]] = {}
    for account in market.accounts:
        exchanges.setdefault(account.exchange, []).append(account.name)
    ahead = _announced(snapshot.tables["holdings"])
    orders: _Orders | None = None
    next_decision = tape.times[first]
    for row in range(first, last):
        now = tape.times[row]
        if row > first:
            desk.pass_time(tape, row, found.ledger)
            desk.settle_funding(tape, row, found.ledger, exchanges)
        ahead = _happen(ahead, tape, row, desk)
        if orders is not None and now >= orders.due:
            found.fills[now] = fill(orders.market, orders.contracts, tape, row, desk, found.ledger)
            orders = None
        _check_margin(loaded, market, tape, row, desk, found)
        if now >= next_decision:
            market = market_at(records, row, desk)
            desk.listed |= {(i.venue, i.symbol): i for i in market.instruments}
            decision, choice = _decide(Moment(loaded, tape, row, market), strategy)
            found.choices.append(choice)
            orders = _ordered(loaded, tape, row, market, decision)
            send(loaded, decision, market, tape, row, desk, found.ledger)
            if now >= orders.due:
                found.fills[now] = fill(market, orders.contracts, tape, row, desk, found.ledger)
                orders = None
            next_decision = next_decision + span.every
        _record(found, tape, row, desk, market)
        progress()
    return found


def _begin(loaded: LoadedScenario, tape: Tape, row: int) -> tuple[Desk, Market]:
    """The desk of the snapshot, and a market at the first bar with its positions in it."""
    now = tape.times[row].to_pydatetime()
    tables = dict(tape.known_at(now, pd.Timedelta(hours=loaded.scenario.forecasts.assets.window)))
    for name in ("positions", "collateral", "holdings"):
        # The opening book is as of the first bar, whenever it was written down; trades to come are not in it.
        table = tape.snapshot.tables[name]
        kept = table[table["kind"] != "anticipated"] if name == "holdings" else table
        tables[name] = kept.assign(time=pd.Timestamp(now))
    moved = loaded.scenario.model_copy(update={"as_of": now})
    held = SnapshotData(tables, now, {}, {}, (), tape.snapshot.from_tables)
    market = build_market(replace(loaded, scenario=moved), held)
    return opening(held, market), market


def _announced(holdings: pd.DataFrame) -> list[tuple[pd.Timestamp, str, float]]:
    """Trades of the book that were announced: time, asset, coins; they happen whole."""
    rows = holdings[holdings["kind"] == "anticipated"]
    return sorted(
        (pd.Timestamp(time), str(asset), float(coins))
        for time, asset, coins in zip(rows["expected_time"], rows["asset"], rows["coins"], strict=True)
    )


def _happen(
    ahead: list[tuple[pd.Timestamp, str, float]], tape: Tape, row: int, desk: Desk
) -> list[tuple[pd.Timestamp, str, float]]:
    """Book announced trades that are due, at the reference price, against cash."""
    now = tape.times[row]
    for time, asset, coins in ahead:
        if time <= now:
            desk.holdings[asset] = desk.holdings.get(asset, 0.0) + coins
            desk.holdings["USD"] = desk.holdings.get("USD", 0.0) - coins * tape.price_of(row, asset)
    return [item for item in ahead if item[0] > now]


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
    )


def _ordered(loaded: LoadedScenario, tape: Tape, row: int, market: Market, decision: Decision) -> _Orders:
    """The trades of a decision in whole lots, and when they fill."""
    now = tape.times[row]
    delay = pd.Timedelta(hours=loaded.scenario.horizons.execution)
    apart = tape.times[row + 1] - now if row + 1 < len(tape.times) else delay
    contracts = {}
    for k, i in enumerate(market.instruments):
        wanted = (decision.positions[k] - market.positions.usd[k]) / market.prices.usd_per_contract[k]
        if lots := float(round_to_lot(float(wanted), i.contract.lot_contracts, "nearest")):
            contracts[i.venue, i.symbol] = lots
    return _Orders(now + delay if delay >= apart else now, market, contracts)


def fill(
    market: Market, contracts: Mapping[Place, float], tape: Tape, row: int, desk: Desk, ledger: Ledger
) -> float:
    """Fill trades at this bar's marks for the fee, spread and impact of the decision's market; USD, < 0."""
    trade = np.zeros(len(market.instruments))
    for k, i in enumerate(market.instruments):
        trade[k] = contracts.get((i.venue, i.symbol), 0.0) * market.prices.usd_per_contract[k]
    costs = evaluate.trade_costs(market, trade)
    for k, i in enumerate(market.instruments):
        place = (i.venue, i.symbol)
        if not trade[k]:
            continue
        desk.contracts[place] = desk.contracts.get(place, 0.0) + contracts[place]
        if abs(desk.contracts[place]) < 0.5 * float(i.contract.lot_contracts):
            desk.contracts.pop(place)
        price = tape.price_of(row, i.settlement_currency)
        for kind, cost in (("fee", costs.fees), ("slippage", costs.slippage), ("impact", costs.impact)):
            desk.receive(tape, row, ledger, place, -float(cost[k]) / price, kind)
    return -float(costs.total.sum())


def send(
    loaded: LoadedScenario,
    decision: Decision,
    market: Market,
    tape: Tape,
    row: int,
    desk: Desk,
    ledger: Ledger,
) -> None:
    """Send the transfers of a decision; they arrive after their venue's delay."""
    now = tape.times[row]
    for r, route in enumerate(market.transfers.routes):
        sent = float(decision.transfers[r])
        if sent <= 0:
            continue
        source, target = market.pockets[route.source], market.pockets[route.target]
        price = tape.price_of(row, source.currency)
        units, cost = sent / price, sent * float(market.transfers.cost[r]) / price
        desk.balances[source.venue, source.currency] -= units + cost
        where = (source.venue, source.currency, source.currency)
        ledger.book(now, "transfer", where, -cost, -cost * price)
        delay = loaded.scenario.venues[source.venue].withdrawals[source.currency].delay
        arrival = now + pd.Timedelta(hours=delay)
        desk.incoming.append((arrival, (target.venue, target.currency), units))


def _check_margin(
    loaded: LoadedScenario, market: Market, tape: Tape, row: int, desk: Desk, found: Walk
) -> None:
    if not desk.contracts:
        return
    equity, required = margin_state(market, tape, row, desk)
    for v, account in enumerate(market.accounts):
        if not any(place[0] == account.name for place in desk.contracts):
            continue
        bar = VenueBar(tape.times[row], account.name, float(equity[v]), float(required[v]))
        found.venues.append(bar)
        if equity[v] < required[v]:
            found.liquidations.append(bar)
            liquidate(loaded, market, tape, row, desk, found.ledger, account.name)


def _record(found: Walk, tape: Tape, row: int, desk: Desk, market: Market) -> None:
    now = tape.times[row]
    held = desk.usd(tape, row)
    delta = {a: coins * tape.price_of(row, a) for a, coins in desk.holdings.items() if a != "USD"}
    for (_, currency), units in desk.balances.items():
        if currency in market.assets:
            delta[currency] = delta.get(currency, 0.0) + units * tape.price_of(row, currency)
    for place, usd in held.items():
        asset = desk.listed[place].asset
        delta[asset] = delta.get(asset, 0.0) + usd
        found.positions.append((now, *place, usd))
    found.times.append(now)
    found.wealth.append(desk.wealth(tape, row))
    found.delta.append(delta)
