"""Every shipped scenario runs as it is, with each of its overlays, and shows what its first lines promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from allocator import Infeasible, allocate
from allocator.scenario.load import load_scenario
from allocator.snapshot.columns import TABLES

SCENARIOS = Path(__file__).parents[1] / "scenarios"
FILES = sorted(path.name for path in SCENARIOS.glob("*.yaml"))
INFEASIBLE = "infeasible.yaml"


def with_overlays(name):
    """The file alone, and with each overlay that it states."""
    stated = YAML(typ="safe").load(SCENARIOS / name)
    return [(), *((overlay,) for overlay in stated.get("overlays", {}))]


def run(name, *overlays):
    return allocate(load_scenario(SCENARIOS / name, overlays=overlays))


CASES = [(name, overlays) for name in FILES for overlays in with_overlays(name) if name != INFEASIBLE]


@pytest.mark.parametrize(("name", "overlays"), CASES)
def test_it_allocates_and_hedges(name, overlays):
    found = run(name, *overlays)
    assert found.audit.passed
    assert found.rounded.check.passed
    assert found.orders
    assert found.result["risk"]["hedge_effectiveness"] > 0.7


def test_the_infeasible_one_is():
    with pytest.raises(Infeasible) as caught:
        run(INFEASIBLE)
    assert any("net_delta" in member.name for member in caught.value.conflict)


def test_coins_that_margin_their_own_short_are_never_liquidated_by_a_rise():
    found = run("inverse.yaml")
    for row in found.result["venues"]:
        assert row["liquidation_move"] is None or row["liquidation_move"] < 0 or row["liquidation_move"] > 3.0
    held = dict(zip(found.market.assets, np.zeros(2), strict=True))
    for i, x in zip(found.market.instruments, found.rounded.decision.positions, strict=True):
        assert i.contract.kind == "inverse"
        held[i.asset] += x
    assert all(usd < -2e6 for usd in held.values())


def test_coins_without_a_perp_are_hedged_by_others():
    found = run("cross_hedge.yaml")
    hedged = {row["asset"]: row["positions_usd"] for row in found.result["risk"]["by_asset"]}
    exposed = {row["asset"]: row["exposure_usd"] for row in found.result["risk"]["by_asset"]}
    assert hedged["GNO"] == hedged["RPL"] == 0.0
    assert -hedged["ETH"] > 2 * exposed["ETH"]


def test_one_sided_books_pay_more_as_a_portfolio():
    margin = {
        overlay: run("portfolio_margin.yaml", *overlay).result["venues"][0]["initial_margin_usd"]
        for overlay in ((), ("by_position",))
    }
    assert margin[()] > margin["by_position",]


def test_funding_is_hourly_on_decentralised_venues():
    market = run("dex.yaml").market
    hours = {i.venue: h for i, h in zip(market.instruments, market.funding.interval_hours, strict=True)}
    assert hours == {"hyperliquid": 1, "dydx": 1, "binance": 8}
    gross = np.abs(run("dex.yaml").rounded.decision.positions)
    dex = np.array([i.venue != "binance" for i in market.instruments])
    assert gross[dex].sum() > gross[~dex].sum()


def test_the_generator_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SCENARIOS)
    import make_markets

    make_markets.main(tmp_path)
    for market in make_markets.MARKETS:
        for name in ("prices", "funding"):
            written = (tmp_path / market / f"{name}.csv").read_bytes()
            assert written == (SCENARIOS / market / f"{name}.csv").read_bytes()


def test_every_folder_says_that_it_is_synthetic():
    folders = [path for path in SCENARIOS.iterdir() if path.is_dir() and (path / "prices.csv").exists()]
    assert len(folders) >= 5
    for folder in folders:
        assert "SYNTHETIC" in (folder / "README.md").read_text(encoding="utf-8")
        assert {path.stem for path in folder.glob("*.csv")} <= set(TABLES)
