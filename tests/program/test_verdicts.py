"""Verdicts are proofs: optima as the plain path finds them, certificates that hold, else doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import random_market
from specs import limit, single_asset

from allocator.audit import audit
from allocator.errors import Infeasible
from allocator.program.build import Program
from allocator.program.parametric import Cell, Cones, Pattern
from allocator.program.slots import StructureChanged
from allocator.program.solve import solve
from allocator.program.verdicts import Judge, proves_infeasible


@pytest.mark.parametrize("seed", range(4))
def test_an_optimum_is_that_of_the_plain_path(seed):
    market = random_market(seed)
    verdict = Judge(Program(market))(market)
    plain = solve(Program(market))
    judged = audit(market, verdict.solution.decision, verdict.solution.multipliers.limits)
    assert judged.passed
    assert not verdict.infeasible
    assert verdict.solution.objective_usd == pytest.approx(plain.objective_usd, abs=1e-8 * judged.scale_usd)


def capped(gross, ratio):
    """A ratio of the hedge that needs so much of the gross cap."""
    limits = {"gross": limit("gross", max=gross), "full": limit("hedge_ratio", min=ratio, max=2.0)}
    return build(replace(single_asset(1e7, 2, 1e-6), limits=limits))


def test_a_market_without_a_decision_is_proven_so_and_others_after_it_are_solved():
    program = Program(capped(9e6, 0.5), frozenset({"limits"}))
    judge = Judge(program)
    for gross, ratio in ((9e6, 0.5), (4e6, 0.5), (5.1e6, 0.5), (9e6, 0.95), (9.6e6, 0.95)):
        market = capped(gross, ratio)
        verdict = judge(market)
        assert verdict.infeasible == (gross < ratio * 1e7)
        assert (verdict.solution is None) == verdict.infeasible
        if verdict.infeasible:
            with pytest.raises(Infeasible):
                solve(Program(market))


def test_another_structure_is_refused():
    market = capped(9e6, 0.5)
    judge = Judge(Program(market))
    with pytest.raises(StructureChanged):
        judge(capped(8e6, 0.5))  # compiled as a constant
    with pytest.raises(StructureChanged):
        judge(replace(market, limits=market.limits[:1]))


# x ≤ 1 and −x ≤ −b: possible up to b = 1.
ROWS = Pattern(np.array([0, 1]), np.array([0, 2]), (2, 1))
SIDES = np.array([1.0, -1.0])


def cell(b):
    return Cell(np.zeros(0), np.zeros(1), SIDES, np.array([1.0, -b]))


@pytest.mark.parametrize(
    ("b", "z", "proven"),
    [
        (2.0, [1.0, 1.0], True),
        (1.0, [1.0, 1.0], False),
        (0.5, [1.0, 1.0], False),
        (2.0, [1.0, 1.1], False),  # leaves 0.1 of x: a large x would do
        (2.0, [-1.0, -1.0], False),  # of the wrong sign, it proves nothing
        (2.0, [np.nan, 1.0], False),
    ],
)
def test_a_certificate_by_hand(b, z, proven):
    assert proves_infeasible(ROWS, Cones(0, 2, ()), cell(b), np.array(z)) is proven


def test_a_certificate_of_a_cone_is_made_dual_before_it_counts():
    """x = b and |x| ≤ 1, the latter as (1, x) in the cone: without its first entry z would prove too much."""
    rows = Pattern(np.array([0, 2]), np.array([0, 2]), (3, 1))
    for b, first, proven in ((2.0, 1.0, True), (2.0, 0.0, True), (0.5, 1.0, False), (0.5, 0.0, False)):
        found = Cell(np.zeros(0), np.zeros(1), np.array([1.0, -1.0]), np.array([b, 1.0, 0.0]))
        z = np.array([-1.0, first, -1.0])
        assert proves_infeasible(rows, Cones(1, 0, (2,)), found, z) is proven
