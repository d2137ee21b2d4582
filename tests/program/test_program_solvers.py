"""Solvers of other families agree: QOCO on every program, PIQP on those without cones."""

import cvxpy as cp
import pytest
from answers import answer
from random_markets import ALWAYS, Wish, random_market

from allocator.errors import SolverFailed

UNIQUE = Wish(shared_basis=False)  # every perp has a basis of its own: positions are unique
AFFINE = ALWAYS | {"net_delta", "gross", "turnover", "venue_outage", "liquidity", "collateral_share"}
QUADRATIC = Wish(shared_basis=False, mode="utility", costs="book", kappa=False, kinds=AFFINE)


def agree(market, solver, position_share):
    if solver not in cp.installed_solvers():
        pytest.skip(f"{solver} is not installed; pip install '.[test]'")
    one, other = answer(market), answer(market, solver)
    assert other.solution.solver == solver
    assert other.audit.permitted.passed
    # What the other breaches, within the audit's tolerance, it gains at the price of what is breached.
    dearest = max((float(y.max(initial=0.0)) for y in one.solution.multipliers.limits.values()), default=0.0)
    gained = dearest * other.audit.permitted.max_violation_usd
    scale = one.audit.scale_usd
    if other.audit.duality_gap_usd > 1e-6 * scale:
        raise SolverFailed(f"{solver} stopped early: the audit would refuse its answer")
    assert other.cost == pytest.approx(one.cost, abs=1e-6 * scale + gained)
    assert other.positions == pytest.approx(one.positions, abs=position_share * market.book_usd)


@pytest.mark.parametrize("seed", range(3))
def test_qoco_agrees(seed):
    agree(random_market(seed, UNIQUE), "QOCO", 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_piqp_agrees_without_cones(seed):
    agree(random_market(seed, QUADRATIC), "PIQP", 1e-5)


@pytest.mark.long
def test_qoco_agrees_at_length():
    gave_up = []
    for seed in range(2000, 2200):
        try:
            # Among so many, some have a risk so small that the optimum is flat to this share of the book.
            agree(random_market(seed, UNIQUE), "QOCO", 1e-4)
        except SolverFailed:
            gave_up.append(seed)
    assert len(gave_up) <= 4, gave_up
