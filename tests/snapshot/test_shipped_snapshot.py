"""The snapshot shipped with the daily scenario: sound, reproducible, small, and the book it claims."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from allocator.scenario.load import load_scenario
from allocator.snapshot.columns import TABLES
from allocator.snapshot.read import read_snapshot

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


@pytest.fixture(scope="module")
def shipped():
    return read_snapshot(SCENARIOS / "daily", {}, TABLES)


def test_it_passes_the_door_and_is_small(shipped):
    assert len(shipped.tables["instruments"]) == 20
    assert shipped.notes == ()
    assert sum(path.stat().st_size for path in (SCENARIOS / "daily").iterdir()) < 400_000
    assert "SYNTHETIC" in (SCENARIOS / "daily" / "README.md").read_text()


def test_the_generator_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCENARIOS)
    spec = importlib.util.spec_from_file_location("make_snapshot", SCENARIOS / "make_snapshot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    for name in TABLES:
        assert (tmp_path / f"{name}.csv").read_bytes() == (SCENARIOS / "daily" / f"{name}.csv").read_bytes()


def test_the_book_is_about_ten_million_and_ninety_percent_hedged(shipped):
    prices = shipped.tables["prices"]
    latest = prices[prices["time"] == prices["time"].max()].set_index(["venue", "symbol"])["price"]
    holdings = shipped.tables["holdings"]
    coin_usd = holdings["asset"].map(lambda asset: latest["index", f"{asset}/USD"])
    assert 9e6 < (holdings["coins"].abs() * coin_usd).sum() < 11e6
    exposure = (holdings["coins"] * holdings["confidence"] * coin_usd).sum()
    terms = shipped.tables["instruments"].set_index(["venue", "symbol"])
    short = sum(
        contracts * float(terms.loc[(venue, symbol), "contract_size"]) * latest[venue, symbol]
        for venue, symbol, contracts in shipped.tables["positions"][
            ["venue", "symbol", "contracts"]
        ].itertuples(index=False)
    )
    assert -0.95 < short / exposure < -0.85


def test_funding_is_often_exactly_one_basis_point(shipped):
    funding = shipped.tables["funding"]
    per_8h = funding["rate"] * 8 / funding["interval_hours"]
    assert 0.3 < np.isclose(per_8h, 1e-4, rtol=1e-9).mean() < 0.8
    indications = funding[funding["settlement_time"] > funding["time"]]
    assert len(indications) == 20


@pytest.mark.parametrize("overlay", [(), ("cautious",), ("least_variance",), ("leave_hyperliquid",)])
def test_the_daily_scenario_loads(overlay):
    loaded = load_scenario(SCENARIOS / "daily.yaml", overlay)
    assert loaded.snapshot_folder.resolve() == (SCENARIOS / "daily").resolve()


def test_the_infeasible_scenario_only_makes_the_rally_worse():
    daily, infeasible = (
        load_scenario(SCENARIOS / f"{name}.yaml").scenario for name in ("daily", "infeasible")
    )
    assert infeasible.stresses["rally"].move > daily.stresses["rally"].move
    assert infeasible.limits == daily.limits
    assert infeasible.venues == daily.venues
