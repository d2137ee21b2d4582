"""Closed forms against published vectors, the optimality conditions and the formulas of the other modules."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from models.costs import square_root_impact, square_root_impact_slope
from models.covariance import RiskModel, variance, variance_gradient
from models.hedge import hedge_effectiveness

E, S = 10e6, 0.025
BASIS = np.array([4e-4, 5e-4, 8e-4])
FUNDING = np.array([3e-4, 4.5e-4, 1.5e-4])
CLOSE = 1e-6


def risk_model(basis_sd):
    count = len(basis_sd)
    return RiskModel(np.array([[S]]), np.zeros(1), np.asarray(basis_sd), np.arange(count), np.zeros((0, 0)))


def marginal_risk(positions, basis_sd, exposure=E):
    """Derivative of Var/2 in each position: through the delta and through the basis."""
    gradient = variance_gradient(
        risk_model(basis_sd), np.array([exposure + positions.sum()]), positions, np.zeros(0)
    )
    return 0.5 * (gradient.delta[0] + gradient.positions)


def test_minimum_variance_over_three_venues():
    x = minimum_variance_hedge(E, S, BASIS)
    np.testing.assert_allclose(x, [-5_290_288.72, -3_385_784.78, -1_322_572.18], rtol=CLOSE)
    assert x.sum() == pytest.approx(-9_998_645.69, rel=CLOSE)
    assert minimum_variance_residual_sd(E, S, BASIS) == pytest.approx(2_909.37, rel=2e-6)
    residual = variance(risk_model(BASIS), np.array([E + x.sum()]), x, np.zeros(0))
    assert np.sqrt(residual) == pytest.approx(minimum_variance_residual_sd(E, S, BASIS), rel=1e-9)
    assert hedge_effectiveness(residual, (E * S) ** 2) == pytest.approx(0.99986457, abs=5e-9)


def test_minimum_variance_with_funding():
    x = minimum_variance_hedge(E, S, BASIS, FUNDING, 1e-4)
    np.testing.assert_allclose(x, [-3_358_566, -8_149_482, 1_504_108], rtol=CLOSE)
    assert x.sum() == pytest.approx(-10_003_940, rel=CLOSE)
    x = minimum_variance_hedge(E, S, BASIS, FUNDING, 1e-6)
    np.testing.assert_allclose(x, [187_881_959, -479_755_546, 281_345_490], rtol=CLOSE)


def test_hedge_only_signs_leave_the_venue_that_would_be_long():
    # The third venue stays at 0 and its marginal cost is positive, so no short there helps.
    pair = minimum_variance_hedge(E, S, BASIS[:2], FUNDING[:2], 1e-4)
    np.testing.assert_allclose(pair, [-2_441_570, -7_562_605], rtol=CLOSE)
    x = np.append(pair, 0.0)
    assert np.sqrt(variance(risk_model(BASIS), np.array([E + x.sum()]), x, np.zeros(0))) == pytest.approx(
        3_907, abs=0.5
    )
    assert FUNDING @ x == pytest.approx(-4_136, abs=0.5)
    assert (1e-4 * marginal_risk(x, BASIS) + FUNDING)[2] < 0
    alone = minimum_variance_hedge(E, S, BASIS[1:2], FUNDING[1:2], 1e-5)
    np.testing.assert_allclose(alone, [-10_067_973], rtol=CLOSE)


@given(st.floats(-1e9, 1e9), st.lists(st.floats(1e-4, 0.05), min_size=1, max_size=6), st.floats(1e-7, 1e-3))
def test_funding_is_balanced_by_marginal_risk(exposure, basis, risk_aversion):
    basis = np.array(basis)
    funding = np.linspace(-5e-4, 5e-4, basis.size)
    x = minimum_variance_hedge(exposure, S, basis, funding, risk_aversion)
    scale = risk_aversion * S**2 * (abs(exposure) + np.abs(x).sum()) + 5e-4
    np.testing.assert_allclose(
        risk_aversion * marginal_risk(x, basis, exposure) + funding, 0.0, atol=1e-9 * scale
    )


def test_one_venue_is_the_regression_hedge():
    alone = minimum_variance_hedge(E, S, BASIS[:1])
    assert regression_hedge(E, S**2, S**2 + BASIS[0] ** 2) == pytest.approx(alone[0], rel=1e-12)


def test_identical_venues_share_equally():
    equal = identical_venues_hedge(E, S, 5e-4, 4)
    np.testing.assert_allclose(equal, minimum_variance_hedge(E, S, np.full(4, 5e-4)), rtol=1e-9)


def test_no_trade_band():
    low, high = no_trade_band(E, S, 4e-4, 5e-4, 1e-5)
    assert (low, high) == (pytest.approx(-10_077_420.18, rel=CLOSE), pytest.approx(-9_917_461.13, rel=CLOSE))
    assert high - low == pytest.approx(2 * 5e-4 / (1e-5 * (S**2 + 4e-4**2)))
    for edge, sign in ((low, -1.0), (high, 1.0)):
        risk = 1e-5 * marginal_risk(np.array([edge]), BASIS[:1])[0]
        assert risk == pytest.approx(sign * 5e-4, rel=1e-9)


def test_three_halves():
    x = three_halves_hedge(E, S, 5e9, 1.0, 1e-5)
    assert x == pytest.approx(-9_735_247.69, rel=CLOSE)
    assert three_halves_hedge(-E, S, 5e9, 1.0, 1e-5) == -x
    assert square_root_impact(x, S, 5e9, 1.0) / -x == pytest.approx(11.03e-4, rel=1e-3)
    assert 1e-5 * S**2 * (E + x) + square_root_impact_slope(x, S, 5e9, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert three_halves_hedge(0.0, S, 5e9, 1.0, 1e-5) == 0.0
    assert three_halves_hedge(E, S, 5e9, 0.0, 1e-5) == pytest.approx(-E)


def objective(x, risk_aversion):
    return (
        0.5 * risk_aversion * variance(risk_model(BASIS), np.array([E + x.sum()]), x, np.zeros(0))
        + FUNDING @ x
    )


def test_binding_margin_and_its_shadow_price():
    rates, budget, risk_aversion = np.array([0.10, 0.09, 0.12]), 9.6e5, 1e-3
    x, mu = binding_margin_hedge(E, S, BASIS, FUNDING, risk_aversion, rates, budget)
    assert np.all(x < 0)
    assert rates @ -x == pytest.approx(budget, rel=1e-9)
    assert mu > 0
    stationarity = risk_aversion * marginal_risk(x, BASIS) + FUNDING - mu * rates
    np.testing.assert_allclose(stationarity, 0.0, atol=1e-9)
    sides = [
        binding_margin_hedge(E, S, BASIS, FUNDING, risk_aversion, rates, budget + d)[0]
        for d in (-100.0, 100.0)
    ]
    fall = objective(sides[0], risk_aversion) - objective(sides[1], risk_aversion)
    assert fall / 200.0 == pytest.approx(mu, rel=1e-6)


def test_slack_margin_costs_nothing():
    rates = np.array([0.1, 0.05, 0.2])
    x, mu = binding_margin_hedge(E, S, BASIS, FUNDING, 1e-3, rates, 1e9)
    assert mu == 0.0
    np.testing.assert_allclose(x, minimum_variance_hedge(E, S, BASIS, FUNDING, 1e-3))
    with pytest.raises(ValueError, match="is long at this budget"):
        binding_margin_hedge(E, S, BASIS, FUNDING, 1e-4, rates, 1e9)


@pytest.mark.parametrize(
    ("rate", "quantile", "side", "leverage"),
    [
        (0.004, 0.1, "short", 9.5785),
        (0.004, 0.1, "long", 9.6525),
        (0.01, 0.2, "short", 4.717),
        (0.01, 0.2, "long", 4.8077),
    ],
)
def test_liquidation_leverage(rate, quantile, side, leverage):
    cap = liquidation_leverage_cap(rate, quantile, side)
    assert cap == pytest.approx(leverage, abs=5e-5)
    sign = 1.0 if side == "short" else -1.0
    # Per USD of notional: equity 1/cap less the move equals the margin on the moved notional.
    assert 1 / cap - quantile == pytest.approx(rate * (1 + sign * quantile))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minimum_variance_hedge(E, S, BASIS, FUNDING), "give both, or neither"),
        (lambda: minimum_variance_hedge(E, S, np.array([0.0])), "basis_sd"),
        (lambda: minimum_variance_hedge(E, S, BASIS, FUNDING, 0.0), "risk_aversion"),
        (lambda: regression_hedge(E, 1.0, 0.0), "variance"),
        (lambda: no_trade_band(E, S, 4e-4, -1.0, 1e-5), "unit_cost"),
        (lambda: identical_venues_hedge(E, S, 4e-4, 0), "venues is 0"),
        (lambda: liquidation_leverage_cap(0.01, 1.0, "long"), "quantile is 1"),
        (lambda: liquidation_leverage_cap(0.01, 0.1, "flat"), "side is"),
        (lambda: liquidation_leverage_cap(0.0, 0.1, "long"), "maintenance_rate"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
