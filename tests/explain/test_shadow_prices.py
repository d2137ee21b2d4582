"""Prices against re-solved optima: between the differences for bounds, the slope for coefficients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import ALWAYS, Wish
from samples import chunks
from small_markets import small_spec
from specs import Balance, limit, objective, single_asset

from allocator.audit.audit import objective as total
from allocator.audit.audit import objective_and_scale
from allocator.audit.limits import limit_values
from allocator.explanations.figures import figures, touched
from allocator.explanations.prices import derivative, shadow_prices
from allocator.explanations.resolve import Resolver
from allocator.program.build import Program
from allocator.program.solve import solve

STEPS = (1e-4, 1e-2)  # of a figure's size


def cost(market, solution):
    return total(market, solution.decision, tuple(limit_values(market, solution.decision)))


def misses(seed):
    """How far prices of one random market are outside of what re-solving says: bounds, coefficients."""
    spec = small_spec(seed, Wish())
    market = build(spec)
    solution = solve(Program(market))
    values = tuple(limit_values(market, solution.decision))
    size = objective_and_scale(market, solution.decision, values)[1]
    known = figures(market, spec.stresses)
    price = {f.name: derivative(market, solution, f) for f in known}
    dear = sorted(known, key=lambda f: -abs(price[f.name]) * f.size)
    bounds = [f for f in dear if not f.coefficient][:2]
    coefficients = [f for f in dear if f.coefficient][:2]
    resolver = Resolver(market, frozenset().union(*(touched(market, f) for f in (*bounds, *coefficients))))
    best = cost(market, resolver(market))

    def saved(figure, step):
        """By relaxing the figure by a step; None where nothing is permitted."""
        moved = figure.move(market, figure.value + step * (figure.relaxing or 1.0))
        found = resolver(moved)
        return None if found is None else best - cost(moved, found)

    outside, off = [], []
    for figure in bounds:
        step = STEPS[seed % 2] * figure.size
        noise = 1e-6 * size / step
        falls, rises = saved(figure, step), saved(figure, -step)
        p = price[figure.name]
        breaches = (falls / step - p, p - np.inf if rises is None else p + rises / step)
        outside += [max(breach, 0.0) / max(0.01 * abs(p), noise) for breach in breaches]
    for figure in coefficients:
        step = 1e-4 * figure.size
        up, down = saved(figure, step), saved(figure, -step)
        if up is None or down is None or abs(up + down) > 0.01 * abs(up - down) + 1e-7 * size:
            continue  # a kink: the derivative is one of many
        slope = (up - down) / (2 * step)
        off.append(abs(price[figure.name] - slope) / (0.01 * abs(slope) + 1e-6 * size / step))
    return outside, off


def check(seeds, told):
    rows = [misses(seed) for seed in seeds]
    outside = np.array([m for bounds, _ in rows for m in bounds])
    off = np.array([m for _, coefficients in rows for m in coefficients])
    with told():
        print(f"{len(rows)} markets; shares of what is allowed (1% or 1e-6 of the scale over the step):")
        for name, found in (
            ("bounds, outside the differences", outside),
            ("coefficients, off the slope", off),
        ):
            print(f"  {name}: {len(found)} prices, median {np.median(found):.2g}, worst {found.max():.2g}")
    assert len(outside) >= 2 * len(rows)
    assert len(off) >= 0.3 * len(rows)
    assert outside.max() <= 1
    assert off.max() <= 1


def test_prices_are_what_resolving_saves(told):
    check(range(15), told)


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(300, 80, 20, first=1000))
def test_prices_are_what_resolving_saves_at_length(told, seeds):
    check(seeds, told)


def capped(gross, **goal):
    spec = single_asset(1e7, 2, 1e-6, basis_sd=0.0)
    return replace(
        spec,
        limits={"gross": limit("gross", max=gross)},
        objective=objective(**{"risk_aversion_per_usd": 1e-6, **goal}),
    )


def test_price_of_a_cap_in_closed_form():
    """λσ²(e − G) per dollar."""
    market = build(capped(6e6))
    prices = shadow_prices(market, solve(Program(market)), {})
    expected = 1e-6 * 0.025**2 * 4e6
    found = prices.of("limits.gross.max")
    assert found.saves_usd == pytest.approx(expected, rel=1e-6)
    assert found is prices.figures[0]
    assert found.subjects == (("book", pytest.approx(expected, rel=1e-6)),)
    assert dict(prices)["limits.gross.max"] == pytest.approx([expected], rel=1e-6)


def test_collateral_sums_the_prices_of_all_that_rest_on_it():
    """One venue, θ·E binding: a dollar more lets θ·L dollars more be hedged, and costs its charge."""
    spec = single_asset(1e7, 1, 1e-6, leverage=5.0, basis_sd=0.0)
    spec = replace(
        spec,
        balances=(Balance("venue0", "USDT", 1e6),),
        charges={"venue0": 1e-5},
        limits={"margin": limit("initial_margin", use=0.8)},
    )
    market = build(spec)
    solution = solve(Program(market))
    prices = shadow_prices(market, solution, {})
    hedged = 0.8 * 5 * 1e6
    slope = 1e-6 * 0.025**2 * (1e7 - hedged)
    assert solution.decision.positions == pytest.approx([-hedged], rel=1e-6)
    deposit = prices.collateral[0]
    assert deposit.saves_usd == pytest.approx(0.8 * 5 * slope - 1e-5, rel=1e-6)
    assert deposit.charge_usd == pytest.approx(1e-5, rel=1e-9)
    assert prices.of("limits.margin.use").saves_usd == pytest.approx(5 * 1e6 * slope, rel=1e-6)


@pytest.mark.parametrize("budget", [100.0, 1e6])
def test_under_a_cost_budget_prices_are_in_dollars_of_cost(budget):
    """A dollar of budget is worth a dollar; where it is slack, nothing has a price in it."""
    spec = single_asset(1e7, 1, 1e-6, fee=5e-5, basis_sd=0.0)
    goal = objective(mode="min_variance", cost_budget=budget, risk_aversion_per_usd=1e-6)
    market = build(replace(spec, objective=goal, limits={"gross": limit("gross", max=1e7)}))
    solution = solve(Program(market))
    price = shadow_prices(market, solution, {}).of("objective.cost_budget")
    assert price.saves_usd is None if budget == 1e6 else price.saves_usd == pytest.approx(1.0)


def test_random_kinds_have_figures():
    """Every kind of limit with a number has a figure, so that none goes without a price."""
    seen = set()
    for seed in range(12):
        spec = small_spec(seed, Wish(soft=False))
        seen |= {f.kind for f in figures(build(spec), spec.stresses)}
    assert seen >= {"gross", "turnover", "net_delta", "liquidity", "volatility", "collateral", "stress"} | (
        ALWAYS - {"hedge_side"}
    )
