"""Pre-trade checks on an order list that need no clock: same scenario and tables, same outcomes.

Each is one function of a `Proposal` that returns what it measured, or the words that say why there is nothing
to measure. `CHECKS` names them. Amounts are USD; every check passes while its value is at most its bound.
What depends on the clock or on files beside the run is in `release.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from allocator import evaluate
from allocator.market.types import Decision, Market
from allocator.orders.concentration import (
    collateral_currency_share,
    instrument_share,
    leg_risk,
    venue_open_interest_share,
)
from allocator.orders.order_list import Order
from allocator.orders.outcome import Measured, Outcome, judge
from allocator.orders.proposal import Found, Proposal, Stated
from allocator.scenario.load import LoadedScenario
from allocator.scenario.schema import MaintenanceMargin
from models.arrays import Vector

_ROUNDING = 1e-7  # of the book: what the audit calls kept


def precision(p: Proposal) -> Found:
    """Parts of a lot or tick by which each order is off, and of the minimum by which it is too small."""
    found = []
    for order in p.orders:
        contract = p.market.instruments[p.instrument(order)].contract
        size = Decimal(order.contracts)
        off = [_off(size, contract.lot_contracts)]
        if order.limit_price is not None:
            off.append(_off(Decimal(order.limit_price), contract.tick))
        if size <= 0 or (Decimal(order.position_target_contracts) != 0 and size < contract.min_contracts):
            off.append(1.0)
        found.append(Measured(_name(order), max(off), 0.0, "whole lots, whole ticks, at least the minimum"))
    return found


def _off(value: Decimal, unit: Decimal) -> float:
    return float(value % unit / unit)


def price_collar(p: Proposal) -> Found:
    """|limit price / mark − 1| of each limit order."""
    bound = p.rules.price_collar
    assert bound is not None
    limited = [order for order in p.orders if order.limit_price is not None]
    if p.orders and not limited:
        return "market orders have no limit price"
    marks = p.market.prices.mark
    return [
        Measured(_name(o), abs(float(o.limit_price or "nan") / float(marks[p.instrument(o)]) - 1), bound)
        for o in limited
    ]


def bracket_cap(p: Proposal) -> Found:
    """Size after all fills, resting orders included, against the cap of the chosen leverage."""
    held, after = p.market.positions, p.rounded.decision.positions
    size = np.maximum(np.abs(after + held.open_buys_usd), np.abs(after - held.open_sells_usd))
    caps = [i.largest_usd for i in p.market.instruments]
    return [
        Measured(name, float(size[k]), caps[k]) for k, name in p.subjects(p.grows) if np.isfinite(caps[k])
    ]


def leverage(p: Proposal) -> Found:
    """The leverage setting against the largest that the venue allows in the target's own bracket."""
    after, found = np.abs(p.rounded.decision.positions), []
    for k, name in p.subjects(p.grows & np.isfinite(p.leverage)):
        instrument = p.market.instruments[k]
        tiers = p.tiers.get((instrument.exchange, instrument.symbol), instrument.brackets)
        inside = np.flatnonzero(after[k] <= tiers.caps_usd)
        allowed = float(tiers.max_leverages[inside[0]]) if len(inside) else 0.0
        found.append(Measured(name, float(p.leverage[k]), allowed))
    return found


def open_interest_share(p: Proposal) -> Found:
    """Size after all fills against the venue's open interest."""
    bound, size = p.rules.open_interest_share, np.abs(p.rounded.decision.positions)
    assert bound is not None
    stated = p.stated.open_interest_usd
    if np.isnan(stated).all():
        return "the instruments table states no open_interest_usd"
    return [
        Measured(name, float(size[k] / stated[k]), bound)
        for k, name in p.subjects(p.grows & np.isfinite(stated))
    ]


def adv_share(p: Proposal) -> Found:
    """Each instrument's trade against its average daily volume."""
    bound = p.rules.adv_share
    assert bound is not None
    share = np.abs(p.trades) / p.market.costs.adv_usd
    return [Measured(name, float(share[k]), bound) for k, name in p.subjects(p.traded)]


def max_order(p: Proposal) -> Found:
    """The size of each single order."""
    bound = p.rules.max_order
    assert bound is not None
    return [Measured(_name(order), float(order.notional_usd), bound) for order in p.orders]


def history_multiple(p: Proposal) -> Found:
    """Each trade against a multiple of the largest of the last 20 days."""
    multiple, largest = p.rules.history_multiple, p.stated.largest_trade_contracts
    assert multiple is not None
    if not (largest > 0).any():  # NaN is not stated, 0 is no trade to compare with
        return "the positions table states no largest_trade_20d_contracts"
    usual = largest * p.market.prices.usd_per_contract
    trade = np.abs(p.trades)
    return [
        Measured(name, float(trade[k]), multiple * float(usual[k]))
        for k, name in p.subjects(p.traded & (largest > 0))
    ]


def target_change(p: Proposal) -> Found:
    """Each traded target against what the last run aimed at."""
    share, last = p.rules.target_change, p.stated.last_target_contracts
    assert share is not None
    if np.isnan(last).all():
        return "the positions table states no last_target_contracts"
    change = np.abs(p.rounded.decision.positions - last * p.market.prices.usd_per_contract)
    return [
        Measured(name, float(change[k]), share * p.market.book_usd)
        for k, name in p.subjects(p.traded & np.isfinite(last))
    ]


def margin_filled(p: Proposal) -> Found:
    """What each venue asks for after all fills, against its equity."""
    return _margin(p, 1.0)


def margin_half_filled(p: Proposal) -> Found:
    """What each venue asks for with every order half filled, against its equity."""
    return _margin(p, 0.5)


def _margin(p: Proposal, share: float) -> list[Measured]:
    """Margin with a share of every order filled, by the venues' true schedules.

    Maintenance margin now and in every stress that a hard maintenance limit names, initial margin now. A
    shortfall that stands already is no reason to refuse: it may not grow.
    """
    market, x0 = p.market, p.market.positions.usd
    now = evaluate.venues(market, Decision(x0, np.zeros_like(p.rounded.decision.transfers)), "true")
    then = Decision(x0 + share * p.trades, p.rounded.decision.transfers)
    state, slack = evaluate.venues(market, then, "true"), _ROUNDING * market.book_usd
    asked, found = _asked(market), []
    touched = np.bincount(market.venue_of, weights=p.traded, minlength=len(market.accounts)) > 0
    for v in np.flatnonzero(touched):
        account, wants = market.accounts[v].name, state.initial_margin[v]
        has = state.equity[0, v] + max(now.initial_margin[v] - now.equity[0, v], 0.0) + slack
        found.append(Measured(f"{account} initial margin", float(wants), float(has)))
        for s in np.flatnonzero(asked[:, v]):
            where = f"{account} {'now' if s == 0 else market.stresses.names[s]}"
            lacks = max(now.maintenance_margin[s, v] - now.equity[s, v], 0.0)
            has = state.equity[s, v] + lacks + slack
            found.append(Measured(where, float(state.maintenance_margin[s, v]), float(has)))
    return found


def _asked(market: Market) -> NDArray[np.bool_]:
    """Which venues must hold under which stress (S, V): all of them now, and what hard limits name."""
    asked = np.zeros((len(market.stresses.names), len(market.accounts)), dtype=bool)
    asked[0] = True
    for spec in market.limits:
        limit = spec.limit
        if isinstance(limit, MaintenanceMargin) and limit.soft is None:
            rows = np.array([limit.stresses == "all" or s in limit.stresses for s in market.stresses.names])
            venues = evaluate.selected_venues(market, limit.venues)
            asked[:, venues] |= rows[:, None]
    return asked


def venue_status(p: Proposal) -> Found:
    """1 for each order that the venue does not take now."""
    if not any(p.stated.status):
        return "the instruments table states no status"
    return [
        Measured(
            _name(o),
            float(status == "halted" or (status == "reduce_only" and not o.reduce_only)),
            0.0,
            status,
        )
        for o in p.orders
        if (status := p.stated.status[p.instrument(o)])
    ]


def self_trade(p: Proposal) -> Found:
    """USD that two accounts of one exchange could trade with each other at crossing prices.

    Resting orders of other accounts count as crossing: their prices are not in the tables.
    """
    found, resting = [], p.market.positions
    for order in p.orders:
        mine, facing = p.market.instruments[p.instrument(order)], 0.0
        for k, other in enumerate(p.market.instruments):
            if (other.exchange, other.symbol) == (
                mine.exchange,
                mine.symbol,
            ) and other.account != mine.account:
                facing += float((resting.open_sells_usd if order.side == "buy" else resting.open_buys_usd)[k])
        facing += sum(float(other.notional_usd) for other in p.orders if _cross(order, other))
        found.append(Measured(_name(order), min(facing, float(order.notional_usd)), 0.0))
    return found


def _cross(one: Order, other: Order) -> bool:
    """Whether two orders of different accounts could meet."""
    if (one.venue, one.symbol) != (other.venue, other.symbol) or one.account == other.account:
        return False
    if one.side == other.side:
        return False
    buy, sell = (one, other) if one.side == "buy" else (other, one)
    if buy.limit_price is None or sell.limit_price is None:
        return True
    return Decimal(buy.limit_price) >= Decimal(sell.limit_price)


def _name(order: Order) -> str:
    return f"order {order.seq}: {order.side} {order.venue} {order.symbol}"


# Name of the check, the key that sets or removes it, its unit, what it measures.
CHECKS: tuple[tuple[str, str, str, Callable[[Proposal], Found]], ...] = (
    ("precision", "precision", "lots", precision),
    ("price_collar", "price_collar", "fraction", price_collar),
    ("bracket_cap", "bracket_cap", "USD", bracket_cap),
    ("leverage", "leverage", "x", leverage),
    ("open_interest_share", "open_interest_share", "fraction", open_interest_share),
    ("venue_open_interest_share", "venue_open_interest_share", "fraction", venue_open_interest_share),
    ("instrument_share", "instrument_share", "fraction", instrument_share),
    ("collateral_currency_share", "collateral_currency_share", "fraction", collateral_currency_share),
    ("adv_share", "adv_share", "fraction", adv_share),
    ("max_order", "max_order", "USD", max_order),
    ("history_multiple", "history_multiple", "USD", history_multiple),
    ("target_change", "target_change", "USD", target_change),
    ("margin_filled", "margin", "USD", margin_filled),
    ("margin_half_filled", "margin", "USD", margin_half_filled),
    ("leg_risk", "leg_risk", "USD", leg_risk),
    ("venue_status", "venue_status", "orders", venue_status),
    ("self_trade", "self_trade", "USD", self_trade),
)


__all__ = ["CHECKS", "Proposal", "Stated", "off", "pre_trade", "settings"]


def pre_trade(proposal: Proposal, origin: Callable[[str], str]) -> tuple[Outcome, ...]:
    """Every check of a proposal; `origin` gives the file and line of a scenario key."""
    outcomes: list[Outcome] = []
    for name, key, unit, measure in CHECKS:
        source = origin(f"orders.checks.{key}")
        found = off(getattr(proposal.rules, key), source) or measure(proposal)
        outcomes += judge(name, unit, source, found)
    return tuple(outcomes)


def off(setting: object, source: str) -> str | None:
    """Why a check is not made, None where it is."""
    if setting is not None and setting is not False:
        return None
    return "not asked for" if source == "default" else f"switched off at {source}"


def settings(loaded: LoadedScenario, market: Market) -> Vector:
    """The leverage setting of each instrument (n,), NaN where its selection has none."""
    chosen = [loaded.scenario.instruments[i.selection].leverage for i in market.instruments]
    return np.array([np.nan if each is None else each for each in chosen])
