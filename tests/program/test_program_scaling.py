"""Books of which margin leaves a dear part unhedged: multipliers of millions, and no breach for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from markets import build
from random_markets import ALWAYS, Wish, random_spec
from specs import Balance, Perp, Spec, brackets, limit, objective

from allocator.audited import audited
from allocator.program.build import Program
from models.collateral import HaircutTiers

DUST = Wish(costs="impact", kinds=ALWAYS, soft=False, transfers=False, wrong_side=False, open_orders=False)
# $1.32bn of bitcoin; a unified account at uniMMR 1.5 with $120m of them for collateral and a loan of $20m.
COIN = HaircutTiers(np.array([100e6, 120e6, 150e6, 180e6, 200e6]), np.array([0, 0.025, 0.05, 0.1, 0.15]))
LINEAR = brackets(
    [0, 300e3, 800e3, 3e6, 12e6, 70e6, 100e6, 230e6, 480e6, 600e6, 800e6, 1.2e9],
    [0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5],
    [150, 100, 75, 50, 25, 20, 10, 5, 4, 3, 2, 1],
    cap=1.8e9,
)
PERPS = (
    Perp(inverse=True, quote="USD", brackets=brackets([0.0], [0.1], [5.0], cap=1e10), fee=5.1e-4),
    Perp(brackets=LINEAR, fee=5.05e-4),
)


def unified(aversion: float, loan: float = 20e6) -> Spec:
    return Spec(
        PERPS,
        {"BTC": 1.32e9},
        currency_sd={"USDT": 5e-4},
        balances=(Balance("alpha", "BTC", 120e6, tiers=COIN), Balance("alpha", "USDT", -loan)),
        limits={"ratio": limit("maintenance_margin", stresses=[], buffer=1.5), "side": limit("hedge_side")},
        objective=objective(risk_aversion_per_usd=aversion),
        book_usd=1.32e9,
        holding_hours=336.0,
    )


@pytest.mark.parametrize("aversion", [1e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3, 1e-2])
def test_a_binding_margin_is_met_however_dear_it_is(aversion):
    found = answer(build(unified(aversion)))
    assert found.audit.permitted.passed, found.audit.permitted
    assert found.audit.passed
    (slack,) = [v.slack_usd for v in found.audit.values if v.name == "limits.ratio.buffer"]
    assert abs(slack[0]) <= 1e-7 * found.market.book_usd
    # What the next dollar of collateral saves, by the plain formulas at the neighbours' optima.
    fewer, more = (answer(build(unified(aversion, 20e6 + d))) for d in (1e5, -1e5))
    assert fewer.audit.passed
    assert more.audit.passed
    saved = (fewer.cost - more.cost) / 2e5
    assert found.price("limits.ratio.buffer")[0] == pytest.approx(saved, rel=1e-3)


@pytest.mark.parametrize("price", [1e-2, 1.0, 1e2, 1e4])
def test_a_dear_breach_is_the_least_one(price):
    """Nobody sells more than the trade cap, so a soft gross limit is breached by what is held beyond it."""
    held = 9e6
    spec = Spec(
        (Perp(previous=-held, fee=3e-4),),
        {"BTC": 1e7},
        limits={
            "gross": limit("gross", max=1e6, soft=price),
            "turnover": limit("turnover", max=2e6),
            "side": limit("hedge_side"),
        },
        objective=objective(risk_aversion_per_usd=1e-7),
    )
    found = answer(build(spec))
    assert found.audit.passed
    assert found.positions[0] == pytest.approx(-7e6, abs=1.0)
    # Breach, risk and cost by hand.
    by_hand = price * 6e6 + 0.5e-7 * (0.025 * 3e6) ** 2 + 0.5e-7 * (4e-4 * 7e6) ** 2 + 3e-4 * 2e6
    assert found.cost == pytest.approx(by_hand, rel=1e-7)
    assert found.solution.objective_usd == pytest.approx(by_hand, rel=1e-7)
    assert found.price("limits.gross.max")[0] == pytest.approx(price, rel=1e-6)
    # One more dollar of turnover spares a dollar of breach; it costs risk and its fee.
    slope = price - 1e-7 * 0.025**2 * 3e6 + 1e-7 * 4e-4**2 * 7e6 - 3e-4
    assert found.price("limits.turnover.max")[0] == pytest.approx(slope, rel=1e-4)


def test_a_debt_that_costs_nothing_leaves_no_variable_without_a_price():
    """What nothing prices or bounds would run away, and relative tolerances with it."""
    found = answer(build(unified(1e-6)))
    assert all(np.max(np.abs(v.value)) < 1e3 for v in found.program.problem.variables())
    charged = answer(build(replace(unified(1e-6), charges={"alpha": 1e-4})))
    assert charged.audit.passed
    # 1 bp of 120m of coins; the debt earns nothing.
    assert charged.cost - found.cost == pytest.approx(12_000.0, rel=1e-4)


@pytest.mark.parametrize("seed", [52, 130, 132, 203, 207, 338, 369, 373])
def test_an_account_of_some_dollars_leaves_a_book_of_millions_solvable(seed):
    """Of the first way's answers to these the audit refuses all; some other way of the solver is exact."""
    rng = np.random.default_rng(seed)
    spec = random_spec(seed, DUST)
    small = spec.perps[0].venue
    spec = replace(
        spec,
        perps=tuple(replace(perp, previous=0.0) for perp in spec.perps),
        balances=tuple(
            replace(b, usd=50.0 * rng.lognormal(0, 1)) if b.venue == small else b for b in spec.balances
        ),
    )
    solution, judged = audited(Program(build(spec)))
    assert judged.passed
    assert np.isfinite(solution.decision.positions).all()
