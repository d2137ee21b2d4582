"""The program says what the plain formulas say: every term, every limit, at any decision.

The program holds |x|, margins and costs as bounds of variables. At a given decision the tightest values of
these variables are found by a linear program over the program's own defining rows, and compared.
"""

import cvxpy as cp
import numpy as np
import pytest
from answers import answer, some_decision
from random_markets import Wish, random_market

from allocator.audit.audit import objective
from allocator.audit.limits import limit_values
from allocator.program.build import Program
from allocator.program.coefficients import COST

LOW = ("free_size", "order_size", "turnover", "cost", "impact", "credit")  # bounded from below


def tighten(program, decision):
    """Give every variable of the program its tightest value at the decision."""
    book = program.market.book_usd
    rows = {id(row.constraint) for row in program.limits} | {id(program.lower), id(program.upper)}
    tied = [c for c in program.problem.constraints if id(c) not in rows]
    fixed = [program.variables.positions == decision.positions / book]
    if program.market.transfers.routes:
        fixed.append(program.variables.transfers == decision.transfers / book)
    ties = cp.Problem(cp.Minimize(0), [*tied, *fixed])
    named = {v: v.name() for v in ties.variables()}
    goal = [
        cp.sum(v) for v, name in named.items() if name in LOW or name.startswith(("maintenance_", "lacking "))
    ]
    goal += [-cp.sum(v) for v, name in named.items() if name.startswith("counted_")]
    tightest = cp.Problem(cp.Minimize(sum(goal)), ties.constraints)
    tightest.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    for row in program.limits:
        if row.breach is not None:
            row.breach.value = np.maximum(row.rows.value.value - row.rows.bound.value, 0.0)


def check_formulas(market, decision):
    program = Program(market)
    tighten(program, decision)
    book = market.book_usd
    values = limit_values(market, decision)
    rows = {}
    for row in program.limits:
        slack = np.atleast_1d(row.rows.bound.value - row.rows.value.value) * book
        for subject, usd in zip(row.rows.subjects, slack, strict=True):
            assert (row.rows.name, subject) not in rows
            rows[row.rows.name, subject] = usd
    assert set(rows) == {(v.name, subject) for v in values for subject in v.subjects}
    for v in values:
        for subject, usd in zip(v.subjects, v.slack_usd, strict=True):
            assert rows[v.name, subject] == pytest.approx(usd, abs=1e-6 * book), (v.name, subject)
    for row in program.limits:
        prices = {v.price for v in values if v.name == row.rows.name}
        assert prices == {row.rows.price}
    found = program.problem.objective.value * book * COST
    plain = objective(market, decision, tuple(values))
    assert found == pytest.approx(plain, abs=1e-7 * max(abs(plain), COST * book))


@pytest.mark.parametrize("seed", range(8))
def test_program_equals_formulas_at_any_decision(seed):
    market = random_market(seed)
    check_formulas(market, some_decision(market, np.random.default_rng(seed)))


@pytest.mark.parametrize("seed", range(6))
def test_order_of_multipliers_is_the_order_of_the_audited_limits(seed):
    """Prices meet values by name and place."""
    market = random_market(seed)
    program = Program(market)
    subjects = {}
    for row in program.limits:
        subjects.setdefault(row.rows.name, []).extend(row.rows.subjects)
    audited = {}
    for v in limit_values(market, some_decision(market, np.random.default_rng(seed))):
        audited.setdefault(v.name, []).extend(v.subjects)
    assert subjects == audited


@pytest.mark.parametrize("seed", range(5))
def test_the_stated_optimum_is_the_plain_objective(seed):
    found = answer(random_market(seed, Wish()))
    assert found.audit.passed
    assert found.solution.objective_usd == pytest.approx(found.cost, abs=1e-7 * found.audit.scale_usd)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1200))
def test_formulas_and_optimum_at_length(seed):
    market = random_market(seed)
    check_formulas(market, some_decision(market, np.random.default_rng(seed)))
    found = answer(market)
    assert found.audit.passed, (found.audit.permitted, found.audit.duality_gap_usd / found.audit.scale_usd)
    assert found.solution.objective_usd == pytest.approx(found.cost, abs=1e-7 * found.audit.scale_usd)
