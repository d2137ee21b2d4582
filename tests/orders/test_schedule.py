"""Slices: whole lots that add up, within what the market bears, on the right side of a settlement."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from answers import answer
from lotted import free, lotted_market
from markets import AS_OF, build
from random_markets import ANYTHING
from specs import Book, Perp, Spec, objective

from allocator.market.types import Market
from allocator.orders.lots import round_to_lots
from allocator.orders.order_list import order_list
from allocator.orders.quotes import best_prices
from allocator.orders.schedule import plan_batch, schedule
from allocator.orders.sequence import sequence
from allocator.orders.settle import Lots
from allocator.scenario.execution import Execution
from allocator.scenario.orders import Orders
from models.execution import Impact, expected, matched_impact, remaining, urgency

STYLE = Execution()
START = AS_OF + timedelta(hours=1)


def style(**values: float) -> Execution:
    return STYLE.model_copy(update=values)


def time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_slices_of_random_order_lists():
    """They add up to their orders, on lots, none too small, none beyond the market's share but for a lot."""
    cut = 0
    for seed in range(5):
        market = lotted_market(seed, ANYTHING, most=12)
        market = replace(market, prices=replace(market.prices, times=(AS_OF,) * len(market.instruments)))
        lots = Lots.of(market, free(market))
        rounded = round_to_lots(market, answer(market).solution.decision, free(market))
        batches = sequence(market, rounded, np.zeros(len(market.pockets)))
        orders = order_list(market, rounded, batches, Orders(), best_prices(market, None), "run")
        wanted = style(participation=0.02, min_slice=1e5)
        slices = schedule(market, lots, orders, wanted, START)
        ends: dict[int, datetime] = {}
        for order in orders:
            mine = [each for each in slices if each.client_order_id == order.client_order_id]
            cut += len(mine) > 1
            assert [each.slice for each in mine] == list(range(1, len(mine) + 1))
            assert sum(Decimal(each.contracts) for each in mine) == Decimal(order.contracts)
            assert mine[-1].contracts_left == "0"
            (i,) = [
                k
                for k, each in enumerate(market.instruments)
                if each.symbol == order.symbol and each.venue == order.venue
            ]
            for each in mine:
                amount = Decimal(each.contracts)
                assert amount % lots.lot[i] == 0
                assert amount >= lots.least[i] or len(mine) == 1
                hours = (time(each.until) - time(each.time)) / timedelta(hours=1)
                allowed = 0.02 * market.costs.adv_usd[i] / 24 * (hours + 2 / 3600)
                assert float(amount) <= allowed * (1 + 1e-6) + 2 * float(lots.least[i])
            ends[order.batch] = max(time(mine[-1].until), ends.get(order.batch, START))
        for order in orders:
            first = min(time(each.time) for each in slices if each.batch == order.batch)
            assert first >= ends.get(order.batch - 1, START) - timedelta(seconds=1)
    assert cut >= 5


def one(size: float = 1e6, **perp) -> Market:
    """One perp; the asset's sd is 2.5 % a day, its funding settles four hours after as_of."""
    fields = {"adv": 2.4e9, "spread": 1e-4, "basis_sd": 0.0, "funding_hours": 4.0, **perp}
    spec = Spec((Perp(**fields),), {"BTC": size}, objective=objective(risk_aversion_per_usd=1e-6))
    return build(spec)


def to(market: Market, *after: float, wanted: Execution = STYLE, start: datetime = START):
    return plan_batch(market, market.positions.usd, np.array(after), wanted, start)


def test_one_order_follows_the_closed_form():
    """σ = 2.5 %/√24 an hour on $1m, impact 2.5 %·√10 % at $10m an hour, a = λ/2."""
    plan = to(one(), -1e6)
    impact = matched_impact(1e-4, 0.025, 2.4e9, 0.1)
    sigma = 0.025 / np.sqrt(24)
    kappa = urgency(0.5e-6, sigma, impact, 1 / 12)
    left = remaining(1e6, kappa, 1 / 12, 12)
    assert kappa > 0.01
    np.testing.assert_allclose(plan.left, left / 1e6, rtol=1e-7, atol=1e-9)
    figures = expected(left, impact, sigma, 1 / 12)
    assert (plan.cost_usd, plan.risk_usd) == pytest.approx((figures.cost_usd, figures.sd_usd), rel=1e-7)
    assert plan.start == START
    assert plan.end == START + timedelta(hours=1)


def test_a_batch_counts_the_risk_that_it_shares():
    """A move of the hedge from one venue to another carries the basis alone: less haste than one order."""
    spec = Spec(
        (Perp("alpha", previous=-1e6, adv=2.4e9), Perp("beta", adv=2.4e9)),
        {"BTC": 1e6},
        objective=objective(risk_aversion_per_usd=1e-4),
    )
    market = build(spec)
    both, single = to(market, 0.0, -1e6), to(market, -1e6, -1e6)
    assert both.risk_usd < 0.1 * single.risk_usd
    assert both.left[1] > single.left[1]
    # Two bases of 4 bp: sd of $566 a day, on what is left.
    tau, left = both.slice_hours, both.left[1:]
    assert both.risk_usd == pytest.approx(1e6 * 4e-4 * np.sqrt(2 / 24 * tau * left @ left), rel=1e-6)


def test_participation_and_depth_make_it_last():
    size = 2.4e9 / 24 * 0.1 * 3  # three hours at a tenth of the volume
    plan = to(one(size), -size)
    assert plan.end - plan.start == timedelta(hours=3)
    assert -np.diff(plan.left) == pytest.approx(np.full(36, 1 / 36), rel=1e-6)
    book = Book((5e5,), (0.0,))
    plan = to(one(1e6, bids=book, asks=book, taker_share=0.1), -1e6, wanted=style(depth_share=0.02))
    assert len(plan.left) - 1 == 100  # 2 % of $500k at a time
    crawling = to(one(1e6, adv=1e5), -1e6)
    assert len(crawling.left) - 1 <= 500
    assert (crawling.end - crawling.start) / timedelta(hours=1) >= 1e6 / (1e5 / 24 * 0.1) * (1 - 1e-9)


def test_small_orders_are_not_cut():
    assert len(to(one(), -9_000.0).left) == 2
    assert len(to(one(), -25_000.0).left) == 3


@pytest.mark.parametrize(("rate", "waits"), [(-1e-3, True), (1e-3, False), (-1e-7, False)])
def test_it_waits_for_a_settlement_that_it_would_pay_at(rate, waits):
    """A short pays a negative rate. Ten minutes before, 10 bp are worth a wait, a thousandth is not."""
    market = one(1e6, funding=rate * 6)  # the market's funding is per day, of which it settles four hours
    assert market.funding.next_rate[0] == pytest.approx(rate)
    start = AS_OF + timedelta(hours=4) - timedelta(minutes=10)
    plan = to(market, -1e6, start=start)
    assert (plan.start > AS_OF + timedelta(hours=4)) == waits
    if waits:
        assert plan.funding_usd == 0
    else:
        assert plan.start == start
        assert np.sign(plan.funding_usd) == -np.sign(rate)
    early = to(market, -1e6, start=AS_OF + timedelta(hours=3))
    assert early.start == AS_OF + timedelta(hours=3)


def test_it_hurries_where_funding_is_received():
    """A short receives 30 bp in 40 minutes: all is sold before. 10 bp are less than the haste would cost."""
    start = AS_OF + timedelta(hours=4) - timedelta(minutes=40)
    hurried = to(one(1e6, funding=1.8e-2), -1e6, start=start)
    assert hurried.end <= AS_OF + timedelta(hours=4)
    assert hurried.funding_usd == pytest.approx(-3e3)
    patient = to(one(1e6, funding=6e-3), -1e6, start=start)
    assert patient.end == start + timedelta(hours=1)
    # Eight of twelve slices are done by then, and the ninth begins.
    assert patient.funding_usd == pytest.approx(-1e3 * 9 / 12, rel=1e-2)
    calm = to(one(1e6, funding=0.0), -1e6, start=start)
    assert calm.end == start + timedelta(hours=1)
    # Whatever is chosen is no worse than simply starting and taking the usual time.
    assert hurried.worth_usd < calm.worth_usd


def test_a_settlement_passed_before_the_start_is_the_next_one():
    """4 h, 8 h, 12 h: from 5 h on the next is at 8 h."""
    market = one(1e6, funding=-6e-3)
    plan = to(market, -1e6, start=AS_OF + timedelta(hours=8, minutes=-5))
    assert plan.start == AS_OF + timedelta(hours=8, minutes=1)


def test_impact_without_volatility_is_none():
    assert matched_impact(1e-4, 0.0, 1e9, 0.1) == Impact(1e-4, 0.0)
