"""Stressed contracts against P&L computed from contracts, coins and prices."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import Contract, contracts_from_usd, notional_usd, unrealised_pnl_settle
from models.margin import Brackets, bracket_deductions, maintenance_margin
from models.stress import (
    ShockedContract,
    adverse_funding_loss,
    deduction_factor,
    margined_notional_factor,
    notional_factor,
    pnl_per_usd,
    price_factor,
)

returns = st.floats(-0.8, 3.0)
small = st.floats(-0.4, 0.5)


def shock(inverse, r, g, q, p):
    return ShockedContract(np.array([inverse]), np.array([r]), np.array([g]), np.array([q]), np.array([p]))


def perp(kind, size):
    return Contract(kind, Decimal(size), Decimal(1), Decimal(1), Decimal(0), Decimal(0))


@given(returns, small, small, small)
def test_linear_pnl_from_contracts(r, g, q, p):
    unit, price, usd = perp("linear", "0.01"), 100_000.0, 1e6
    held = contracts_from_usd(unit, usd, price, 1.0)
    after = price * (1 + r) * (1 + g) / (1 + q)
    stressed = shock(False, r, g, q, p)
    gain = unrealised_pnl_settle(unit, held, price, after) * (1 + p)
    assert pnl_per_usd(stressed)[0] * usd == pytest.approx(gain, rel=1e-9, abs=1e-3)
    assert notional_factor(stressed)[0] * usd == pytest.approx(
        notional_usd(unit, held, after, 1 + p), rel=1e-12
    )
    assert price_factor(stressed)[0] == pytest.approx(after / price)


@given(returns, small, small)
def test_inverse_pnl_from_coins(r, g, q):
    unit, price, usd = perp("inverse", "100"), 50_000.0, 1e6
    held = contracts_from_usd(unit, usd, price, 1.0)
    after = price * (1 + r) * (1 + g) / (1 + q)
    stressed = shock(True, r, g, q, r)
    gain = unrealised_pnl_settle(unit, held, price, after) * price * (1 + r)
    assert pnl_per_usd(stressed)[0] * usd == pytest.approx(gain, rel=1e-9, abs=1e-3)
    assert notional_factor(stressed)[0] * usd == pytest.approx(notional_usd(unit, held, after, 1 + q))


@given(returns, small, small)
def test_inverse_margin_from_the_coin_schedule(r, g, q):
    floors, rates, price, usd = np.array([0.0, 3e5, 8e5]), np.array([0.004, 0.005, 0.0065]), 50_000.0, 1e6
    usd_table = Brackets(
        floors, np.append(floors[1:], 1e9), rates, bracket_deductions(floors, rates), np.ones(3)
    )
    coin = Brackets(
        floors / price, usd_table.caps_usd / price, rates, usd_table.deductions_usd / price, np.ones(3)
    )
    stressed = shock(True, r, g, q, r)
    coin_price = price * (1 + r)
    direct = maintenance_margin(usd / (price * price_factor(stressed)[0]), coin) * coin_price
    factors = margined_notional_factor(stressed)[0], deduction_factor(stressed)[0]
    affine = np.max(rates * usd * factors[0] - usd_table.deductions_usd * factors[1])
    assert affine == pytest.approx(direct, rel=1e-9)


@given(returns)
def test_an_inverse_contract_without_gap_gains_exactly_the_return(r):
    assert pnl_per_usd(shock(True, r, 0.0, 0.0, r))[0] == pytest.approx(r, abs=1e-15)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans())
def test_first_order(r, g, q, p, inverse):
    step = 1e-6
    gain = pnl_per_usd(shock(inverse, step * r, step * g, step * q, step * p))[0]
    assert gain / step == pytest.approx(r + g - q, abs=1e-5)


def test_factors_agree_without_a_gap():
    for inverse in (True, False):
        stressed = shock(inverse, -0.3, 0.0, -0.12, -0.12)
        np.testing.assert_allclose(notional_factor(stressed), margined_notional_factor(stressed))
    np.testing.assert_allclose(deduction_factor(shock(True, -0.3, 0.0, -0.12, 0.0)), 0.7)
    np.testing.assert_allclose(deduction_factor(shock(False, -0.3, 0.0, 0.0, -0.12)), 0.88)


def test_a_short_indexed_in_a_falling_stablecoin_loses():
    # USDC falls to 0.87, bitcoin stays: the USDC price rises by 1/0.87, the short's loss is paid in USDC.
    loss = pnl_per_usd(shock(False, 0.0, 0.0, -0.13, -0.13))[0]
    assert loss == pytest.approx((1 / 0.87 - 1) * 0.87) == pytest.approx(0.13)


def test_adverse_funding():
    assert adverse_funding_loss(-1e6, 0.003, 9) == pytest.approx(27_000.0)
    np.testing.assert_allclose(
        adverse_funding_loss(np.array([1e6, -1e6]), np.array([0.003, 0.04]), np.array([9, 72])),
        [27e3, 2.88e6],
    )


def test_bad_shocks():
    with pytest.raises(ValueError, match="above -1"):
        shock(False, -1.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="basis_gap"):
        shock(False, 0.0, np.nan, 0.0, 0.0)
    with pytest.raises(ValueError, match="one flag per instrument"):
        shock(1, 0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="one shape"):
        ShockedContract(np.array([True]), np.zeros(2), np.zeros(1), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="settlements"):
        adverse_funding_loss(1.0, 0.003, -1)
