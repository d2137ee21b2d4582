"""New numbers in a compiled program give what a fresh one gives; what was not declared is refused."""

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from markets import build
from random_markets import Wish, random_market, random_spec
from specs import limit, objective, single_asset

from allocator.audit import audit
from allocator.program.build import Program
from allocator.program.slots import StructureChanged
from allocator.program.solve import solve
from allocator.scenario.schema import Stress

EVERYTHING = frozenset(
    {
        *("risk", "exposure", "cash", "previous", "box", "funding", "cost", "transfer", "collateral"),
        *("margin", "open", "stress", "limits", "objective"),
    }
)


def other_numbers(spec, rng):
    """The same structure with every number changed a little; each has room for the first one's answer."""

    def near(value):
        return value * float(rng.uniform(0.98, 1.02))

    perps = tuple(
        replace(
            p, previous=near(p.previous), funding=near(p.funding), basis_sd=near(p.basis_sd), fee=near(p.fee)
        )
        for p in spec.perps
    )
    return replace(
        spec,
        perps=perps,
        exposure={a: near(usd) for a, usd in spec.exposure.items()},
        asset_sd={a: near(sd) for a, sd in spec.asset_sd.items()},
        balances=tuple(replace(b, usd=b.usd + 0.05 * abs(b.usd)) for b in spec.balances),
        charges={v: near(c) for v, c in spec.charges.items()},
    )


@pytest.mark.parametrize("seed", range(4))
def test_updated_equals_fresh(seed):
    wish = Wish(mode="utility", shared_basis=False, kinds=frozenset({"hedge_side", "maintenance_margin"}))
    spec = random_spec(seed, wish)
    market = build(other_numbers(spec, np.random.default_rng(seed)))
    program = Program(build(spec), EVERYTHING)
    solve(program)
    program.update(market)
    updated = solve(program)
    judged = audit(market, updated.decision, updated.multipliers.limits)
    assert judged.passed
    fresh = answer(market)
    assert updated.objective_usd == pytest.approx(fresh.solution.objective_usd, abs=1e-7 * judged.scale_usd)
    assert updated.decision.positions == pytest.approx(fresh.positions, abs=1e-5 * market.book_usd)


@pytest.mark.parametrize("seed", range(4))
def test_a_program_with_everything_varying_is_dpp_and_gives_the_same(seed):
    market = random_market(seed)
    program = Program(market, EVERYTHING)
    assert program.problem.is_dcp(dpp=True)
    assert all(len(parameter.shape) <= 2 for parameter in program.problem.parameters())
    fixed = answer(market)
    varying = solve(program)
    assert varying.objective_usd == pytest.approx(
        fixed.solution.objective_usd, abs=1e-6 * fixed.audit.scale_usd
    )


def test_a_sweep_of_risk_aversion_and_of_a_limit():
    spec = single_asset(1e7, 3, 1e-5, fee=3e-4)
    spec = replace(spec, limits={"it": limit("gross", max=9e6)})
    program = Program(build(spec), frozenset({"risk", "limits.it"}))
    for aversion, most in [(1e-5, 9e6), (1e-4, 8e6), (1e-6, 1e7)]:
        changed = replace(
            spec,
            objective=objective(risk_aversion_per_usd=aversion),
            limits={"it": limit("gross", max=most)},
        )
        program.update(build(changed))
        assert solve(program).decision.positions == pytest.approx(answer(build(changed)).positions, abs=1.0)


BASE = replace(
    single_asset(1e7, 2, 1e-5, fee=3e-4),
    limits={
        "soft": limit("gross", max=9e6, soft=1e-3),
        "reserve": limit("liquidity", warning=2.0, reserve=0.0),
        "ratio": limit("hedge_ratio", min=0.0, max=1.2),
        "sd": limit("volatility", max=1e6),
    },
    stresses={"up": Stress.model_construct(move=0.2)},
)
UNDECLARED = {
    "a number": replace(BASE, exposure={"BTC": 1.1e7}),
    "a bound": replace(BASE, limits={**BASE.limits, "sd": limit("volatility", max=2e6)}),
    "a price": replace(BASE, limits={**BASE.limits, "soft": limit("gross", max=9e6, soft=2e-3)}),
    "a warning": replace(
        BASE, limits={**BASE.limits, "reserve": limit("liquidity", warning=3.0, reserve=0.0)}
    ),
    "a stress": replace(BASE, stresses={"up": Stress.model_construct(move=0.3)}),
    "softness": replace(BASE, limits={**BASE.limits, "soft": limit("gross", max=9e6)}),
    "a limit less": replace(BASE, limits={"soft": BASE.limits["soft"]}),
    "a venue": replace(single_asset(1e7, 3, 1e-5), limits=BASE.limits),
    "a side": replace(BASE, limits={**BASE.limits, "side": limit("hedge_side")}),
    "a mode": replace(BASE, objective=objective(mode="min_cost", volatility_limit=1e6)),
}


@pytest.mark.parametrize("change", UNDECLARED)
def test_an_undeclared_change_is_refused(change):
    program = Program(build(BASE))
    before = solve(program).decision.positions
    with pytest.raises(StructureChanged):
        program.update(build(UNDECLARED[change]))
    assert solve(program).decision.positions == pytest.approx(before)


COMPILED = {
    "risk aversion under a volatility limit": replace(BASE, objective=objective(risk_aversion_per_usd=1e-4)),
    "sign of an exposure under a hedge ratio": replace(BASE, exposure={"BTC": -1e7}),
    "price of a breach": UNDECLARED["a price"],
    "warning level": UNDECLARED["a warning"],
    "a first charge on collateral": replace(BASE, charges={"venue0": 1e-4}),
    "shared basis": replace(BASE, perps=tuple(replace(p, basis="one") for p in BASE.perps)),
}


@pytest.mark.parametrize("change", COMPILED)
def test_what_is_compiled_as_a_constant_is_refused_even_if_all_may_vary(change):
    program = Program(build(BASE), EVERYTHING)
    with pytest.raises(StructureChanged):
        program.update(build(COMPILED[change]))
