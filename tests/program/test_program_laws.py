"""Laws that hold whatever the numbers: symmetry, scale, splitting, monotony, shadow prices, idempotence."""

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from hypothesis import given, settings
from markets import build
from random_markets import ALWAYS, PLAIN, Wish, random_spec, seeds
from specs import Balance, objective, single_asset
from transformations import scaled, twinned, widened

from allocator.audit import audit

UNIQUE = Wish(shared_basis=False)  # every perp has a basis of its own: positions are unique


def same_positions(one, other, book, tolerance=1e-5):
    for key in one:
        assert one[key] == pytest.approx(other[key], abs=tolerance * book), key


def permuting_instruments_permutes_the_answer(seed):
    spec = random_spec(seed, UNIQUE)
    order = np.random.default_rng(seed).permutation(len(spec.perps))
    mixed = replace(spec, perps=tuple(spec.perps[i] for i in order))
    one, other = answer(build(spec)), answer(build(mixed))
    assert other.cost == pytest.approx(one.cost, abs=1e-6 * one.audit.scale_usd)
    same_positions(one.by_key(), other.by_key(), spec.book_usd)


def doubling_all_amounts_and_halving_risk_aversion_doubles_the_answer(seed):
    spec = random_spec(seed, UNIQUE)
    one, two = answer(build(spec)), answer(build(scaled(spec, 2.0)))
    assert two.cost == pytest.approx(2 * one.cost, abs=1e-6 * two.audit.scale_usd)
    same_positions({k: 2 * x for k, x in one.by_key().items()}, two.by_key(), 2 * spec.book_usd)


def splitting_an_instrument_in_twins_leaves_the_totals(seed):
    spec = random_spec(seed, Wish(kinds=ALWAYS | {"gross", "turnover", "net_delta"}, shared_basis=False))
    i = seed % len(spec.perps)
    one, two = answer(build(spec)), answer(build(twinned(spec, i)))
    assert two.cost == pytest.approx(one.cost, abs=2e-6 * one.audit.scale_usd)
    whole, halves = one.by_key(), two.by_key()
    key = spec.perps[i].key
    halves[key] += halves.pop(replace(spec.perps[i], label="2").key)
    # A linear and an inverse perp of one coin may differ by a few basis points of basis only: a flat optimum.
    same_positions(whole, halves, spec.book_usd, tolerance=3e-5)


def wider_limits_never_cost_more(seed):
    spec = random_spec(seed)
    one = answer(build(spec))
    for key in np.random.default_rng(seed).permutation(list(spec.limits))[:3]:
        weaker = replace(spec, limits={**spec.limits, key: widened(spec.limits[key], 1.05)})
        assert answer(build(weaker)).cost <= one.cost + 1e-6 * one.audit.scale_usd, key


def one_more_empty_venue_never_costs_more(seed):
    spec = random_spec(seed, Wish(shared_basis=False))
    first = spec.perps[0]
    more = replace(first, venue="zeta", previous=0.0, open_buys=0.0, open_sells=0.0, no_trade=False)
    balances = (
        *spec.balances,
        *(Balance("zeta", b.currency, 0.0) for b in spec.balances if b.venue == first.venue),
    )
    grown = replace(spec, perps=(*spec.perps, more), balances=balances)
    one, two = answer(build(spec)), answer(build(grown))
    assert two.cost <= one.cost + 1e-6 * one.audit.scale_usd


def no_prices(found):
    return {name: np.zeros(len(y)) for name, y in found.solution.multipliers.limits.items()}


BOUNDED_IN_USD = {
    "net_delta": ("min", "max"),
    "gross": ("max",),
    "turnover": ("max",),
    "liquidity": ("reserve",),
}


def a_shadow_price_lies_between_what_a_dollar_more_saves_and_a_dollar_less_costs(seed):
    kind = list(BOUNDED_IN_USD)[seed % len(BOUNDED_IN_USD)]
    spec = random_spec(seed, replace(UNIQUE, mode="utility", kinds=ALWAYS | {kind}, soft=False))
    one = answer(build(spec))
    step = 1e-4 * spec.book_usd
    for field in BOUNDED_IN_USD[kind]:
        sign = -1.0 if field == "min" else 1.0  # min ≤ value: a wider band has a lower min
        bound = spec.limits[kind]

        def at(move, bound=bound, field=field, sign=sign):
            moved = bound.model_copy(update={field: getattr(bound, field) + sign * move})
            return answer(build(replace(spec, limits={**spec.limits, kind: moved}))).cost

        price = float(one.price(f"limits.{kind}.{field}").sum())
        noise = 1e-6 * one.audit.scale_usd / step
        assert (one.cost - at(step)) / step <= price + noise
        assert price <= (at(-step) - one.cost) / step + noise


def solving_from_the_solution_trades_nothing(seed):
    """With linear costs only, and those paid taken from the collateral."""
    spec = random_spec(seed, replace(PLAIN, costs="linear", kappa=True, open_orders=False))
    one = answer(build(spec))
    paid = dict.fromkeys(((p.venue, p.settlement) for p in spec.perps), 0.0)
    for p, x in zip(spec.perps, one.positions, strict=True):
        paid[p.venue, p.settlement] += max(p.fee + p.spread, 0.0) * abs(x - p.previous)
    again = replace(
        spec,
        perps=tuple(replace(p, previous=float(x)) for p, x in zip(spec.perps, one.positions, strict=True)),
        balances=tuple(replace(b, usd=b.usd - paid.get((b.venue, b.currency), 0.0)) for b in spec.balances),
    )
    # What coins paid is made up by holdings, so that the exposure to hedge is the same.
    coins = {a: sum(usd for (_, c), usd in paid.items() if c == a) for a in spec.exposure}
    stable = {c: sum(usd for (_, d), usd in paid.items() if d == c) for c in spec.currency_sd}
    again = replace(
        again,
        exposure={a: usd + coins[a] for a, usd in spec.exposure.items()},
        cash={c: spec.cash.get(c, 0.0) + usd for c, usd in stable.items()},
    )
    two = answer(build(again))
    still = audit(two.market, replace(two.solution.decision, positions=one.positions), no_prices(two))
    assert still.objective_usd <= two.cost + 1e-8 * two.audit.scale_usd
    # Where fees over the holding horizon are a tenth of a basis point, the solver sees no kink sharper.
    assert two.positions == pytest.approx(one.positions, abs=5e-5 * spec.book_usd)


LAWS = [
    permuting_instruments_permutes_the_answer,
    doubling_all_amounts_and_halving_risk_aversion_doubles_the_answer,
    splitting_an_instrument_in_twins_leaves_the_totals,
    wider_limits_never_cost_more,
    one_more_empty_venue_never_costs_more,
    a_shadow_price_lies_between_what_a_dollar_more_saves_and_a_dollar_less_costs,
    solving_from_the_solution_trades_nothing,
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("law", LAWS)
def test_law(law, seed):
    law(seed)


@pytest.mark.long
@pytest.mark.parametrize("law", LAWS)
@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_law_at_length(law, seed):
    law(seed)


def test_a_slack_budget_buys_no_wash_trades():
    """One basis on two venues: going long here and short there changes no variance, and is not done."""
    spec = single_asset(1e7, 2, 1e-5, basis="one", fee=1e-4)
    goal = objective(mode="min_variance", cost_budget=1e6, risk_aversion_per_usd=1e-5)
    dear = replace(spec.perps[1], fee=2e-4)
    found = answer(build(replace(spec, perps=(spec.perps[0], dear), objective=goal)))
    assert found.audit.passed
    assert found.price("objective.cost_budget") == pytest.approx([0.0], abs=1e-9)
    assert found.positions[0] == pytest.approx(-1e7, rel=1e-3)
    assert found.positions[1] == pytest.approx(0.0, abs=1.0)
