"""Effects of inputs and decision on random markets: they add up, and each input moves its own terms only."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answers import answer
from markets import build
from random_markets import random_spec

from allocator import result
from allocator.explanations.attribution import TERMS, attribute
from allocator.explanations.finished import Finished


def finished(name, found):
    """A run as it would be read back."""
    market, decision = found.market, found.solution.decision
    said = {
        "run_id": name,
        "status": "optimal",
        "objective": result.objective(market, found.audit, decision),
        "positions": [
            {"venue": i.exchange, "account": i.account, "symbol": i.symbol, "target_usd": result.usd(x)}
            for i, x in zip(market.instruments, decision.positions, strict=True)
        ],
        "transfers": result.transfers(market, decision),
    }
    return Finished(Path(name), said, {}, {"objective": {"tie_break": market.objective.tie_break}})


def tomorrow(spec, rng):
    """Another day: exposure, funding, fees and balances are others; today's trades were made."""
    perps = tuple(
        replace(p, funding=p.funding + float(rng.normal(0, 1e-4)), spread=p.spread * float(rng.uniform(1, 2)))
        for p in spec.perps
    )
    grown = {a: usd * float(rng.uniform(0.99, 1.01)) for a, usd in spec.exposure.items()}
    balances = tuple(replace(b, usd=b.usd * 1.05) for b in spec.balances)
    return replace(spec, perps=perps, exposure=grown, balances=balances)


def check_attribution(seed):
    rng = np.random.default_rng(seed)
    spec = random_spec(seed)
    one, two = answer(build(spec)), answer(build(tomorrow(spec, rng)))
    found = attribute(finished("one", one), finished("two", two), (one.market, two.market))
    assert found.why_coarse is None
    for term in TERMS:
        effects = sum(step.effects[term] for step in found.steps)
        assert effects == pytest.approx(found.after[term] - found.before[term], abs=1e-4)
    cents = sum(step.total for step in found.steps) - (two.cost - one.cost)
    assert abs(cents) < 5e-3
    steps = {step.name: step.effects for step in found.steps}
    weight = {"min_variance": one.market.objective.tie_break}.get(one.market.objective.mode, 1.0)
    change = (two.market.funding.cost - one.market.funding.cost) @ one.positions
    assert steps["funding"]["funding"] == pytest.approx(weight * change, rel=1e-6, abs=1e-3)
    for name, own in (
        ("prices", {"transfer"}),
        ("exposure", {"risk", "breaches"}),
        ("funding", {"funding", "funding_uncertainty"}),
        ("risk model", set()),
        ("trading costs", {"trading", "impact", "breaches"}),
        ("horizons and objective", {"breaches"}),
    ):
        moved = {term for term, usd in steps[name].items() if abs(usd) > 1e-3}
        # The first step also takes the transfers as made, with what their money changes where it arrives.
        assert moved <= own | ({"collateral", "breaches"} if name == "prices" else set()), name
    return abs(cents)


@pytest.mark.parametrize("seed", range(8))
def test_effects_add_up_to_the_cent(seed):
    check_attribution(seed)


@pytest.mark.long
def test_effects_add_up_at_length(told):
    errors = [check_attribution(seed) for seed in range(200, 260)]
    with told():
        print(f"60 pairs of markets: attribution misses the change by ${max(errors):.1e} at most")
