"""Haircuts and the charge on collateral."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.collateral import collateral_charge, margin_value, stressed_margin_value


def test_a_debt_gets_no_haircut():
    np.testing.assert_allclose(margin_value(np.array([100.0, -100.0]), 0.05), [95.0, -100.0])


def test_stress_moves_price_and_haircut():
    # 1 m USDC at haircut 2 %, price -13 %, haircut + 10 %: 870,000 x .88
    assert stressed_margin_value(1e6, 0.02, 0.87, 0.10) == pytest.approx(765_600.0)
    assert stressed_margin_value(1e6, 0.5, 1.0, 0.9) == 0.0
    assert stressed_margin_value(-1e6, 0.02, 1.1, 0.1) == pytest.approx(-1.1e6)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.floats(0, 1))
def test_margin_value_is_concave(a, b, haircut):
    middle = margin_value(0.5 * (a + b), haircut)
    assert middle >= 0.5 * (margin_value(a, haircut) + margin_value(b, haircut)) - 1e-6


def test_charge_by_hand():
    # 1 m x (5 % + 2 % x 60 %) x 1/365
    assert collateral_charge(1e6, 0.05, 0.02, 0.4, 24.0) == pytest.approx(1e6 * 0.062 / 365)
    assert collateral_charge(-1e6, 0.05, 0.02, 0.4, 24.0) == 0.0


@pytest.mark.parametrize("haircut", [-0.1, 1.1, np.nan])
def test_haircuts_are_fractions(haircut):
    with pytest.raises(ValueError, match="haircut is"):
        margin_value(1.0, haircut)


def test_bad_rates_are_refused():
    with pytest.raises(ValueError, match="recovery"):
        collateral_charge(1.0, 0.0, 0.1, 1.5, 24.0)
    with pytest.raises(ValueError, match="hours is 0"):
        collateral_charge(1.0, 0.0, 0.1, 0.5, 0.0)
    with pytest.raises(ValueError, match="haircut_step"):
        stressed_margin_value(1.0, 0.1, 1.0, -0.1)
