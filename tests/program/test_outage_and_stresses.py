"""Outages and stresses in dollars by hand: lost collateral, depeg, deleveraging, funding caps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import answer, check_bound
from markets import build
from random_markets import random_spec, reference
from specs import Balance, Perp, Spec, limit, objective
from transformations import scaled

from allocator import evaluate
from allocator.audit import audit
from allocator.audit.limits import limit_values
from allocator.errors import Infeasible
from allocator.margin import Shock, equity, maintenance
from allocator.market.types import Decision
from allocator.scenario.schema import Stress


def one_venue(stress: Stress, quote: str = "USDT", **balance: float) -> Spec:
    """1m of the quote currency at alpha, and one BTC perp there: 0.4 % maintenance margin at any size."""
    return Spec(
        perps=(Perp(quote=quote, funding_cap=0.003, funding_hours=8.0),),
        exposure={"BTC": 5e6},
        balances=(Balance("alpha", quote, 1e6, **balance),),
        stresses={"it": stress},
    )


def stressed(spec: Spec, position: float) -> tuple[float, float]:
    """Equity and maintenance margin at alpha under the stress."""
    market, x = build(spec), np.array([position])
    shock = Shock.of(market, 1)
    return (
        float(equity(market, x, market.collateral.balance, shock)[0]),
        float(maintenance(market, x, shock, "true")[0]),
    )


def test_a_depeg_hits_profit_collateral_and_haircut_at_once():
    """USDC falls to 0.87, as in March 2023, and its haircut rises by 10 points; bitcoin stays in dollars."""
    spec = one_venue(
        Stress.model_construct(currencies={"USDC": -0.13}, haircut_step=0.10), quote="USDC", haircut=0.02
    )
    worth, required = stressed(spec, -4e6)
    # The USDC price rises by 1/0.87: a short of 4m loses 4m·(1/0.87 − 1) USDC, each worth 0.87: 520,000.
    # 1m USDC are worth 870,000; what is left, 350,000, counts at 1 − 2 % − 10 %.
    assert worth == pytest.approx(0.88 * (870_000 - 520_000), abs=0.005)
    # The contract is worth in dollars what it was: 0.4 % of 4m.
    assert required == pytest.approx(16_000.0, abs=0.005)
    # A long gains as much; all of it counts after the raised haircut.
    worth, _ = stressed(spec, 4e6)
    assert worth == pytest.approx(0.88 * (870_000 + 520_000), abs=0.005)
    # A short large enough to leave a debt: the debt takes no haircut.
    worth, _ = stressed(spec, -8e6)
    assert worth == pytest.approx(870_000 - 1_040_000, abs=0.005)


@pytest.mark.parametrize(
    ("move", "position", "gain"),
    [
        # A short wins 30 % of 4m; half of it was closed at the old mark before the fall.
        (-0.3, -4e6, 0.5 * 1.2e6),
        # A loser keeps all its loss.
        (0.1, -4e6, -0.4e6),
        (-0.1, 4e6, -0.4e6),
        (0.3, 4e6, 0.5 * 1.2e6),
    ],
)
def test_a_deleveraged_winner_loses_its_share_of_the_gain_and_a_loser_nothing(move, position, gain):
    spec = one_venue(Stress.model_construct(move=move, auto_deleveraged=0.5))
    worth, required = stressed(spec, position)
    assert worth == pytest.approx(1e6 + gain, abs=0.005)
    # Margin is still asked for the whole position: what was closed is not counted on.
    assert required == pytest.approx(0.004 * 4e6 * (1 + move), abs=0.005)


def test_funding_at_its_cap_for_three_days_at_each_venue_s_own_interval():
    spec = one_venue(Stress.model_construct(funding_at_cap=72.0))
    # 0.3 % at each of nine settlements of 4m, whichever side: 108,000.
    assert stressed(spec, -4e6)[0] == pytest.approx(1e6 - 108_000, abs=0.005)
    assert stressed(spec, 4e6)[0] == pytest.approx(1e6 - 108_000, abs=0.005)
    hourly = replace(spec, perps=(replace(spec.perps[0], funding_cap=0.04, funding_hours=1.0),))
    assert stressed(hourly, -1e5)[0] == pytest.approx(1e6 - 72 * 4_000, abs=0.005)


RALLY = {"crash": Stress.model_construct(move=-0.2)}


def two_venues(**outage: object) -> Spec:
    values = {"max": None, "max_loss": None, "max_loss_share": None, "recovery": None, "stresses": []}
    return Spec(
        perps=(Perp(venue="alpha", funding=-1e-4), Perp(venue="beta", basis_sd=6e-4)),
        exposure={"BTC": 1e7},
        balances=(
            Balance("alpha", "USDT", 2e6, withdrawable=1e6, cost=5e-5, delay=0.5),
            Balance("beta", "USDT", 1e6),
        ),
        stresses=RALLY,
        limits={"outage": limit("venue_outage", **{**values, **outage}), "side": limit("hedge_side")},
        objective=objective(risk_aversion_per_usd=1e-5),
    )


@pytest.mark.parametrize(
    ("outage", "worst", "usd"),
    [
        # 60 % of 2m is lost where 40 % comes back.
        ({"max_loss": 1e6, "recovery": 0.4}, "limits.outage.max_loss (alpha now)", 2e5),
        ({"max_loss_share": 0.15, "recovery": 0.0}, "limits.outage.max_loss (alpha now)", 5e5),
        # After a fall by 20 % the short of 6m has gained 1.2m there as well.
        (
            {"max_loss": 2e6, "recovery": 0.0, "stresses": ["crash"]},
            "limits.outage.max_loss (alpha crash)",
            1.2e6,
        ),
        (
            {"max_loss": 1.9e6, "max_loss_share": 1.0, "recovery": 0.0},
            "limits.outage.max_loss (alpha now)",
            1e5,
        ),
        # Without alpha: 10m − 4m of beta's short is naked.
        ({"max": 5e6, "max_loss": 1e9, "recovery": 0.0}, "limits.outage.max (alpha BTC long)", 1e6),
    ],
)
def test_loss_and_naked_delta_are_told_apart_in_dollars(outage, worst, usd):
    market = build(two_venues(**outage))
    decision = Decision(np.array([-6e6, -4e6]), np.zeros(1))
    prices = {v.name: np.zeros(len(v.subjects)) for v in limit_values(market, decision)}
    judged = audit(market, decision, prices)
    assert judged.permitted.worst_limit == worst
    assert judged.permitted.max_violation_usd == pytest.approx(usd, abs=0.005)


def test_collateral_is_moved_away_from_a_venue_that_could_lose_too_much_and_priced_so():
    bound = 1.5e6
    found = answer(build(two_venues(max_loss=bound, recovery=0.0, venues=["alpha"])))
    assert found.audit.passed
    sent = 5e5 / (1 + 5e-5)  # half a million leaves, its cost included
    assert found.solution.decision.transfers == pytest.approx([sent], rel=1e-6)
    # Half a million more would do otherwise: its price is the cost of sending a dollar, h/H of 0.5 bp.
    price = float(found.price("limits.outage.max_loss")[0])
    step = 1e3
    wider = [two_venues(max_loss=bound + d, recovery=0.0, venues=["alpha"]) for d in (-step, step)]
    costs = [answer(build(spec)).cost for spec in wider]
    assert price == pytest.approx((costs[0] - costs[1]) / (2 * step), rel=1e-3)
    assert price == pytest.approx(5e-5 / (1 + 5e-5), rel=1e-3)


def test_gains_that_an_outage_would_take_bound_the_hedge_there():
    spec = two_venues(max_loss=2.1e6, recovery=0.0, stresses=["crash"])
    spec = replace(spec, balances=tuple(replace(b, withdrawable=0.0, delay=None) for b in spec.balances))
    found = answer(build(spec))
    assert found.audit.passed
    # 2m there already: the short may gain 0.1m in a fall by 20 %.
    assert found.positions[0] == pytest.approx(-5e5, rel=1e-5)
    assert float(found.price("limits.outage.max_loss")[2]) > 0  # rows: alpha now, beta now, alpha crash


def random_outage(seed: int) -> Spec:
    """A random market with a bound on outage losses near what some decision would lose."""
    spec, rng = random_spec(seed), np.random.default_rng([seed, 9])
    market = build(spec)
    x = reference(market, rng)
    rows = range(len(market.stresses.names))
    most = max(float(evaluate.outage_worth(market, x, market.collateral.balance, s).max()) for s in rows)
    recovery = float(rng.uniform(0, 0.9))
    bound = (1 - recovery) * most * float(rng.uniform(0.9, 1.2)) + 1e-4 * spec.book_usd
    outage = limit("venue_outage", max_loss=bound, recovery=recovery, stresses="all")
    return replace(spec, limits={**spec.limits, "loss": outage})


def test_random_outages_are_proven_and_scale():
    solved, binding = 0, 0
    for seed in range(7):
        spec = random_outage(seed)
        try:
            found = answer(build(spec))
        except Infeasible:
            continue
        solved += 1
        assert found.audit.passed, (seed, found.audit.permitted, found.audit.duality_gap_usd)
        binding += bool(found.price("limits.loss.max_loss").max() > 1e-8)
        if seed % 4 == 0:
            twice = answer(build(scaled(spec, 2.0)))
            assert twice.cost == pytest.approx(2 * found.cost, abs=2e-6 * twice.audit.scale_usd)
    assert solved >= 4
    assert binding >= 1


def test_the_bound_on_outages_holds_whatever_the_prices():
    checked = 0
    for seed in range(3):
        market, rng = build(random_outage(seed)), np.random.default_rng(seed)
        try:
            found = answer(market)
        except Infeasible:
            continue
        check_bound(found, rng, 6)
        checked += 1
    assert checked >= 2
