"""The curve of a frontier: its ends, its shape, and the distance between its points."""

from __future__ import annotations

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from answers import answer, some_decision
from markets import build
from random_markets import random_market
from samples import chunks
from specs import single_asset

from allocator import evaluate
from allocator.audit.audit import breach_cost, check_limits
from allocator.errors import HedgeError, ScenarioError
from allocator.frontiers.curve import arc, ends, spaced
from allocator.frontiers.programs import Ask, Programs, aversion
from allocator.frontiers.quantities import axes, measure
from allocator.frontiers.references import references
from allocator.market.types import Market
from allocator.program.build import Program
from allocator.program.coefficients import COST

COUNT = 9
SCALE = 1e-5  # of the scale of costs: ties are broken with a millionth of them, and rounding errors added


def utility(market: Market) -> Market:
    goal = market.objective.model_copy(update={"mode": "utility"})
    return replace(market, objective=goal)


def drawn(market: Market, x="volatility", y="cost", count=COUNT):
    chosen = axes(x, y)
    programs = Programs(market, chosen, aversion(market, answer(market).solution.decision))
    low, high = ends(chosen, programs.solve, programs.tried)
    return chosen, programs, spaced(chosen, low, high, count, programs.tried)


def places(chosen, curve):
    names = (chosen.bounded, chosen.minimised)
    return np.array([[found.values[name] for name in names] for found in curve.points])


def solved(market: Market, risk: float, cost: float) -> float:
    """Least of a weighted sum of ‖factors‖ and cost, by a solver and a formulation of its own."""
    program = Program(utility(market))
    spent = program._cost() + sum(
        row.rows.price / COST * cp.sum(row.breach) for row in program.limits if row.breach is not None
    )
    goal = risk * cp.norm(cp.hstack(program.variables.factors), 2) + cost * spent
    problem = cp.Problem(cp.Minimize(goal), program.problem.constraints)
    problem.solve(solver="CLARABEL")
    assert problem.status == cp.OPTIMAL
    return float(problem.value) * market.book_usd * (risk / program.root + cost * COST)


def check(market: Market) -> None:
    chosen, _, curve = drawn(market)
    if len(curve.points) == 1:
        return
    at = places(chosen, curve)
    scale = max(found.scale_usd for found in curve.points)
    reach = np.ptp(at, axis=0)
    assert len(at) == COUNT
    # Both ends.
    assert at[0, 0] == pytest.approx(solved(market, 1.0, 0.0), abs=1e-4 * reach[0] + 1e-9 * market.book_usd)
    assert at[-1, 1] == pytest.approx(solved(market, 0.0, 1.0), abs=SCALE * scale)
    # No point is dominated, and the curve is convex.
    assert (np.diff(at[:, 0]) > 0).all()
    assert (np.diff(at[:, 1]) < 0).all()
    slopes = np.diff(at[:, 1]) / np.diff(at[:, 0])
    assert (np.diff(slopes) >= -1e-6 * np.abs(slopes[:-1])).all()
    # Every point is permitted, and what it says is so.
    for found in curve.points:
        assert check_limits(market, found.decision)[0].passed
        values = measure(market, found.decision)
        assert values == found.values
        assert values["volatility"] ** 2 == pytest.approx(
            sum(evaluate.variances(market, found.decision.positions).values())
        )
    # Nothing permitted lies below the curve.
    rng = np.random.default_rng(1)
    for _ in range(20):
        other = some_decision(market, rng)
        if check_limits(market, other)[0].passed and measure(market, other)["volatility"] >= at[0, 0]:
            mine = measure(market, other)
            lowest = _support(at, mine["volatility"])
            assert mine["cost"] >= lowest - SCALE * scale


def _support(at, x):
    """A bound below a convex curve known at some points: chords, continued, lie below it."""
    slopes = np.diff(at[:, 1]) / np.diff(at[:, 0])
    beyond = [
        at[k, 1] + slope * (x - at[k, 0])
        for k, slope in enumerate(slopes)
        if not at[k, 0] <= x <= at[k + 1, 0]
    ]
    return max([at[-1, 1], *beyond])


@pytest.mark.parametrize("seed", [4])
def test_ends_shape_and_permission(seed):
    check(utility(random_market(seed)))


@pytest.mark.long
@pytest.mark.parametrize("seeds", chunks(60, 3, 1, first=11), ids=str)
def test_random_curves(seeds):
    for seed in seeds:
        check(utility(random_market(seed)))


def test_points_are_evenly_spaced_along_the_curve():
    market = utility(random_market(12))
    chosen, programs, curve = drawn(market, count=6)
    at = places(chosen, curve)
    # Lengths along the curve measured with points of their own, between those drawn.
    fine = [curve.points[0]]
    shares = (0.003, 0.03, 0.2, 0.6)
    for left, right in zip(curve.points[:-1], curve.points[1:], strict=True):
        low, high = left.values["volatility"], right.values["volatility"]
        for share in shares:
            found = programs.solve(Ask("cost", low + share * (high - low)))
            fine.append(found)
        fine.append(right)
    span = at[-1] - at[0]
    lengths = arc(chosen, fine, span)
    ours = lengths[:: len(shares) + 1] / lengths[-1]
    assert ours == pytest.approx(np.linspace(0, 1, 6), abs=0.05 / 5)


def test_one_coin_one_perp_is_a_curve_known_in_closed_form():
    # Volatility σ|e + x| with funding received on shorts: cost falls by φ for each dollar short beyond e.
    market = build(single_asset(exposure=1e6, venues=1, risk_aversion=1e-6, funding=1e-4))
    chosen, _, curve = drawn(market, count=5)
    at = places(chosen, curve)
    for found in curve.points:
        x = float(found.decision.positions[0])
        phi = float(market.funding.cost[0])
        trading = market.horizon_share * float(evaluate.charged_cost(market, np.array([x])).sum())
        assert found.values["cost"] == pytest.approx(phi * x + trading, rel=1e-6, abs=1e-3)
    # A straight line is cut into equal parts.
    if len(at) == 5:
        assert np.diff(at[:, 0]) == pytest.approx(np.full(4, np.ptp(at[:, 0]) / 4), rel=1e-2)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ("gross", "cost"),
        pytest.param("turnover", "objective", marks=pytest.mark.long),
        pytest.param("margin", "volatility", marks=pytest.mark.long),
        pytest.param("volatility", "objective", marks=pytest.mark.long),
    ],
)
def test_other_quantities_fall_where_more_is_allowed(x, y):
    market = utility(random_market(1))
    chosen, programs, curve = drawn(market, x, y, count=4)
    at = places(chosen, curve)
    assert len(at) == 4
    assert (np.diff(at[:, 0]) > 0).all()
    assert (np.diff(at[:, 1]) < 0).all()
    # Less of the bounded quantity than at the first point, no plan has.
    if x != "volatility" and at[0, 0] > 1e-6 * at[-1, 0]:
        with pytest.raises(HedgeError):
            programs.solve(Ask(y, 0.99 * float(at[0, 0])))
    unbounded = programs.solve(Ask(y, None))
    assert at[-1, 1] == pytest.approx(unbounded.values[y], abs=1e-5 * (abs(at[-1, 1]) + unbounded.scale_usd))


def test_axes_may_be_swapped_and_wrong_ones_are_named():
    one, other = axes("volatility", "cost"), axes("cost", "volatility")
    assert (one.minimised, one.bounded) == (other.minimised, other.bounded) == ("cost", "volatility")
    with pytest.raises(ScenarioError, match="no such quantity"):
        axes("delta", "cost")
    with pytest.raises(ScenarioError, match="no trade-off"):
        axes("gross", "turnover")
    with pytest.raises(ScenarioError, match="no trade-off"):
        axes("cost", "cost")


def test_references_are_what_their_names_say():
    market = random_market(3)
    own = answer(market).solution.decision
    found = {r.name: r for r in references(market, own)}
    assert found["doing_nothing"].values["turnover"] == 0
    assert found["no_hedge"].values["gross"] == 0
    for name, reference in found.items():
        if name.startswith("one_to_one."):
            venue = name.removeprefix("one_to_one.")
            x = reference.decision.positions
            assert {market.instruments[k].venue for k in np.flatnonzero(x)} <= {venue}
            for a in np.unique(market.asset_of[x != 0]):
                first = np.flatnonzero((market.asset_of == a) & (x != 0))
                assert x[market.asset_of == a].sum() == pytest.approx(-market.hedged_exposure[first[0]])
    assert not found["scenario"].breaches
    values = check_limits(market, own)[1]
    assert found["scenario"].values["breaches_usd"] == pytest.approx(breach_cost(values))
