"""The converter: recorded hours become snapshots that pass the door and know nothing of the future."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from recorded import (
    bracket_rows,
    build_snapshot,
    default_collateral,
    market_data,
    needs_market_data,
    whole_position_majorant,
    write_scenario,
)

from allocator.scenario.load import load_scenario
from allocator.snapshot.read import read_snapshot
from models.margin import Brackets, check_brackets, maintenance_margin

HOURS = [
    datetime(2024, 9, 20, tzinfo=UTC),
    datetime(2024, 12, 5, 13, tzinfo=UTC),
    datetime(2025, 4, 7, 8, tzinfo=UTC),
]


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    return {hour: build_snapshot(hour, tmp_path_factory.mktemp("hour"), history_days=10) for hour in HOURS}


@needs_market_data
@pytest.mark.parametrize("hour", HOURS)
def test_recorded_hours_pass_the_door(snapshots, hour):
    data = read_snapshot(
        snapshots[hour], {}, ["instruments", "prices", "funding", "margin_tiers", "holdings"]
    )
    assert data.newest == hour
    assert set(data.tables["instruments"]["venue"]) == {"binance", "okx", "hyperliquid"}
    assert all((frame["time"] <= hour).all() for frame in data.tables.values() if len(frame))
    prices = (
        data.tables["prices"].drop_duplicates(["venue", "symbol"], keep="last").set_index(["venue", "symbol"])
    )
    holdings = data.tables["holdings"]
    usd = sum(
        coins * prices["price"]["index", f"{asset}/USD"]
        for asset, coins in zip(holdings["asset"], holdings["coins"], strict=True)
    )
    assert usd == pytest.approx(10e6, rel=2e-3)


@needs_market_data
def test_a_close_is_known_an_hour_after_its_candle_opens(snapshots):
    hour = HOURS[1]
    candles = pd.read_parquet(
        market_data() / "prices_1h_2024-09_2025-05.parquet",
        filters=[("coin", "==", "BTC"), ("venue", "==", "binance"), ("instrument", "==", "perp")],
    )
    opened = candles[candles["open_ts"] == pd.Timestamp(hour) - pd.Timedelta(hours=1)]
    prices = read_snapshot(snapshots[hour], {}, []).tables["prices"]
    mine = prices[(prices["venue"] == "binance") & (prices["symbol"] == "BTC/USDT:USDT")]
    assert mine["time"].max() == pd.Timestamp(hour)
    assert mine.loc[mine["time"].idxmax(), "price"] == opened["close"].item()


@needs_market_data
def test_volumes_have_plausible_size_and_gaps_stay_gaps(snapshots):
    data = read_snapshot(snapshots[HOURS[1]], {}, [])
    adv = data.tables["instruments"].set_index(["venue", "symbol"])["adv_usd"]
    assert 5e9 < adv["binance", "BTC/USDT:USDT"] < 60e9
    assert 2e9 < adv["okx", "BTC/USDT:USDT"] < 30e9
    assert 2e8 < adv["hyperliquid", "BTC/USDC:USDC"] < 10e9
    funding = data.tables["funding"]
    assert not ((funding["venue"] == "okx") & (funding["symbol"] == "BTC/USDT:USDT")).any()


@needs_market_data
def test_accounts_can_be_given(tmp_path):
    position = {
        "time": HOURS[0],
        "venue": "okx",
        "account": "main",
        "symbol": "BTC/USDT:USDT",
        "contracts": -10.0,
    }
    position |= {"entry_price": 60_000.0, "open_buy_contracts": 0.0, "open_sell_contracts": 0.0}
    collateral = default_collateral(HOURS[0])[:1]
    folder = build_snapshot(
        HOURS[0], tmp_path / "s", history_days=2, positions=[position], collateral=collateral
    )
    data = read_snapshot(folder, {}, ["positions", "collateral"])
    assert data.tables["positions"]["contracts"].tolist() == [-10.0]
    assert len(data.tables["collateral"]) == 1
    loaded = load_scenario(write_scenario(folder))
    assert loaded.snapshot_folder.resolve() == folder.resolve()
    assert loaded.scenario.objective.impact.model == "square_root"


@needs_market_data
def test_hours_without_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing is recorded"):
        build_snapshot(datetime(2026, 1, 1, tzinfo=UTC), tmp_path)
    with pytest.raises(ValueError, match="no time zone"):
        build_snapshot(datetime(2025, 1, 1), tmp_path)


def as_brackets(rows):
    columns = ("floor_usd", "cap_usd", "maintenance_margin_rate", "deduction_usd", "max_leverage")
    return Brackets(*(rows[name].to_numpy(float) for name in columns))


def test_majorant_of_whole_position_tiers_is_never_below_them():
    # OKX CHZUSDT in contracts, May 2023: 5,000 at 1 %, 7,500 at 1.5 %, 15,000 at 2 %, then +0.5 % per 15,000.
    caps = np.array([5_000.0, 7_500, 15_000, 30_000, 45_000, 60_000])
    rates = np.array([0.01, 0.015, 0.02, 0.025, 0.03, 0.035])
    brackets = as_brackets(whole_position_majorant(caps, rates, np.array([75.0, 50, 20, 18, 16, 14])))
    assert check_brackets(brackets) == []
    assert brackets.rates.tolist() == pytest.approx([0.015, 0.03, 0.035, 0.045])
    sizes = np.linspace(1, 60_000, 4_001)
    true = rates[np.searchsorted(caps, sizes)] * sizes
    bound = maintenance_margin(sizes, brackets)
    assert (bound >= true - 1e-9).all()
    assert (bound / true).max() == pytest.approx(1.5, abs=1e-3)
    # At each cap the bound meets the next tier's margin, unless slopes were merged.
    assert maintenance_margin(np.array([5_000.0, 7_500]), brackets).tolist() == pytest.approx([75, 150])


def test_bracket_rows_reproduce_binance_deductions():
    rows = bracket_rows(
        np.array([300e3, 800e3, 3e6]), np.array([0.004, 0.005, 0.0065]), np.array([150.0, 100, 75])
    )
    assert rows["deduction_usd"].tolist() == pytest.approx([0, 300, 1500])
