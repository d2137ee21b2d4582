"""One leg alone, one market, one instrument, one currency: by hand, at the bound and a dollar beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from markets import build
from random_markets import random_market
from specs import Balance, Perp, Spec

from allocator.audit.audit import Check
from allocator.market.types import Decision, Market
from allocator.orders.checks import Proposal, Stated, pre_trade
from allocator.orders.outcome import Outcome
from allocator.orders.settle import Rounded
from allocator.scenario.order_checks import Checks

NAMES = ("leg_risk", "venue_open_interest_share", "instrument_share", "collateral_currency_share")


def order(market: Market, i: int, usd: float, batch: int) -> SimpleNamespace:
    """What these checks read of an order: > 0 buys."""
    held = market.instruments[i]
    return SimpleNamespace(
        venue=held.exchange, account=held.account, symbol=held.symbol, seq=i + 1, batch=batch,
        side="buy" if usd > 0 else "sell", notional_usd=repr(abs(usd)),
    )  # fmt: skip


def proposal(
    market: Market, trades: Sequence[tuple[int, float, int]], interest: Sequence[float] = (), **rules: object
) -> Proposal:
    """Orders (instrument, USD, batch) with these rules, all other checks switched off."""
    n, moves = len(market.instruments), np.zeros(len(market.instruments))
    for i, usd, _ in trades:
        moves[i] += usd
    rounded = Rounded(
        tuple(Decimal(repr(usd)) for usd in moves.tolist()),
        Decision(market.positions.usd + moves, np.zeros(len(market.transfers.routes))),
        Check(True, 0.0, "", 0.1),
        (),
        0,
        0.0,
        0.0,
    )
    silent = {name: False if isinstance(value, bool) else None for name, value in Checks()}
    stated = Stated.nothing(n)
    if interest:
        stated = Stated(
            np.array(interest), stated.status, stated.last_target_contracts, stated.largest_trade_contracts
        )
    orders = [order(market, *each) for each in trades]
    asked = Checks().model_copy(update=silent | rules)
    return Proposal(market, rounded, orders, asked, stated, np.full(n, np.nan), {})


def outcomes(p: Proposal, name: str) -> list[Outcome]:
    return [o for o in pre_trade(p, lambda key: "desk.yaml:7") if o.name == name]


def judged(p: Proposal, name: str) -> tuple[str, float | None]:
    found = outcomes(p, name)
    return found[0].outcome, found[0].value


ROLL = Spec((Perp("alpha", previous=-1e6), Perp("beta")), {"BTC": 1e6})


@pytest.mark.parametrize(
    ("trades", "naked"),
    [
        ([(0, 1e6, 1), (1, -1e6, 1)], 1e6),  # a roll: either leg alone leaves the million bare
        ([(0, 1e6, 1), (1, -7e5, 1)], 7e5),  # what is meant to stay open is no leg's risk
        ([(0, -3e5, 1), (1, -7e5, 1)], 0.0),  # both legs go one way
        ([(0, 1e6, 1), (1, -1e6, 2)], 0.0),  # one after the other: each is its batch
    ],
)
def test_leg_risk_by_hand(trades, naked):
    market = build(ROLL)
    assert judged(proposal(market, trades, leg_risk=1e9), "leg_risk") == ("passed", naked)
    if naked:
        assert judged(proposal(market, trades, leg_risk=naked), "leg_risk")[0] == "passed"
        (found,) = outcomes(proposal(market, trades, leg_risk=naked - 1), "leg_risk")
        assert (found.outcome, found.value, found.bound) == ("failed", naked, naked - 1)
        assert (found.subject, found.source) == ("batch 1: BTC", "desk.yaml:7")


def test_leg_risk_says_the_deltas_of_both_sides_alone():
    """$1m of coin, $1m short at alpha: flat; $1m long with the buy alone, $1m short with the sell alone."""
    (found,) = outcomes(proposal(build(ROLL), [(0, 1e6, 1), (1, -1e6, 1)], leg_risk=1.0), "leg_risk")
    assert found.reason == "net delta $1,000,000 with its buys alone, -$1,000,000 with its sells alone"


def test_leg_risk_is_the_worst_of_every_subset_of_fills():
    """Against all subsets of each batch on random markets: how far a delta leaves its way, at most."""
    seen = 0
    for seed in range(40):
        market, rng = random_market(seed), np.random.default_rng(seed)
        n = len(market.instruments)
        if n > 7:
            continue
        trades = [(i, float(rng.normal() * 1e5), int(rng.integers(1, 3))) for i in range(n)]
        delta, worst = market.exposure + np.bincount(
            market.asset_of, weights=market.positions.usd, minlength=len(market.assets)
        ), 0.0  # fmt: skip
        for batch in (1, 2):
            legs = [(market.asset_of[i], usd) for i, usd, b in trades if b == batch]
            after = delta.copy()
            for a, usd in legs:
                after[a] += usd
            low, high = np.minimum(delta, after), np.maximum(delta, after)
            for chosen in range(1 << len(legs)):
                now = delta.copy()
                for k, (a, usd) in enumerate(legs):
                    now[a] += usd if chosen >> k & 1 else 0.0
                worst = max(worst, float(np.maximum(now - high, low - now).max()))
            delta = after
        assert judged(proposal(market, trades, leg_risk=1e12), "leg_risk")[1] == pytest.approx(
            worst, abs=1e-6
        )
        seen += worst > 0
    assert seen >= 5


def test_open_interest_of_one_exchange_counts_all_its_accounts():
    """$600k and $500k of $20m are 3 % and 2.5 % each, and 5.5 % together where the exchange is the same."""
    market = build(Spec((Perp("alpha"), Perp("beta")), {"BTC": 1e6}))
    rows = tuple(
        replace(i, exchange="alpha", account=a) for i, a in zip(market.instruments, "ab", strict=True)
    )
    together = replace(market, instruments=rows)
    trades = [(0, -6e5, 1), (1, -5e5, 1)]
    name, rule = "venue_open_interest_share", {"venue_open_interest_share": 0.05}
    (found,) = outcomes(proposal(together, trades, [2e7, 2e7], **rule), name)
    assert (found.outcome, found.subject) == ("failed", "alpha BTC")
    assert found.value == pytest.approx(0.055)
    assert judged(proposal(market, trades, [2e7, 2e7], **rule), name) == ("passed", pytest.approx(0.03))
    # Two symbols of one coin: their open interest adds up.
    two = tuple(replace(i, symbol=f"BTC/USDT:USDT-{k}") for k, i in enumerate(rows))
    apart = replace(together, instruments=two)
    assert judged(proposal(apart, trades, [2e7, 2e7], **rule), name) == ("passed", pytest.approx(0.0275))
    # What states no open interest is left out; nothing stated at all says so.
    assert judged(proposal(apart, trades, [2e7, np.nan], **rule), name) == ("passed", pytest.approx(0.03))
    assert judged(proposal(apart, trades, [0.0, np.nan], **rule), name)[0] == "failed"
    assert outcomes(proposal(apart, trades, **rule), name)[0].outcome == "skipped"
    # A position that shrinks is no reason to refuse.
    held = build(Spec((Perp("alpha", previous=-5e6), Perp("beta")), {"BTC": 1e6}))
    assert (
        outcomes(proposal(held, [(0, 1e6, 1)], [2e7, 2e7], **rule), name)[0].reason == "no order is concerned"
    )


def test_share_of_one_instrument_in_the_gross():
    market = build(Spec((Perp("alpha"), Perp("beta", previous=1e5), Perp("gamma")), {"BTC": 1e6}))
    trades = [(0, -6e5, 1), (2, -3e5, 1)]
    assert judged(proposal(market, trades, instrument_share=0.6), "instrument_share") == ("passed", 0.6)
    (found,) = outcomes(proposal(market, trades, instrument_share=0.599), "instrument_share")
    assert (found.outcome, found.value) == ("failed", 0.6)
    assert found.subject == market.instruments[0].key


def test_share_of_one_currency_in_the_collateral():
    balances = (Balance("alpha", "USDT", 3e5), Balance("beta", "USDT", 3e5), Balance("beta", "USDC", 2e5))
    market = build(Spec((Perp("alpha", fee=0.0), Perp("beta", fee=0.0)), {"BTC": 1e6}, balances=balances))
    trades = [(0, -1e5, 1)]
    name = "collateral_currency_share"
    assert judged(proposal(market, trades, collateral_currency_share=0.75), name) == ("passed", 0.75)
    (found,) = outcomes(proposal(market, trades, collateral_currency_share=0.74), name)
    assert (found.outcome, found.subject, found.value) == ("failed", "USDT", 0.75)
    # The fee of 10 bp on $100k leaves $100 less of USDT.
    paid = build(Spec((Perp("alpha", fee=1e-3), Perp("beta")), {"BTC": 1e6}, balances=balances))
    share = judged(proposal(paid, trades, collateral_currency_share=0.75), name)[1]
    assert share == pytest.approx((6e5 - 100) / (8e5 - 100), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_without_orders_nothing_is_concerned(name):
    found = outcomes(proposal(build(ROLL), [], [1e9, 1e9], **dict.fromkeys(NAMES, 0.01)), name)
    assert [(o.outcome, o.reason) for o in found] == [("passed", "no order is concerned")]
