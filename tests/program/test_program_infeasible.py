"""No solution is an error that names why; it is never an answer."""

from dataclasses import replace

import numpy as np
import pytest
from markets import build
from specs import Balance, limit, objective, single_asset

from allocator.errors import Infeasible, SolverFailed
from allocator.program.build import Program
from allocator.program.solve import solve

IMPOSSIBLE = {
    "delta against gross": (
        {"flat": limit("net_delta", min=-1e5, max=1e5), "small": limit("gross", max=5e6)},
        {"limits.flat.max", "limits.small.max"},
    ),
    "delta against turnover": (
        {"flat": limit("net_delta", min=-1e5, max=1e5), "still": limit("turnover", max=1e6)},
        {"limits.flat.max", "limits.still.max"},
    ),
    "delta against position caps": (
        {"flat": limit("net_delta", min=-1e5, max=1e5), "cap": limit("position", max=2e6)},
        {"limits.flat.max", "limits.cap.max"},
    ),
    "ratio against volatility": (
        {"ratio": limit("hedge_ratio", min=0.0, max=0.5), "calm": limit("volatility", max=1e4)},
        {"limits.ratio.max", "limits.calm.max"},
    ),
    "delta against margin": (
        {"flat": limit("net_delta", min=-1e5, max=1e5), "margin": limit("initial_margin", use=0.1)},
        {"limits.flat.max", "limits.margin.use"},
    ),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_the_conflict_names_the_limits_that_cannot_hold_together(case):
    limits, expected = IMPOSSIBLE[case]
    spec = replace(
        single_asset(1e7, 2, 1e-5),
        balances=(Balance("venue0", "USDT", 1e6), Balance("venue1", "USDT", 1e6)),
        limits={"roomy": limit("leverage", max=1e3), **limits},
    )
    with pytest.raises(Infeasible) as caught:
        solve(Program(build(spec)))
    assert {member.name for member in caught.value.conflict} == expected
    weights = [member.certificate for member in caught.value.conflict]
    assert weights == sorted(weights, reverse=True)
    assert min(weights) > 0
    for name in expected:
        assert name in str(caught.value)
    # Each of them alone can hold.
    for key in limits:
        solve(Program(build(replace(spec, limits={key: limits[key]}))))


def test_a_soft_limit_gives_way():
    flat = limit("net_delta", min=-1e5, max=1e5, soft=0.01)
    spec = replace(single_asset(1e7, 2, 1e-5), limits={"flat": flat, "still": limit("turnover", max=1e6)})
    found = solve(Program(build(spec)))
    assert np.abs(found.decision.positions).sum() == pytest.approx(1e6, rel=1e-6)
    assert found.breaches["limits.flat.max"] == pytest.approx([8.9e6], rel=1e-6)


def test_unbounded_is_a_failure():
    spec = single_asset(0.0, 2, 1e-9, basis="one")
    paid = replace(spec.perps[0], funding=-1e-4)  # long here, short there: no risk, and paid for it
    with pytest.raises(SolverFailed):
        solve(Program(build(replace(spec, perps=(paid, spec.perps[1]), objective=objective()))))


def test_an_unknown_or_missing_solver_is_a_failure():
    with pytest.raises(SolverFailed, match="NOSUCH"):
        solve(Program(build(single_asset(1e7, 2, 1e-5))), "NOSUCH")
