"""Margin beyond brackets, through program and audit: rates that grow, tiers, netting, portfolios.

Each scheme is put under random markets: the program's margin is the plain formula's, the answer is proven by
the audit's bound, and what the venue really charges is never more than the program kept for it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import answer, some_decision
from markets import build
from random_markets import random_market
from specs import Balance, Perp, Spec, limit, objective

from allocator.errors import Infeasible
from allocator.margin import Shock, all_stresses, equity, initial, maintenance
from allocator.market.scheme import Netting, Portfolio, Scheme, groups_by, tier_majorant
from allocator.market.stresses import scaled_tiers
from allocator.market.types import Market
from models.margin import Brackets, Schedules
from models.schedules import PortfolioMargin, quadratic_margin

SEEDS = range(12)


def quadratic(market: Market, rng: np.random.Generator) -> Scheme:
    n = len(market.instruments)
    bend = rng.uniform(0, 0.02, n) / market.book_usd * rng.integers(0, 2, n)
    return replace(market.scheme, bend=bend, initial_bend=2 * bend)


def tiers(market: Market, rng: np.random.Generator) -> Scheme:
    """Every other instrument under tiers on the whole position."""
    n = len(market.instruments)
    whole = np.arange(n) % 2 == 0
    caps = np.cumsum(rng.uniform(0.05, 0.5, (n, 4)), axis=1) * market.book_usd
    rates = 0.004 + np.cumsum(rng.uniform(0, 0.01, (n, 4)), axis=1)
    stated = [
        Brackets(np.append(0.0, c[:-1]), np.append(c[:-1], np.inf), r, np.zeros(4), np.full(4, 10.0))
        for c, r in zip(caps, rates, strict=True)
    ]
    bounded = [replace(b, caps_usd=c) for b, c in zip(stated, caps, strict=True)]
    plain = [i.brackets for i in market.instruments]
    convex = [tier_majorant(b) if w else p for b, w, p in zip(bounded, whole, plain, strict=True)]
    true = [b if w else p for b, w, p in zip(stated, whole, plain, strict=True)]
    return replace(
        market.scheme, schedules=Schedules.of(convex), whole_position=whole, tiers=Schedules.of(true)
    )


def netting(market: Market, rng: np.random.Generator) -> Scheme:
    groups = groups_by(market.venue_of, market.asset_of).items()
    return replace(market.scheme, netting=tuple(Netting(v, a, m) for (v, a), m in groups if len(m) > 1))


def portfolio(market: Market, rng: np.random.Generator) -> Scheme:
    """Every other group under portfolio margin."""
    found = []
    for k, ((venue, asset), members) in enumerate(groups_by(market.venue_of, market.asset_of).items()):
        if k % 2 == 0:
            move = float(rng.uniform(0.05, 0.15))
            rules = PortfolioMargin(
                np.array([-2 * move, -move, 0.8 * move, 2 * move]),
                np.array([0.4, 1.0, 1.0, 0.45]),
                float(rng.uniform(0, move)),
                float(rng.uniform(0, 0.01)),
                None,
                1.3,
            )
            found.append(Portfolio(venue, asset, members, rules))
    return replace(market.scheme, portfolios=tuple(found))


SCHEMES = {"quadratic": quadratic, "tiers": tiers, "netting": netting, "portfolio": portfolio}


def under(name: str, seed: int) -> Market:
    rng = np.random.default_rng([seed, 77])
    market = random_market(seed)
    scheme = SCHEMES[name](market, rng)
    return replace(market, scheme=scheme, stresses=scaled_tiers(market.stresses, scheme.whole_position))


@pytest.mark.parametrize("name", SCHEMES)
def test_the_answer_is_proven_and_the_venue_never_asks_for_more(name):
    solved = 0
    for seed in SEEDS:
        market = under(name, seed)
        try:
            found = answer(market)
        except Infeasible:
            continue
        solved += 1
        assert found.audit.passed, (seed, found.audit.permitted, found.audit.duality_gap_usd)
        assert found.solution.objective_usd == pytest.approx(found.cost, abs=1e-6 * found.audit.scale_usd)
    assert solved >= len(SEEDS) // 2


@pytest.mark.parametrize("name", SCHEMES)
def test_the_true_requirement_is_at_most_the_program_s(name):
    for seed in SEEDS:
        market, rng = under(name, seed), np.random.default_rng(seed)
        for _ in range(20):
            x = some_decision(market, rng).positions
            for s in range(len(market.stresses.names)):
                shock = Shock.of(market, s)
                true, held = (maintenance(market, x, shock, form) for form in ("true", "program"))
                assert np.all(true <= held * (1 + 1e-9) + 1e-9)
            assert np.all(initial(market, x, "true") <= initial(market, x, "program") + 1e-9)


@pytest.mark.parametrize("name", [*SCHEMES, "brackets"])
@pytest.mark.parametrize("form", ["program", "true"])
def test_stresses_side_by_side_are_each_stress_alone(name, form):
    for seed in SEEDS:
        market = random_market(seed) if name == "brackets" else under(name, seed)
        decision = some_decision(market, np.random.default_rng(seed))
        x, there = decision.positions, market.collateral.balance
        equities, required = all_stresses(market, x, there, form)
        for s in range(len(market.stresses.names)):
            shock = Shock.of(market, s)
            assert equities[s] == pytest.approx(equity(market, x, there, shock), rel=1e-12)
            assert required[s] == pytest.approx(maintenance(market, x, shock, form), rel=1e-12)


def test_deribit_margin_through_the_program():
    """One short hedging BTC: initial margin of 2 % + 0.005 % per BTC binds, at the published size."""
    price, equity = 100_000.0, 53_125.0
    spec = Spec(
        perps=(Perp(venue="deribit", asset="BTC", basis_sd=4e-4, leverage=50.0),),
        balances=(Balance("deribit", "USDT", equity),),
        exposure={"BTC": 1e7},
        asset_sd={"BTC": 0.025},
        limits={"initial": limit("initial_margin", venues="all", use=1.0, soft=None)},
        objective=objective(risk_aversion_per_usd=1e-5),
    )
    market = build(spec)
    rate, bend = np.array([0.02]), np.array([0.00005 / price])
    market = replace(market, scheme=replace(market.scheme, initial_rate=rate, initial_bend=bend, bend=bend))
    found = answer(market)
    # Deribit's page: 25 BTC need 2.125 %, 0.53125 BTC; the equity is just that, less nothing for costs.
    assert found.positions == pytest.approx([-25 * price], rel=1e-6)
    assert quadratic_margin(25 * price, 0.02, 0.00005 / price) == pytest.approx(equity)
    assert found.audit.passed


def test_a_long_and_a_short_of_one_coin_need_the_larger_side():
    spec = Spec(
        perps=(
            Perp(venue="kraken", asset="BTC", basis_sd=4e-4, label="perp", previous=-1e6),
            Perp(venue="kraken", asset="BTC", basis_sd=4e-4, label="dated", previous=4e5),
        ),
        balances=(Balance("kraken", "USDT", 1e6),),
        exposure={"BTC": 6e5},
        asset_sd={"BTC": 0.025},
    )
    market = build(spec)
    market = replace(market, scheme=replace(market.scheme, netting=(Netting(0, 0, np.arange(2)),)))
    held = market.positions.usd
    one = replace(market.scheme, netting=())
    apart = maintenance(replace(market, scheme=one), held, Shock.of(market, 0), "true")
    assert maintenance(market, held, Shock.of(market, 0), "true") == pytest.approx(apart * 10 / 14)
