"""When each part of each order is sent: slices within what the market bears, as fast as risk is worth.

The orders of a batch go in step, each by the same share at the same time (as nearly as lots and least sizes
allow), so that every slice leaves the book on the line between two states that the sequence has proven. A
batch is then one order in Almgren and Chriss's sense: impact Σ η_i·Δ_i², variance ΔᵀΣΔ of what is not yet
traded, for a share that falls from 1 to 0. It may start after a funding settlement, or end before one, where
what that saves is worth the wait or the haste.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from allocator import evaluate
from allocator.market.types import Index, Market
from allocator.orders.order_list import Order, cents, timestamp
from allocator.orders.settle import Lots
from allocator.scenario.execution import Execution
from models.arrays import Vector
from models.contracts import plain, round_to_lot
from models.covariance import variance_by_source
from models.execution import Impact, capped_remaining, expected, matched_impact, urgency
from models.hedge import currency_exposure, net_delta

_MOST = 500  # slices of a batch; where it needs more time, they are further apart
_NEVER = datetime.max.replace(tzinfo=UTC)
_PAST = timedelta(minutes=1)  # from a settlement to where it surely has passed


@dataclass(frozen=True)
class Slice:
    """One part of one order: sent at `time`, done by `until`. Figures of the whole batch are repeated."""

    run_id: str
    client_order_id: str
    seq: int
    batch: int
    slice: int
    venue: str
    account: str
    symbol: str
    side: str
    time: str
    until: str
    contracts: str
    contracts_left: str
    notional_usd: str
    market_share: str
    expected_cost_usd: str
    batch_cost_usd: str
    batch_risk_usd: str
    batch_funding_usd: str


COLUMNS = tuple(field.name for field in fields(Slice))


@dataclass(frozen=True)
class _Trade:
    """A batch as one trade of `usd` (m,) > 0 to buy in `instruments` (m,), and what the market bears.

    `slope` (m,) is linear impact in 1/(USD/h), `spread` (m,) a fraction; `pace` (m,) the most USD an hour and
    `depth` (m,) the most at once; `hourly` is the sd in USD over one hour of the whole trade not yet made;
    `relief` is the variance in USD² an hour that the batch takes off the book.
    """

    instruments: Index
    usd: Vector
    slope: Vector
    spread: Vector
    pace: Vector
    depth: Vector
    hourly: float
    relief: float


@dataclass(frozen=True)
class Plan:
    """When a batch starts, its share left (N + 1,) after each slice, cost, sd of waiting, and funding in USD.

    `funding_usd` > 0 is paid by us at the first settlement of each instrument, on what is traded until then.
    """

    start: datetime
    slice_hours: float
    left: Vector
    cost_usd: float
    risk_usd: float
    funding_usd: float
    worth_usd: float

    @property
    def end(self) -> datetime:
        """When the last slice is done."""
        return self.start + timedelta(hours=self.slice_hours * (len(self.left) - 1))


def schedule(
    market: Market, lots: Lots, orders: Sequence[Order], style: Execution, start: datetime
) -> list[Slice]:
    """Slices of all orders, batch after batch, the first no earlier than `start` (UTC)."""
    place = {(i.exchange, i.account, i.symbol): k for k, i in enumerate(market.instruments)}
    owner = [place[order.venue, order.account, order.symbol] for order in orders]
    held = market.positions.usd.copy()
    found: list[Slice] = []
    for rows in _batches(orders):
        after = held.copy()
        for k in rows:
            signed = Decimal(orders[k].contracts) * (1 if orders[k].side == "buy" else -1)
            after[owner[k]] += float(signed) * float(market.prices.usd_per_contract[owner[k]])
        plan = plan_batch(market, held, after, style, start)
        found += [cut for k in rows for cut in _slices(market, lots, orders[k], owner[k], plan, style)]
        held, start = after, plan.end
    return found


def _batches(orders: Sequence[Order]) -> list[list[int]]:
    """Numbers of the orders of each batch."""
    return [
        [k for k, order in enumerate(orders) if order.batch == batch]
        for batch in sorted({order.batch for order in orders})
    ]


def plan_batch(market: Market, before: Vector, after: Vector, style: Execution, start: datetime) -> Plan:
    """The cheapest way from positions `before` (n,) to `after` (n,) USD, risk and funding counted."""
    trade = _trade(market, before, after, style)
    settled = [_next_settlement(market, int(i), start) for i in trade.instruments]
    patience = timedelta(hours=style.settlement_wait)
    starts = {start} | {time + _PAST for time in settled if time - start <= patience}
    least, usual, tau = _counts(trade, style)
    cuts = [
        ((start, at), (count, tau))
        for at in sorted(starts)
        for count in _endings(at, settled, (least, usual, tau))
    ]
    plans = [_plan(market, trade, times, cut, settled) for times, cut in cuts]
    return min(plans, key=lambda plan: plan.worth_usd)


def _endings(start: datetime, settled: list[datetime], counts: tuple[int, int, float]) -> list[int]:
    """Numbers of slices: the usual one, and those that end before a settlement."""
    least, usual, tau = counts
    before = {int((time - _PAST - start) / timedelta(hours=tau)) for time in settled}
    return sorted({usual} | {count for count in before if max(least, 1) <= count < usual}, reverse=True)


def _trade(market: Market, before: Vector, after: Vector, style: Execution) -> _Trade:
    moved = after - before
    chosen = np.flatnonzero(moved)
    costs, risk = market.costs, market.risk
    impact = [_impact(market, int(i), style) for i in chosen]
    depth = np.where(moved > 0, costs.depth_buy, costs.depth_sell)[chosen] * style.depth_share
    nothing = np.zeros(len(market.exposure))
    delta = net_delta(nothing, moved, market.asset_of)
    quote = currency_exposure(np.zeros(len(market.cash)), moved, market.index_currency_of)
    own = sum(variance_by_source(risk, delta, moved, quote).values())
    relief = sum(evaluate.variances(market, before).values()) - sum(
        evaluate.variances(market, after).values()
    )
    return _Trade(
        instruments=chosen,
        usd=moved[chosen],
        slope=np.array([each.slope for each in impact]),
        spread=np.array([each.spread for each in impact]),
        pace=style.participation * costs.adv_usd[chosen] / 24.0,
        depth=np.where(np.isfinite(depth), depth, np.inf),
        hourly=float(np.sqrt(own / market.decision_hours)),
        relief=max(relief, 0.0) / market.decision_hours,
    )


def _counts(trade: _Trade, style: Execution) -> tuple[int, int, float]:
    """Fewest slices that the market bears, the usual number, and the hours between two."""
    size = np.abs(trade.usd)
    needed = int(np.ceil(float(np.max(size / _most(trade, style.slice))) - 1e-9))
    tau = style.slice * float(np.ceil(needed / _MOST))
    least = int(np.ceil(float(np.max(size / _most(trade, tau))) - 1e-9))
    worthwhile = int(np.max(size) // style.min_slice) if style.min_slice > 0 else _MOST
    usual = max(min(int(style.duration / tau + 1e-9), worthwhile, _MOST), 1)
    return least, max(usual, least), tau


def _most(trade: _Trade, tau: float) -> Vector:
    """USD (m,) that one slice may be."""
    return np.asarray(np.minimum(trade.pace * tau, trade.depth))


def _plan(
    market: Market,
    trade: _Trade,
    times: tuple[datetime, datetime],
    cut: tuple[int, float],
    settled: list[datetime],
) -> Plan:
    """`times` are when it could start and when it does, `cut` the slices and the hours between them."""
    (ready, start), (count, tau) = times, cut
    size = np.abs(trade.usd)
    impact = Impact(float(trade.spread @ size), float(trade.slope @ size**2))
    aversion = market.objective.risk_aversion_per_usd / 2
    cap = float(np.min(_most(trade, tau) / size))
    flat = impact.slope == 0.0
    kappa = 0.0 if flat else urgency(aversion, trade.hourly, impact, tau)
    left = capped_remaining(1.0, kappa, tau, count, min(cap, 1.0) * (1 + 1e-9))
    figures = expected(left, impact, trade.hourly, tau)
    done = np.array([1.0 - left[_sent_by(time, start, tau, count)] for time in settled])
    funding = float((market.funding.next_rate[trade.instruments] * trade.usd) @ done)
    waited = (start - ready) / timedelta(hours=1) * trade.relief
    worth = figures.cost_usd + aversion * (figures.sd_usd**2 + waited) + funding
    return Plan(start, tau, left, figures.cost_usd, figures.sd_usd, funding, worth)


def _sent_by(time: datetime, start: datetime, tau: float, count: int) -> int:
    """Slices begun by a settlement: what is on its way then may be filled."""
    if time < start:
        return 0
    return min(int((time - start) / timedelta(hours=tau)) + 1, count)


def _next_settlement(market: Market, i: int, start: datetime) -> datetime:
    """The first settlement of instrument i at or after `start`; a dated future has none."""
    time = market.funding.next_times[i]
    if time is None:
        return _NEVER
    step = timedelta(hours=float(market.funding.interval_hours[i]))
    missed = max(-((time - start) // step), 0) if time < start else 0
    return time + missed * step


def _slices(
    market: Market, lots: Lots, order: Order, i: int, plan: Plan, style: Execution
) -> Iterator[Slice]:
    """The plan's shares of one order in whole lots, none smaller than the venue takes."""
    size, per_contract = Decimal(order.contracts), float(market.prices.usd_per_contract[i])
    hours, volume = timedelta(hours=plan.slice_hours), float(market.costs.adv_usd[i]) / 24.0
    impact, sent = _impact(market, i, style), Decimal(0)
    for number, (first, last, amount) in enumerate(_amounts(lots, i, size, plan, style), start=1):
        sent += amount
        usd, lasts = float(amount) * per_contract, (last - first) * plan.slice_hours
        yield Slice(
            run_id=order.run_id,
            client_order_id=order.client_order_id,
            seq=order.seq,
            batch=order.batch,
            slice=number,
            venue=order.venue,
            account=order.account,
            symbol=order.symbol,
            side=order.side,
            time=timestamp(plan.start + first * hours),
            until=timestamp(plan.start + last * hours),
            contracts=plain(amount),
            contracts_left=plain(size - sent),
            notional_usd=cents(usd),
            market_share=f"{usd / (volume * lasts):.6f}",
            expected_cost_usd=cents(usd * (impact.spread + impact.slope * usd / lasts)),
            batch_cost_usd=cents(plan.cost_usd),
            batch_risk_usd=cents(plan.risk_usd),
            batch_funding_usd=cents(plan.funding_usd),
        )


def _impact(market: Market, i: int, style: Execution) -> Impact:
    """Impact of one instrument, from its asset's volatility and its own volume."""
    asset, risk = market.asset_of[i], market.risk
    variance = float((risk.asset_loadings[:, asset] ** 2).sum() + risk.asset_idiosyncratic[asset] ** 2)
    return matched_impact(
        float(market.costs.spread[i]),
        float(np.sqrt(variance * 24.0 / market.decision_hours)),
        float(market.costs.adv_usd[i]),
        style.participation,
        market.objective.impact.coefficient,
    )


def _amounts(
    lots: Lots, i: int, size: Decimal, plan: Plan, style: Execution
) -> list[tuple[int, int, Decimal]]:
    """First and last of the plan's slices that each order slice stands for, and its contracts."""
    lot, per_contract = lots.lot[i], float(lots.market.prices.usd_per_contract[i])
    count = len(plan.left) - 1
    widest = float(np.max(-np.diff(plan.left))) * float(size)
    least = max(float(lots.least[i]), min(style.min_slice / per_contract, widest))
    found: list[tuple[int, int, Decimal]] = []
    begun, sent = 0, Decimal(0)
    for k in range(1, count + 1):
        share = 1.0 - float(plan.left[k])
        wanted = size if k == count else round_to_lot(float(size) * share, lot, "down")
        amount = wanted - sent
        if amount == 0 or (k < count and float(amount) < least * (1 - 1e-9)):
            continue
        found.append((begun, k, amount))
        begun, sent = k, wanted
    if len(found) > 1 and found[-1][2] < lots.least[i]:
        (first, _, most), (_, last, rest) = found[-2:]
        found[-2:] = [(first, last, most + rest)]
    return found
