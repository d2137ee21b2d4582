"""The shipped venue tables: sound, dated, sourced, and to the cent what the venues publish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allocator.venues.check import groups
from allocator.venues.load import load_table, package_tables
from allocator.venues.page import tables_markdown
from allocator.venues.table import VenueTable, is_bundle, tier_brackets
from models.margin import Brackets, check_brackets, maintenance_margin, maintenance_margin_max_affine

ROOT = Path(__file__).parents[2]


def table(name: str) -> VenueTable:
    return load_table(name, Path(), "s.yaml", "s.yaml:1")


def brackets(name: str, symbol: str) -> Brackets:
    schedule = table(name).schedule(symbol)
    assert schedule is not None
    return tier_brackets(schedule.tiers)


@pytest.mark.parametrize("name", package_tables())
def test_every_shipped_table_is_sound_and_every_group_has_a_source(name):
    found = table(name)
    assert found.label == f"venues/{name}.yaml"
    assert all(group.source in found.file.sources for _, group, _ in groups(found))
    for schedule in found.file.margin_tiers.values():
        rows = tier_brackets(schedule.tiers)
        assert check_brackets(rows) == []
        sizes = np.geomspace(1e3, 2e9, 50)
        np.testing.assert_allclose(
            maintenance_margin(sizes, rows), maintenance_margin_max_affine(sizes, rows), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("name", "symbol", "margins"),
    [
        (
            "binance",
            "BTC/USDT:USDT",
            {1e5: 400, 3e5: 1200, 1e6: 5000, 1e7: 88_000, 5e7: 868_000, 1e8: 2_018_000, 2.5e8: 10_518_000},
        ),
        ("binance", "SOL/USDT:USDT", {1e6: 8_525, 1e7: 268_525, 1e8: 8_268_525}),
        ("hyperliquid", "BTC/USDC:USDC", {1e7: 125_000, 1.5e8: 1_875_000, 2e8: 3_125_000}),
        ("hyperliquid", "ETH/USDC:USDC", {1e8: 2_000_000, 1.6e8: 4_000_000}),
        ("dydx", "BTC/USD:USDC", {1e6: 12_000}),
    ],
)
def test_maintenance_margin_to_the_cent(name, symbol, margins):
    rows = brackets(name, symbol)
    for notional, margin in margins.items():
        assert maintenance_margin(notional, rows) == pytest.approx(margin, abs=0.005)


def test_each_published_deduction_of_binance_is_stated_and_so_was_checked():
    for schedule in table("binance").file.margin_tiers.values():
        assert all(tier.deduction is not None for tier in schedule.tiers)


def test_the_fifth_tier_of_arb_asks_four_times_its_maintenance_as_initial_margin():
    rows = brackets("binance", "ARB/USDT:USDT")
    assert 1 / rows.max_leverages[4] / rows.rates[4] == pytest.approx(4)


def test_kraken_charges_half_the_initial_margin_of_its_published_levels():
    schedule = table("kraken").schedule("BTC/USD:BTC")
    assert schedule is not None
    assert [tier.cap_contracts for tier in schedule.tiers] == [5e5, 1e6, 3e6, 6e6, 12e6, 20e6, 50e6, 75e6]
    initial = np.array([2, 4, 6, 10, 15, 25, 30, 40]) / 100
    np.testing.assert_allclose([tier.rate for tier in schedule.tiers], initial / 2)
    # Rounded down: the venue would not lend the last hundredth.
    leverage = np.array([tier.max_leverage for tier in schedule.tiers])
    assert np.all((leverage <= 1 / initial + 1e-12) & (leverage > 1 / initial - 0.01))


@pytest.mark.parametrize(
    ("name", "maker", "taker"),
    [
        ("binance", 2, 5), ("binance_coinm", 1, 5), ("bybit", 2, 5.5), ("okx", 2, 5), ("deribit", 0, 5),
        ("hyperliquid", 1.5, 4.5), ("dydx", 1, 5), ("kraken", 2, 5),
    ],
)  # fmt: skip
def test_fees_in_basis_points_are_costs(name, maker, taker):
    """The misprints to fall for: Kraken's maker at 15 bp, Hyperliquid's as a rebate."""
    fees = table(name).file.fees
    assert fees is not None
    assert (fees.maker * 1e4, fees.taker * 1e4) == pytest.approx((maker, taker))


@pytest.mark.parametrize(
    ("name", "symbol", "cap"),
    [
        ("binance", "BTC/USDT:USDT", 0.003),
        ("binance", "SOL/USDT:USDT", 0.03),
        ("hyperliquid", "BTC/USDC:USDC", 0.04),
        ("dydx", "BTC/USD:USDC", 0.048 / 8),  # 6 × (2 % - 1.2 %) per 8 h, paid by the hour
        ("dydx", "SOL/USD:USDC", 6 * 0.02 / 8),
        ("kraken", "BTC/USD:USD", 0.0025),
    ],
)
def test_the_largest_funding_rate_of_one_settlement(name, symbol, cap):
    assert float(table(name).terms(symbol).cells["funding_cap"]) == pytest.approx(cap, rel=1e-12)


def test_a_symbol_says_payoff_coin_and_currencies():
    cells = table("deribit").terms("BTC/USD:BTC").cells
    assert (cells["kind"], cells["asset"]) == ("inverse", "BTC")
    assert (cells["index_currency"], cells["settlement_currency"]) == ("USD", "BTC")
    assert table("dydx").terms("BTC/USD:USDC").cells["kind"] == "linear"
    # A thousand coins in one: nothing is concluded that only the venue can say.
    bundle = table("hyperliquid").terms("kPEPE/USDC:USDC").cells
    assert "asset" not in bundle
    assert "coins_per_unit" not in bundle


def test_bundles_of_coins_are_told_from_coins():
    assert all(is_bundle(f"{base}/USDT:USDT") for base in ("1000PEPE", "kSHIB", "1MBABYDOGE", "1000000MOG"))
    assert not any(is_bundle(f"{base}/USDT:USDT") for base in ("KAVA", "KSM", "1INCH", "BTC", "XRP"))


def test_what_is_from_memory_is_marked():
    terms = table("binance").terms("BTC/USDT:USDT")
    assert terms.unverified == {"lot_contracts", "tick", "min_contracts", "min_notional_usd"}
    assert table("okx").terms("ETH/USDT:USDT").unverified >= {"contract_size", "tick"}
    assert "contract_size" not in table("okx").terms("BTC/USDT:USDT").unverified


def test_the_page_of_the_tables_is_current():
    """Write it again with ``allocator.venues.page.tables_markdown()``."""
    assert (ROOT / "allocator/venues/README.md").read_text(encoding="utf-8") == tables_markdown()
