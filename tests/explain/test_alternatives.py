"""Doing nothing, a plain hedge, and each venue switched off, priced with the same objective."""

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from markets import build
from random_markets import PLAIN, random_market, random_spec
from specs import Balance, limit, single_asset

from allocator.explanations.alternatives import doing_nothing, plain_hedge
from allocator.explanations.venue_off import switching_resolver, venues_off

LAMBDA = 2e-6


def switched_off(found):
    return venues_off(found.market, found.solution.decision, switching_resolver(found.market))


def test_doing_nothing_by_hand():
    spec = single_asset(1e7, 1, LAMBDA, fee=4e-4, basis_sd=0.0, funding=1e-4)
    found = answer(build(replace(spec, holding_hours=96.0)))
    x = float(found.positions[0])
    kept = doing_nothing(found.market, found.solution.decision)
    risk = LAMBDA / 2 * 0.025**2 * (1e7**2 - (1e7 + x) ** 2)
    assert kept.alternative.permitted
    assert kept.saves_usd_per_day == pytest.approx(risk - 1e-4 * x)
    assert kept.cash_usd == pytest.approx(-4e-4 * x)
    assert kept.break_even_hours == pytest.approx(24 * -4e-4 * x / (risk - 1e-4 * x))
    assert kept.alternative.dearer_usd_per_day == pytest.approx(kept.saves_usd_per_day + 4e-4 * x / 4)


def test_a_breach_by_doing_nothing_is_named_in_dollars():
    spec = single_asset(1e7, 1, LAMBDA, previous=-2e6)
    band = limit("net_delta", assets="all", min=-1e6, max=1e6, soft=None)
    found = answer(build(replace(spec, limits={"band": band})))
    kept = doing_nothing(found.market, found.solution.decision)
    (breach,) = kept.alternative.breaches
    assert (breach.limit, breach.subject) == ("limits.band.max", "BTC")
    assert breach.over_usd == pytest.approx(7e6)
    assert kept.to_json()["permitted"] is False


def test_nothing_to_do_saves_nothing():
    found = answer(build(single_asset(1e7, 1, 1e-9, previous=-1e7, fee=1e-3)))
    kept = doing_nothing(found.market, found.solution.decision)
    assert kept.break_even_hours is None
    assert kept.alternative.dearer_usd_per_day == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("seed", range(10))
def test_no_permitted_alternative_is_cheaper(seed):
    found = answer(random_market(seed))
    for other in (
        doing_nothing(found.market, found.solution.decision).alternative,
        plain_hedge(found.market, found.solution.decision),
    ):
        if other.permitted:
            assert other.dearer_usd_per_day >= -1e-6 * found.audit.scale_usd


def test_a_plain_hedge_leaves_no_delta():
    found = answer(build(single_asset(1e7, 3, LAMBDA, fee=1e-4)))
    plain = plain_hedge(found.market, found.solution.decision)
    assert plain.decision.positions == pytest.approx(np.full(3, -1e7 / 3))
    assert plain.terms["trading"] == pytest.approx(1e3)


@pytest.mark.parametrize("seed", range(3))
def test_a_venue_switched_off_costs_what_a_market_without_its_perps_does(seed):
    spec = random_spec(seed, replace(PLAIN, costs="linear", wrong_side=False))
    # Nothing held: then a market without a venue's perps, its collateral left, is the venue switched off.
    spec = replace(
        spec, perps=tuple(replace(p, previous=0.0, open_buys=0.0, open_sells=0.0) for p in spec.perps)
    )
    every = {(p.venue, p.settlement) for p in spec.perps} - {(b.venue, b.currency) for b in spec.balances}
    spec = replace(spec, balances=(*spec.balances, *(Balance(v, c, 0.0) for v, c in sorted(every))))
    found = answer(build(spec))
    checked = 0
    for off in switched_off(found):
        rest = replace(spec, perps=tuple(p for p in spec.perps if p.venue != off.venue))
        if {p.asset for p in rest.perps} != {p.asset for p in spec.perps}:
            continue
        without = answer(build(rest))
        assert off.status == "optimal"
        assert off.costs_usd_per_day == pytest.approx(
            without.cost - found.cost, abs=2e-6 * found.audit.scale_usd
        )
        assert off.costs_usd_per_day >= -1e-6 * found.audit.scale_usd
        checked += 1
    assert checked


def test_a_venue_that_cannot_be_missed_is_told_so():
    spec = single_asset(1e7, 1, LAMBDA, fee=1e-4)
    band = limit("net_delta", assets="all", min=-1e6, max=1e6, soft=None)
    found = answer(build(replace(spec, limits={"band": band})))
    (off,) = switched_off(found)
    assert (off.status, off.costs_usd_per_day) == ("infeasible", None)


def test_a_frozen_position_is_closed_with_its_venue():
    spec = single_asset(1e7, 2, LAMBDA, fee=1e-4)
    frozen = replace(spec.perps[1], previous=-1e6, no_trade=True)
    found = answer(build(replace(spec, perps=(spec.perps[0], frozen))))
    off = {o.venue: o for o in switched_off(found)}["venue1"]
    assert off.decision.positions[1] == 0.0
    assert off.cash_usd == pytest.approx(1e-4 * (1e6 - off.decision.positions[0]))
