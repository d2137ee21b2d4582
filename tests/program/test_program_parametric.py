"""The fast path gives what the plain one gives, multipliers included; what it cannot solve goes to that."""

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from random_markets import ANYTHING, PLAIN, Wish, random_market, random_spec
from specs import limit, objective, single_asset

from allocator.audit import audit
from allocator.errors import HedgeError, Infeasible
from allocator.program.backends import backend, fastest
from allocator.program.build import Program, numbers
from allocator.program.parametric import Parametric
from allocator.program.solve import solve
from allocator.sweeps.fast import Answer, Solver

VARYING = frozenset({"funding", "limits", "exposure", "cash", "collateral", "risk", "previous"})


def fast(program, market, name):
    form = Parametric(program)
    data = form.data([numbers(market, program.shape)])
    (cell,) = data.cells()
    point = backend(form, name).solve(cell, float(data.d[0]))
    assert point is not None
    return form.read(market, point)


@pytest.mark.parametrize("seed", range(5))
def test_clarabel_by_both_paths_is_the_same_to_the_last_multiplier(seed):
    market = random_market(seed)
    program = Program(market, VARYING)
    plain, quick = solve(program), fast(Program(market, VARYING), market, "CLARABEL")
    scale = audit(market, plain.decision, plain.multipliers.limits).scale_usd
    assert quick.objective_usd == pytest.approx(plain.objective_usd, abs=1e-9 * scale)
    assert quick.decision.positions == pytest.approx(plain.decision.positions, abs=1e-5 * market.book_usd)
    assert quick.multipliers.limits.keys() == plain.multipliers.limits.keys()
    worth = 1e-5 * scale / market.book_usd
    for name, price in plain.multipliers.limits.items():
        assert quick.multipliers.limits[name] == pytest.approx(price, abs=worth, rel=1e-4), name
    assert quick.multipliers.lower == pytest.approx(plain.multipliers.lower, abs=worth, rel=1e-4)
    assert quick.multipliers.upper == pytest.approx(plain.multipliers.upper, abs=worth, rel=1e-4)
    assert quick.breaches.keys() == plain.breaches.keys()


@pytest.mark.parametrize("seed", range(3))
def test_piqp_passes_the_audit_with_its_own_multipliers(seed):
    market = random_market(seed, replace(PLAIN, costs="linear", kappa=False))
    program = Program(market, VARYING)
    assert fastest(Parametric(program)) == "PIQP"
    plain, quick = solve(program), fast(program, market, "PIQP")
    judged = audit(market, quick.decision, quick.multipliers.limits)
    assert judged.passed
    assert judged.objective_usd == pytest.approx(plain.objective_usd, abs=1e-6 * judged.scale_usd)
    assert quick.solver == "PIQP"


def variations(seed, wish, count):
    """Markets of one structure whose funding, exposure, collateral and limits differ."""
    spec, rng = random_spec(seed, wish), np.random.default_rng(seed)

    def near(value, width=0.02):
        return value * float(rng.uniform(1 - width, 1 + width))

    return [
        build(
            replace(
                spec,
                perps=tuple(replace(p, funding=near(p.funding, 0.5)) for p in spec.perps),
                exposure={a: near(usd) for a, usd in spec.exposure.items()},
                balances=tuple(replace(b, usd=b.usd + 0.05 * abs(b.usd)) for b in spec.balances),
            )
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_gives_what_each_market_gives_alone(seed):
    markets = variations(seed, replace(ANYTHING, shared_basis=False), 3)
    solver = Solver()
    # The second batch meets compiled programs and solvers that remember other numbers.
    answers = solver.solve(markets[:2]) + solver.solve(markets[2:])
    for market, found in zip(markets, answers, strict=True):
        try:
            plain = solve(Program(market))
        except Infeasible:
            assert isinstance(found, Infeasible)
            continue
        assert isinstance(found, Answer)
        assert found.audit.passed
        assert found.solution.objective_usd == pytest.approx(
            plain.objective_usd, abs=1e-6 * found.audit.scale_usd
        )


BASE = replace(
    single_asset(1e7, 3, 1e-5, fee=3e-4, basis_sd=5e-4),
    limits={"it": limit("gross", max=9e6)},
)


def test_structures_are_compiled_once_and_grouped():
    specs = [
        replace(BASE, limits={"it": limit("gross", max=most)}, perps=BASE.perps[:venues])
        for most in (8e6, 9e6, 1e7)
        for venues in (2, 3)
    ]
    solver = Solver()
    answers = solver.solve([build(spec) for spec in specs])
    assert len(solver._compiled) == 2
    for spec, found in zip(specs, answers, strict=True):
        assert isinstance(found, Answer)
        assert found.solution.decision.positions == pytest.approx(
            solve(Program(build(spec))).decision.positions, abs=1.0
        )
    before = list(solver._compiled)
    solver.solve([build(replace(BASE, limits={"it": limit("gross", max=7e6)}))])
    assert {id(c) for c in solver._compiled} == {id(c) for c in before}


def test_what_did_not_vary_before_becomes_a_parameter():
    solver = Solver()
    solver.solve([build(BASE)])
    other = build(replace(BASE, objective=objective(risk_aversion_per_usd=1e-4)))
    (found,) = solver.solve([other])
    assert isinstance(found, Answer)
    assert found.solution.decision.positions == pytest.approx(
        solve(Program(other)).decision.positions, abs=1.0
    )


@pytest.mark.parametrize("name", ["PIQP", "CLARABEL"])
def test_an_infeasible_cell_names_its_conflict_and_harms_no_other(name):
    bad = replace(BASE, limits={"it": limit("gross", max=1e6), "net": limit("net_delta", min=-1e6, max=1e6)})
    good = replace(bad, limits={**bad.limits, "it": limit("gross", max=1.2e7)})
    first, second, third = Solver(name).solve([build(good), build(bad), build(good)])
    assert isinstance(second, Infeasible)
    assert {member.name for member in second.conflict} == {"limits.it.max", "limits.net.max"}
    assert isinstance(first, Answer)
    assert isinstance(third, Answer)
    assert third.solution.decision.positions == pytest.approx(first.solution.decision.positions, abs=1e-3)


def test_numbers_that_are_not_finite_are_refused():
    program = Program(build(BASE), VARYING)
    values = {**numbers(build(BASE), program.shape), "funding.cost": np.full(3, np.nan)}
    with pytest.raises(ValueError, match="not finite"):
        Parametric(program).data([values])


def test_numbers_that_overflow_fail_their_cell_alone():
    market = build(BASE)
    huge = replace(market, funding=replace(market.funding, cost=np.full(3, 1e305)))
    good, bad = Solver().solve([market, huge])
    assert isinstance(good, Answer)
    assert isinstance(bad, HedgeError)


def test_piqp_takes_no_cones():
    market = random_market(0, Wish(mode="utility", costs="impact"))
    with pytest.raises(ValueError, match="does not take"):
        backend(Parametric(Program(market)), "PIQP")
