"""Six dated vintages of every Binance bracket table: formula, look-up and maximum of affine pieces agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recorded import market_data, needs_market_data

from allocator.venues.load import load_table
from allocator.venues.schema import Tier
from models.arrays import Vector
from models.margin import (
    DEDUCTION_TOLERANCE,
    Brackets,
    bracket_deductions,
    check_brackets,
    maintenance_margin,
    maintenance_margin_max_affine,
)

pytestmark = needs_market_data
SIZES = 20


def recorded_tables() -> list[tuple[str, str, pd.DataFrame]]:
    rows = pd.read_parquet(market_data() / "margin_tiers_binance_2022_2026-05.parquet")
    rows = rows.astype({"vintage": str, "symbol": str}).sort_values(["vintage", "symbol", "tier"])
    return [(str(v), str(s), part) for (v, s), part in rows.groupby(["vintage", "symbol"])]


def slice_by_slice(size: float, floors: Vector, caps: Vector, rates: Vector) -> float:
    """Margin as a tax is computed: each bracket's rate on the part of the notional inside it."""
    caps = np.append(caps[:-1], np.inf)
    return float((rates * np.clip(size - floors, 0.0, caps - floors)).sum())


def test_every_recorded_table_is_a_tax_schedule():
    draw = np.random.default_rng(20_260_501)
    tables = recorded_tables()
    assert sum(len(rows) for _, _, rows in tables) == 17_558
    mismatches: list[tuple[str, str]] = []
    for vintage, symbol, rows in tables:
        floors, caps, rates, leverages, published = (
            rows[name].to_numpy(dtype=float)
            for name in ("min_notional", "max_notional", "mmr", "max_leverage", "maint_amount")
        )
        brackets = Brackets(floors, caps, rates, bracket_deductions(floors, rates), leverages)
        assert check_brackets(brackets) == [], (vintage, symbol)
        wrong = np.abs(published - brackets.deductions_usd) > DEDUCTION_TOLERANCE * np.maximum(floors, 1.0)
        if wrong.any():
            mismatches.append((vintage, symbol))
        sizes = np.exp(draw.uniform(np.log(1.0), np.log(caps[-1] * 1.5), SIZES))
        looked_up = maintenance_margin(sizes, brackets)
        by_slices = [slice_by_slice(size, floors, caps, rates) for size in sizes]
        np.testing.assert_allclose(looked_up, by_slices, rtol=1e-9, err_msg=f"{vintage} {symbol}")
        affine = maintenance_margin_max_affine(sizes, brackets)
        np.testing.assert_allclose(affine, looked_up, rtol=1e-12, err_msg=f"{vintage} {symbol}")
    assert mismatches == []  # every published deduction follows from the published floors and rates


def shipped(name: str, symbol: str) -> list[Tier]:
    schedule = load_table(name, Path(), "", "").schedule(symbol)
    assert schedule is not None
    return schedule.tiers


def test_shipped_tiers_are_those_recorded():
    """dYdX and Hyperliquid of late 2025 in their first tier, Kraken's inverse levels of 2021 in all."""
    others = pd.read_csv(market_data() / "margin_tiers_other_venues_2025.csv")
    for name, recorded, symbol in (
        ("dydx", "BTC-USD", "BTC/USD:USDC"),
        ("dydx", "ETH-USD", "ETH/USD:USDC"),
        ("dydx", "SOL-USD", "SOL/USD:USDC"),
        ("hyperliquid", "BTC", "BTC/USDC:USDC"),
        ("hyperliquid", "ETH", "ETH/USDC:USDC"),
    ):
        row = others[(others["venue"] == name) & (others["symbol"] == recorded)].iloc[0]
        first = shipped(name, symbol)[0]
        assert (first.rate, first.max_leverage) == pytest.approx((row["mmr"], row["max_leverage"]))
    levels = pd.read_csv(market_data() / "margin_levels_kraken_2021-07.csv")
    levels = levels[levels["symbol"] == "pi_xbtusd"].sort_values("tier")
    tiers = shipped("kraken", "BTC/USD:BTC")
    assert [tier.rate for tier in tiers] == pytest.approx(levels["mmr"].tolist())
    assert [tier.cap_contracts for tier in tiers][:-1] == levels["min_contracts"].tolist()[1:]
