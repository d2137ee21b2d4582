"""Contract units against hand-computed values, P&L laws, exact rounding."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import (
    Contract,
    coins_from_contracts,
    contracts_from_usd,
    notional_usd,
    plain,
    price_per_coin,
    round_each_to_lot,
    round_to_lot,
    round_to_tick,
    unrealised_pnl_settle,
    usd_per_contract,
)


def contract(kind="linear", size="0.01", **changes):
    fields = {
        "lot_contracts": Decimal("0.01"),
        "tick": Decimal("0.1"),
        "min_contracts": Decimal("0.01"),
        "min_notional_usd": Decimal(5),
    } | changes
    return Contract(kind, Decimal(size), **fields)


def test_linear_units_of_a_hundredth_of_a_bitcoin():
    okx = contract()
    assert usd_per_contract(okx, 100_000.0, 0.999) == pytest.approx(999.0)
    assert notional_usd(okx, -250.0, 100_000.0, 1.0) == pytest.approx(-250_000.0)
    assert coins_from_contracts(okx, -250.0, 100_000.0) == pytest.approx(-2.5)
    assert unrealised_pnl_settle(okx, -250.0, 100_000.0, 101_000.0) == pytest.approx(-2_500.0)


def test_inverse_units_of_a_hundred_dollars():
    coin_margined = contract("inverse", "100")
    assert usd_per_contract(coin_margined, 50_000.0, 1.0) == 100.0
    assert notional_usd(coin_margined, -30.0, 50_000.0, 1.0) == -3_000.0
    assert coins_from_contracts(coin_margined, -30.0, 50_000.0) == pytest.approx(-0.06)
    # 10,000 USD long from 50k to 60k: 10,000/50,000 - 10,000/60,000 = 0.0333... BTC
    assert unrealised_pnl_settle(coin_margined, 100.0, 50_000.0, 60_000.0) == pytest.approx(1 / 30)


def test_a_thousand_coin_contract_keeps_coins_and_units_apart():
    pepe = contract(size="1", coins_per_unit=1000)
    assert price_per_coin(pepe, 0.012) == pytest.approx(0.000012)
    assert coins_from_contracts(pepe, 5.0, 0.012) == 5_000.0
    assert notional_usd(pepe, 5.0, 0.012, 1.0) == pytest.approx(0.06)
    inverse = contract("inverse", "10", coins_per_unit=1000)
    coins = coins_from_contracts(inverse, 3.0, 0.012)
    assert coins * price_per_coin(inverse, 0.012) == pytest.approx(30.0)


@pytest.mark.parametrize("kind", ["linear", "inverse"])
@given(usd=st.floats(-1e9, 1e9), price=st.floats(1e-6, 1e6), quote=st.floats(0.5, 1.1))
def test_usd_to_contracts_and_back(kind, usd, price, quote):
    unit = contract(kind, "10")
    back = notional_usd(unit, contracts_from_usd(unit, usd, price, quote), price, quote)
    assert back == pytest.approx(usd, rel=1e-12, abs=1e-12)


@given(entry=st.floats(1.0, 1e6), move=st.floats(-0.9, 5.0), size=st.floats(-1e4, 1e4))
def test_inverse_gain_in_usd_is_linear_in_the_price_return(entry, move, size):
    unit, price = contract("inverse", "100"), entry * (1 + move)
    gain_usd = unrealised_pnl_settle(unit, size, entry, price) * price
    assert gain_usd == pytest.approx(size * 100 * move, rel=1e-9, abs=1e-6)


def test_arrays_come_back_as_arrays_and_floats_as_floats():
    unit = contract("inverse", "100")
    out = notional_usd(unit, np.array([1.0, -2.0]), np.array([10.0, 20.0]), 1.0)
    np.testing.assert_allclose(out, [100.0, -200.0])
    assert usd_per_contract(unit, np.array([10.0, 20.0]), 1.0).shape == (2,)
    assert isinstance(notional_usd(unit, 1.0, 10.0, 1.0), float)


@pytest.mark.parametrize(
    ("contracts", "lot", "mode", "lots"),
    [
        (0.3, "0.1", "down", "0.3"),
        (0.1 + 0.2, "0.1", "up", "0.3"),
        (0.7 * 3 * 0.1, "0.07", "down", "0.21"),
        (1.29, "0.1", "down", "1.2"),
        (1.21, "0.1", "up", "1.3"),
        (-1.29, "0.1", "down", "-1.2"),
        (-1.21, "0.1", "up", "-1.3"),
        (-1.26, "0.1", "nearest", "-1.3"),
        (0.25, "0.1", "nearest", "0.2"),
        (1e-13, "0.1", "up", "0"),
        (-0.04, "0.1", "down", "0"),
        (123_456_789_012.3, "0.1", "down", "123456789012.3"),
        (2_500.0, "1E+3", "down", "2000"),
    ],
)
def test_lots(contracts, lot, mode, lots):
    rounded = round_to_lot(contracts, Decimal(lot), mode)
    assert rounded == Decimal(lots)
    assert plain(rounded) == lots


@given(st.floats(-1e7, 1e7), st.sampled_from(["0.001", "0.01", "0.5", "1", "3", "10"]))
def test_rounding_laws(contracts, lot):
    step = Decimal(lot)
    down, up, near = (round_to_lot(contracts, step, mode) for mode in ("down", "up", "nearest"))
    noise = 1e-9 * max(abs(contracts), float(step)) * 1.01
    assert all(value % step == 0 for value in (down, up, near))
    assert abs(float(down)) <= abs(contracts) + noise
    assert abs(float(up)) >= abs(contracts) - noise
    assert abs(up) - abs(down) in (0, step)
    assert abs(float(near) - contracts) <= float(step) / 2 + noise
    assert round_to_lot(-contracts, step, "up") == -up


_LOTS = ["0.001", "0.07", "0.5", "1", "3", "10", "1E+3", "1E-8"]
_NEAR = st.sampled_from([0.0, 0.5, 1e-9, 2e-9, 0.999e-9, 1.001e-9, 0.01, 0.00999999, 1e-16, 0.3])


@given(
    st.lists(st.tuples(st.integers(-(10**13), 10**13), _NEAR, st.sampled_from(_LOTS)), max_size=8),
    st.floats(-1e12, 1e12),
    st.sampled_from(["down", "up", "nearest"]),
)
def test_many_are_rounded_as_each_is(multiples, other, mode):
    """At ties, at the edge of what is float noise, and anywhere else."""
    wanted = [(count + sign * off) * float(lot) for count, off, lot in multiples for sign in (-1, 1)] + [
        other
    ]
    lots = [Decimal(lot) for _, _, lot in multiples for _ in range(2)] + [Decimal("0.1")]
    found = round_each_to_lot(wanted, lots, mode)
    assert [plain(each) for each in found] == [
        plain(round_to_lot(value, lot, mode)) for value, lot in zip(wanted, lots, strict=True)
    ]


def test_many_lots_are_checked_as_one_is():
    assert round_each_to_lot([], [], "up") == []
    with pytest.raises(ValueError, match="contracts\\[1\\] is nan"):
        round_each_to_lot([1.0, float("nan")], [Decimal(1), Decimal(1)], "up")
    with pytest.raises(ValueError, match="give one per lot"):
        round_each_to_lot([1.0], [Decimal(1), Decimal(1)], "up")
    with pytest.raises(ValueError, match="lot is 0"):
        round_each_to_lot([1.0], [Decimal(0)], "up")
    with pytest.raises(ValueError, match="write 'down'"):
        round_each_to_lot([1.0], [Decimal(1)], "off")


def test_a_limit_price_is_never_more_restrictive_than_asked():
    tick = Decimal("0.1")
    assert round_to_tick(100.04, tick, "buy") == Decimal("100.1")
    assert round_to_tick(100.06, tick, "sell") == Decimal("100.0")
    assert round_to_tick(100.3, tick, "buy") == round_to_tick(100.3, tick, "sell") == Decimal("100.3")
    with pytest.raises(ValueError, match="below one tick"):
        round_to_tick(0.04, tick, "sell")


@pytest.mark.parametrize(
    ("value", "text"),
    [("3E+3", "3000"), ("1E-8", "0.00000001"), ("0.100", "0.1"), ("-0.0", "0"), ("10", "10")],
)
def test_plain_notation(value, text):
    assert plain(Decimal(value)) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tick": Decimal(0)}, "tick is 0"),
        ({"lot_contracts": Decimal("NaN")}, "lot_contracts is NaN"),
        ({"min_notional_usd": Decimal(-1)}, "min_notional_usd is -1"),
        ({"min_contracts": 0.1}, "write a Decimal"),
        ({"coins_per_unit": 0}, "coins_per_unit is 0"),
        ({"coins_per_unit": True}, "coins_per_unit is True"),
    ],
)
def test_bad_contracts_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        contract(**changes)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="'linear' or 'inverse'"):
        contract("quanto")
    with pytest.raises(ValueError, match="price is 0"):
        notional_usd(contract(), 1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"contracts\[1\] is nan"):
        notional_usd(contract(), np.array([1.0, np.nan]), 1.0, 1.0)
    with pytest.raises(ValueError, match="mode is"):
        round_to_lot(1.0, Decimal(1), "sideways")
    with pytest.raises(ValueError, match="contracts is inf"):
        round_to_lot(float("inf"), Decimal(1), "down")
    with pytest.raises(ValueError, match="side is"):
        round_to_tick(1.0, Decimal(1), "hold")
    with pytest.raises(ValueError, match="finite Decimal"):
        plain(Decimal("Infinity"))
