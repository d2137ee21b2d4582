"""The special cases that have a solution on paper, through the whole program: build, solve, audit."""

from dataclasses import replace

import numpy as np
import pytest
from answers import answer
from markets import build
from specs import Balance, Perp, Spec, brackets, limit, objective, single_asset

from allocator.scenario.schema import Stress
from models.closed_forms import (
    binding_margin_hedge,
    identical_venues_hedge,
    liquidation_leverage_cap,
    minimum_variance_hedge,
    minimum_variance_residual_sd,
    no_trade_band,
    regression_hedge,
    three_halves_hedge,
)
from models.hedge import hedge_effectiveness

E, SD = 1e7, 0.025
BASIS = np.array([4e-4, 5e-4, 8e-4])
FUNDING = np.array([3e-4, 4.5e-4, 1.5e-4])
SIDE = {"side": limit("hedge_side")}


def three_venues(risk_aversion, funding=(0.0, 0.0, 0.0), limits=None):
    spec = single_asset(E, 3, risk_aversion)
    perps = zip(spec.perps, BASIS, funding, strict=True)
    return replace(
        spec,
        perps=tuple(replace(p, basis_sd=float(s), funding=float(f)) for p, s, f in perps),
        limits=limits or {},
    )


def solved(spec):
    found = answer(build(spec))
    assert found.audit.passed
    return found


def test_one_venue_is_the_regression_hedge():
    found = solved(single_asset(E, 1, 1e-4, basis_sd=5e-3))
    assert found.positions == pytest.approx([regression_hedge(E, SD**2, SD**2 + 25e-6)], rel=1e-6)


def test_minimum_variance_over_venues():
    found = solved(three_venues(1e-4))
    assert found.positions == pytest.approx([-5_290_288.72, -3_385_784.78, -1_322_572.18], rel=1e-6)
    assert found.positions == pytest.approx(minimum_variance_hedge(E, SD, BASIS), rel=1e-6)
    sd = np.sqrt(2 * found.solution.objective_usd / 1e-4)
    assert sd == pytest.approx(2_909.37, abs=0.01)
    assert sd == pytest.approx(minimum_variance_residual_sd(E, SD, BASIS), rel=1e-6)
    assert hedge_effectiveness(sd**2, (E * SD) ** 2) == pytest.approx(0.99986457, abs=1e-8)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 1.0])
def test_two_venues_whose_bases_move_together(correlation):
    """Inverse covariance times one: x ∝ (b₂² − ρb₁b₂, b₁² − ρb₁b₂), and the whole as for one basis."""
    sd = np.array([4e-4, 5e-4])
    cross = correlation * sd.prod()
    spec = single_asset(E, 2, 1e-4)
    perps = tuple(replace(p, basis_sd=float(s)) for p, s in zip(spec.perps, sd, strict=True))
    found = solved(replace(spec, perps=perps, basis_correlation=correlation))
    weights = (sd[::-1] ** 2 - cross) / (sd @ sd - 2 * cross)
    least = (sd.prod() ** 2 - cross**2) / (sd @ sd - 2 * cross)
    # From ρ = b₁/b₂ on the wilder perp is held long against the calmer.
    assert (weights[1] < 0) == (correlation > 0.8)
    assert found.positions == pytest.approx(-weights * E * SD**2 / (SD**2 + least), rel=1e-5)


def test_alike_bases_that_are_one_do_not_diversify():
    """κ and risk see three venues as one when basis and funding errors are the same everywhere."""
    spec = single_asset(E, 3, 1e-5, basis_sd=5e-3, funding_sd=2e-4)
    spec = replace(spec, objective=objective(risk_aversion_per_usd=1e-5, funding_uncertainty_aversion=1.0))
    one = solved(replace(spec, perps=spec.perps[:1]))
    same = solved(replace(spec, basis_correlation=1.0, error_shares=(0.0, 1.0, 0.0)))
    apart = solved(spec)
    assert same.cost == pytest.approx(one.cost, rel=1e-6)
    assert same.positions.sum() == pytest.approx(one.positions.sum(), rel=1e-5)
    assert apart.cost < 0.7 * one.cost


@pytest.mark.parametrize("shared", [0.0, 0.4, 1.0])
def test_uncertain_funding_is_a_smaller_hedge(shared):
    """Identical venues, errors of correlation c: s·√(c + (1 − c)/V) is the error of a USD short on all."""
    venues, kappa, error, aversion = 4, 0.5, 2e-4, 1e-5
    spec = single_asset(E, venues, aversion, basis_sd=4e-4, funding_sd=error)
    goal = objective(risk_aversion_per_usd=aversion, funding_uncertainty_aversion=kappa)
    found = solved(replace(spec, objective=goal, error_shares=(shared / 2, shared / 2, 0.0)))
    cost = kappa * error * np.sqrt(shared + (1 - shared) / venues)
    hedge = (E - cost / (aversion * SD**2)) * SD**2 / (SD**2 + 16e-8 / venues)
    assert found.positions == pytest.approx(np.full(venues, -hedge / venues), rel=1e-5)


@pytest.mark.parametrize(
    ("risk_aversion", "expected"),
    [
        (1e-4, [-3_358_566, -8_149_482, 1_504_108]),
        (1e-6, [187_881_959, -479_755_546, 281_345_490]),  # without sides it explodes: caps are needed
    ],
)
def test_minimum_variance_with_funding(risk_aversion, expected):
    found = solved(three_venues(risk_aversion, FUNDING))
    assert found.positions == pytest.approx(expected, abs=1)
    exact = minimum_variance_hedge(E, SD, BASIS, FUNDING, risk_aversion)
    assert found.positions == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("risk_aversion", "expected"),
    [(1e-4, [-2_441_570, -7_562_605, 0]), (1e-5, [0, -10_067_973, 0])],
)
def test_funding_on_the_hedge_side_only(risk_aversion, expected):
    found = solved(three_venues(risk_aversion, FUNDING, SIDE))
    assert found.positions == pytest.approx(expected, abs=1)
    if risk_aversion == 1e-4:
        cost = float(FUNDING @ found.positions)
        assert cost == pytest.approx(-4_136, abs=1)
        assert np.sqrt(2 * (found.cost - cost) / 1e-4) == pytest.approx(3_907, abs=1)


@pytest.mark.parametrize(
    ("held", "edge"), [(0.0, 1), (-9.95e6, None), (-1.2e7, 0), (-1.0e7, None), (-10_077_421.0, 0)]
)
def test_no_trade_band(held, edge):
    found = solved(single_asset(E, 1, 1e-5, basis_sd=4e-4, spread=2e-4, fee=3e-4, previous=held))
    band = no_trade_band(E, SD, 4e-4, 5e-4, 1e-5)
    assert band == pytest.approx((-10_077_420.18, -9_917_461.13), abs=0.01)
    expected = held if edge is None else band[edge]
    assert found.positions == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("exposure", [E, -E])
def test_three_halves_impact(exposure):
    adv = 5e9
    found = solved(single_asset(exposure, 1, 1e-5, basis_sd=0.0, impact=SD / np.sqrt(adv), adv=adv))
    assert abs(found.positions[0]) == pytest.approx(9_735_247.69, rel=1e-6)
    assert found.positions == pytest.approx([three_halves_hedge(exposure, SD, adv, 1.0, 1e-5)], rel=1e-6)


@pytest.mark.parametrize("margin", [1.5e6, 2.0e6, 1e9])
def test_binding_margin_has_the_shadow_price_of_a_margin_dollar(margin):
    rates = np.array([0.25, 0.2, 0.1])
    spec = replace(
        single_asset(E, 1, 1e-4),
        perps=tuple(
            Perp(label=label, basis_sd=float(s), leverage=float(1 / m), funding=1e-5)
            for label, s, m in zip("123", BASIS, rates, strict=True)
        ),
        balances=(Balance("alpha", "USDT", margin),),
        limits={"margin": limit("initial_margin", use=1.0)},
    )
    found = solved(spec)
    exact, price = binding_margin_hedge(E, SD, BASIS, np.full(3, 1e-5), 1e-4, rates, margin)
    assert found.positions == pytest.approx(exact, rel=1e-6)
    assert found.price("limits.margin.use") == pytest.approx([price], rel=1e-6, abs=1e-9)


def test_without_basis_risk_shorts_go_to_the_highest_funding_first():
    rates = (1e-4, -3e-4, -2e-4, -1e-4)  # of a long: a short on the first venue earns, on the others it pays
    spec = single_asset(E, 4, 1e-4, basis_sd=0.0, brackets=brackets([0.0], [0.004], [100.0], 3e6))
    spec = replace(
        spec,
        perps=tuple(replace(p, funding=f) for p, f in zip(spec.perps, rates, strict=True)),
        limits={**SIDE, "flat": limit("net_delta", min=0.0, max=0.0)},
    )
    found = solved(spec)
    assert found.positions == pytest.approx([-3e6, -1e6, -3e6, -3e6], abs=10)
    assert found.cost == pytest.approx(-3e6 * (1e-4 - 2e-4 - 1e-4) - 1e6 * -3e-4, rel=1e-6)


@pytest.mark.parametrize(
    ("side", "rate", "move", "leverage"),
    [
        ("short", 0.004, 0.1, 9.5785),
        ("long", 0.004, 0.1, 9.6525),
        ("short", 0.01, 0.2, 4.717),
        ("long", 0.01, 0.2, 4.8077),
    ],
)
def test_surviving_a_move_is_a_cap_on_leverage(side, rate, move, leverage):
    equity = 1e5
    spec = replace(
        single_asset(E if side == "short" else -E, 1, 1e-4, brackets=brackets([0.0], [rate], [100.0])),
        balances=(Balance("venue0", "USDT", equity),),
        stresses={"move": Stress.model_construct(move=move if side == "short" else -move)},
        limits={**SIDE, "survive": limit("maintenance_margin", buffer=1.0)},
    )
    found = solved(spec)
    assert abs(found.positions[0]) / equity == pytest.approx(leverage, abs=5e-4)
    assert abs(found.positions[0]) / equity == pytest.approx(
        liquidation_leverage_cap(rate, move, side), rel=1e-6
    )


@pytest.mark.parametrize("costs", ["impact", "basis"])
def test_identical_venues_share_equally(costs):
    fields = {"impact": 1e-6, "basis_sd": 0.0} if costs == "impact" else {"basis_sd": 6e-4}
    found = solved(single_asset(E, 4, 1e-5, **fields))
    assert found.positions == pytest.approx(np.full(4, found.positions.mean()), rel=1e-5)
    if costs == "basis":
        assert found.positions == pytest.approx(identical_venues_hedge(E, SD, 6e-4, 4), rel=1e-6)


@pytest.mark.parametrize("move", [-0.9, -0.3, 0.5, 5.0])
def test_coin_margined_short_at_1x_is_never_liquidated_by_price(move):
    perp = Perp(quote="USD", inverse=True, leverage=1.0)
    spec = Spec(
        perps=(perp,),
        exposure={},
        balances=(Balance("alpha", "BTC", E),),
        stresses={"move": Stress.model_construct(move=move)},
        limits={
            "survive": limit("maintenance_margin", buffer=1.0),
            "margin": limit("initial_margin", use=1.0),
        },
        objective=objective(risk_aversion_per_usd=1e-4),
    )
    found = solved(spec)
    assert found.positions == pytest.approx([regression_hedge(E, SD**2, SD**2 + 4e-4**2)], rel=1e-6)
    # The same hedge in a linear perp, margined in dollars, lets a price rise bind.
    dollars = (Balance("alpha", "USDT", E),)
    linear = replace(spec, perps=(Perp(),), exposure={"BTC": E}, balances=dollars)
    assert bool(abs(solved(linear).positions[0]) < 0.99 * E) == (move > 1)
