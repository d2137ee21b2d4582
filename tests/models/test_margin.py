"""Margin schedules against the venues' tables, and liquidation distances against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.margin import (
    Brackets,
    bracket_deductions,
    check_brackets,
    initial_margin,
    leverage_cap_usd,
    liquidation_move,
    liquidation_price_linear,
    maintenance_margin,
    maintenance_margin_max_affine,
    order_size,
    stressed_maintenance_margin,
)


def table(caps, rates, leverages, deductions):
    floors = np.array([0.0, *caps[:-1]])
    return Brackets(floors, np.array(caps), np.array(rates), np.array(deductions), np.array(leverages))


# Binance USD-M leverage and margin page, Sep 2026, as published.
MAJOR_RATES = [0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5]
MAJOR_LEVERAGES = [150, 100, 75, 50, 25, 20, 10, 5, 4, 3, 2, 1]
BTC = table(
    [3e5, 8e5, 3e6, 12e6, 70e6, 100e6, 230e6, 480e6, 600e6, 800e6, 1.2e9, 1.8e9],
    MAJOR_RATES,
    MAJOR_LEVERAGES,
    [
        0,
        300,
        1_500,
        12_000,
        132_000,
        482_000,
        2_982_000,
        14_482_000,
        26_482_000,
        41_482_000,
        121_482_000,
        421_482_000,
    ],
)
ETH = table(
    [3e5, 8e5, 3e6, 12e6, 50e6, 65e6, 150e6, 320e6, 400e6, 530e6, 800e6, 1.2e9],
    MAJOR_RATES,
    MAJOR_LEVERAGES,
    [
        0,
        300,
        1_500,
        12_000,
        132_000,
        382_000,
        2_007_000,
        9_507_000,
        17_507_000,
        27_507_000,
        80_507_000,
        280_507_000,
    ],
)
SOL = table(
    [5e4, 4e5, 1e6, 4e6, 8e6, 40e6, 80e6, 100e6, 200e6, 400e6],
    [0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.25, 0.5],
    [100, 75, 50, 25, 20, 10, 5, 4, 2, 1],
    [0, 75, 1_475, 11_475, 31_475, 231_475, 2_231_475, 4_231_475, 16_731_475, 66_731_475],
)
# Hyperliquid margin tiers page: rate = 0.5 / max leverage, no upper cap.
HYPERLIQUID_BTC = table([150e6, np.inf], [0.0125, 0.025], [40, 20], [0, 1_875_000])

TABLES = {"BTC": BTC, "ETH": ETH, "SOL": SOL, "Hyperliquid BTC": HYPERLIQUID_BTC}
every_table = pytest.mark.parametrize("brackets", TABLES.values(), ids=TABLES.keys())


@every_table
def test_published_tables_are_sound(brackets):
    assert check_brackets(brackets) == []
    brackets.validate()


@pytest.mark.parametrize(
    ("brackets", "notional", "margin"),
    [
        (BTC, 100e3, 400),
        (BTC, 300e3, 1_200),
        (BTC, 1e6, 5_000),
        (BTC, 10e6, 88_000),
        (BTC, 50e6, 868_000),
        (BTC, 100e6, 2_018_000),
        (BTC, 250e6, 10_518_000),
        (SOL, 1e6, 8_525),
        (SOL, 10e6, 268_525),
        (SOL, 100e6, 8_268_525),
        (HYPERLIQUID_BTC, 10e6, 125_000),
        (HYPERLIQUID_BTC, 150e6, 1_875_000),
        (HYPERLIQUID_BTC, 200e6, 3_125_000),
        (ETH, 20e6, 268_000),
    ],
)
def test_maintenance_margin_vectors(brackets, notional, margin):
    assert maintenance_margin(notional, brackets) == pytest.approx(margin, abs=0.005)
    assert maintenance_margin(-notional, brackets) == pytest.approx(margin, abs=0.005)


@every_table
def test_lookup_equals_max_of_affine_everywhere(brackets):
    edges = brackets.caps_usd[np.isfinite(brackets.caps_usd)]
    sizes = np.concatenate([np.geomspace(1.0, 3e9, 4001), edges, edges * (1 + 1e-12), [0.0]])
    lookup, affine = maintenance_margin(sizes, brackets), maintenance_margin_max_affine(sizes, brackets)
    np.testing.assert_allclose(lookup, affine, rtol=1e-12, atol=1e-6)


@given(st.floats(0, 2e9), st.floats(0, 2e9))
def test_margin_is_convex_and_increasing(a, b):
    at = {n: maintenance_margin(n, BTC) for n in (a, b, 0.5 * (a + b))}
    assert at[0.5 * (a + b)] <= 0.5 * (at[a] + at[b]) + 1e-6
    assert (a - b) * (at[a] - at[b]) >= 0


@given(st.floats(-1e9, 1e9), st.floats(0.1, 3.0))
def test_stressed_margin_moves_notional_or_deductions(position, factor):
    linear = stressed_maintenance_margin(position, BTC, "linear", factor)
    assert linear == pytest.approx(maintenance_margin(position * factor, BTC), rel=1e-12, abs=1e-6)
    # Inverse: the coin schedule, brackets fixed in coin, valued at the moved price.
    coin = Brackets(
        BTC.floors_usd / 50e3, BTC.caps_usd / 50e3, BTC.rates, BTC.deductions_usd / 50e3, BTC.max_leverages
    )
    coin_margin = maintenance_margin(position / (50e3 * factor), coin) * 50e3 * factor
    inverse = stressed_maintenance_margin(position, BTC, "inverse", factor)
    assert inverse == pytest.approx(coin_margin, rel=1e-9, abs=1e-6)


def test_stressed_margin_by_hand():
    # 1 m of BTC up 20 %: .0065 x 1.2 m - 1,500; inverse .0065 x 1 m - 1,500 x 1.2
    assert stressed_maintenance_margin(-1e6, BTC, "linear", 1.2) == pytest.approx(6_300)
    assert stressed_maintenance_margin(-1e6, BTC, "inverse", 1.2) == pytest.approx(4_700)
    out = stressed_maintenance_margin(np.array([1e6, 1e6]), BTC, "linear", np.array([1.0, 1.2]))
    np.testing.assert_allclose(out, [5_000, 6_300])


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("floors_usd", 0, 10.0, "write 0"),
        ("floors_usd", 2, 9e5, "gap"),
        ("floors_usd", 2, 7e5, "overlap"),
        ("caps_usd", 1, 1e5, "not above its floor"),
        ("rates", 3, 0.004, "not above the rate"),
        ("rates", 11, 1.5, "fraction above 0 and up to 1"),
        ("rates", 0, 0.0, "fraction above 0"),
        ("deductions_usd", 2, 1_400.0, "its floors and rates give 1,500.00"),
        ("max_leverages", 11, 0.0, "write a number > 0"),
        ("max_leverages", 3, 90.0, "max leverage 90 is above 75"),
        ("rates", 1, np.nan, "finite"),
        ("caps_usd", 1, np.inf, "finite"),
        ("caps_usd", 11, np.nan, "inf for no cap"),
    ],
)
def test_each_defect_is_named(column, row, value, words):
    columns = {name: np.array(getattr(BTC, name)) for name in Brackets.__dataclass_fields__}
    columns[column][row] = value
    broken = Brackets(**columns)
    defects = check_brackets(broken)
    assert any(words in defect for defect in defects), defects
    assert all(defect.startswith("bracket ") for defect in defects)
    with pytest.raises(ValueError, match="brackets: bracket"):
        broken.validate()


def test_all_defects_come_at_once():
    broken = table([100.0, 50.0], [0.02, 0.01], [10, 20], [5.0, 0.0])
    assert len(check_brackets(broken)) >= 4


def test_bracket_shapes_are_checked():
    with pytest.raises(ValueError, match="rates has shape"):
        Brackets(np.zeros(2), np.ones(2), np.ones(1), np.zeros(2), np.ones(2))


def test_deductions_are_recomputed():
    for brackets in TABLES.values():
        right = bracket_deductions(brackets.floors_usd, brackets.rates)
        np.testing.assert_allclose(right, brackets.deductions_usd, atol=1e-6)


def test_initial_margin_and_leverage_cap():
    np.testing.assert_allclose(initial_margin(np.array([-1e6, 5e5]), np.array([20.0, 10.0])), [5e4, 5e4])
    assert leverage_cap_usd(BTC, 20) == 100e6
    assert leverage_cap_usd(BTC, 21) == 70e6
    assert leverage_cap_usd(HYPERLIQUID_BTC, 20) == np.inf
    with pytest.raises(ValueError, match="at most 150"):
        leverage_cap_usd(BTC, 151)
    with pytest.raises(ValueError, match="leverage is 0"):
        initial_margin(1.0, 0.0)


def test_order_size():
    assert order_size(10.0, 5.0, 30.0) == 20.0
    assert order_size(-10.0, 5.0, 3.0) == 13.0
    with pytest.raises(ValueError, match="open_sells"):
        order_size(0.0, 0.0, -1.0)


def test_liquidation_price_vectors():
    long = liquidation_price_linear(100_000.0, 20.0, 100_000.0, BTC)
    short = liquidation_price_linear(100_000.0, -20.0, 100_000.0, BTC)
    assert long == pytest.approx(95_546.0493, abs=5e-5)
    assert short == pytest.approx(104_396.4232, abs=5e-5)
    assert maintenance_margin(20 * long, BTC) == pytest.approx(10_920.99, abs=5e-3)
    assert maintenance_margin(20 * short, BTC) == pytest.approx(12_071.54, abs=5e-3)


@given(st.floats(1e3, 5e8), st.floats(-3e3, 3e3).filter(lambda q: abs(q) > 1e-3))
def test_equity_equals_margin_at_the_liquidation_price(balance, quantity):
    entry = 100_000.0
    price = liquidation_price_linear(balance, quantity, entry, BTC)
    if price is None:
        assert quantity > 0
        assert balance >= quantity * entry * (1 - 1e-9)
        return
    equity = balance + quantity * (price - entry)
    assert equity == pytest.approx(maintenance_margin(quantity * price, BTC), rel=1e-9, abs=1e-3)


def test_positions_without_a_liquidation_price():
    assert liquidation_price_linear(1.0, 0.0, 100.0, BTC) is None
    assert liquidation_price_linear(2_000.0, 10.0, 100.0, BTC) is None
    with pytest.raises(ValueError, match="at every price"):
        liquidation_price_linear(-2_000.0, -10.0, 100.0, BTC)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_liquidation_move_agrees_with_the_price(side):
    quantity, entry, wallet = side * 20.0, 100_000.0, 100_000.0
    down, up = liquidation_move(
        lambda r: wallet + quantity * entry * r, lambda r: maintenance_margin(quantity * entry * (1 + r), BTC)
    )
    move = liquidation_price_linear(wallet, quantity, entry, BTC) / entry - 1
    assert (down, up)[side < 0] == pytest.approx(move, abs=2e-12)
    assert (down, up)[side > 0] is None


def test_a_coin_margined_short_at_1x_has_no_price_liquidation():
    coins, price = 10.0, 100_000.0
    usd = coins * price

    def equity(r):
        return coins * price * (1 + r) - usd * r  # coin collateral and an inverse short of its full value

    assert liquidation_move(equity, lambda r: stressed_maintenance_margin(usd, BTC, "inverse", 1 + r)) == (
        None,
        None,
    )


def test_liquidation_move_edges():
    assert liquidation_move(lambda r: 1.0, lambda r: 2.0) == (0.0, 0.0)
    assert liquidation_move(lambda r: 0.0, lambda r: 0.0) == (None, None)
    down, up = liquidation_move(lambda r: 1.0 - 4.0 * r * r, lambda r: 0.0, bounds=(-0.9, 0.9))
    assert (down, up) == (pytest.approx(-0.5, abs=1e-11), pytest.approx(0.5, abs=1e-11))
    with pytest.raises(ValueError, match="bounds"):
        liquidation_move(lambda r: 1.0, lambda r: 0.0, bounds=(-1.0, 2.0))
    with pytest.raises(ValueError, match="is nan"):
        liquidation_move(lambda r: float("nan"), lambda r: 0.0)
