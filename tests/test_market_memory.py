"""A market built with remembered stages is the market built afresh, whatever key of the scenario changes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "commands"))

from small_desk import write_desk

from allocator.allocation import read_tables
from allocator.errors import HedgeError
from allocator.market.build import build_market
from allocator.market.memory import Memory
from allocator.market.universe import Findings
from allocator.scenario.load import load_scenario

CHANGES = (
    "horizons.decision=48h", "horizons.holding=30d", "horizons.execution=10min", "book.size=$6m",
    "book.exclude=[ETH]", "venues.okx.fees.taker=6bp", "venues.okx.fees.maker=-1bp",
    "venues.binance.haircuts.BTC=10%", "venues.okx.withdrawals.USDT.cost=2bp",
    "venues.okx.withdrawals.USDT.delay=3h", "venues.okx.withdrawals={USDT: null}",
    "venues.okx.capital_cost=5%/y", "venues.okx.margin.netting=long_short",
    "venues.okx.margin.tiers=whole_position", "instruments.okx_perps.leverage=5x",
    "instruments.okx_perps.no_trade=true", "instruments.okx_perps.max_position=$1m",
    "instruments.okx_perps.assets=[BTC]", "instruments.dex={symbols: [BTC/USDC:USDC]}",
    "forecasts.assets.correlation=0.5", "forecasts.assets.daily_volatility.BTC=3%",
    "forecasts.basis.level=8bp", "forecasts.basis.half_life=4h",
    "forecasts.currencies.daily_volatility.USDT=9bp",
    "forecasts.funding.long_run=2bp/8h", "forecasts.funding.half_life=5d", "forecasts.funding.reversion=9d",
    "objective.risk_aversion_per_usd=1e-4", "objective.maker_share=50%",
    "objective.funding_uncertainty_aversion=0.5",
    "objective.impact={model: square_root, coefficient: 2}", "limits.gross.max=$8m",
    "limits.initial_margin.use=50%", "limits.hedge_side=null", "limits.cap={kind: position, max: $1m}",
    "limits.net={kind: net_delta, min: -$1m, max: $1m, assets: [DOGE]}", "stresses.crash.move=-20%",
    "stresses.crash.currencies={USDT: -3%}", "stresses.crash.funding_at_cap=8h", "stresses.rally={move: 20%}",
    "orders.collar=20bp", "snapshot.max_age.prices=1h",
)  # fmt: skip

# What changes no number of this desk: it has nothing to withdraw, and no tier differs by its kind.
UNFELT = (*("horizons.execution", "venues.okx.withdrawals", "venues.okx.margin.netting", "orders"),)


def same(one: object, other: object) -> bool:
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, tuple | list):
        return isinstance(other, tuple | list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    path = write_desk(tmp_path_factory.mktemp("memory") / "desk")
    return path, read_tables(load_scenario(path)), Memory()


def built(loaded, tables, memory):
    try:
        return build_market(loaded, tables, memory=memory)
    except HedgeError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(desk, change):
    path, tables, memory = desk
    base = load_scenario(path)
    build_market(base, tables, memory=memory)
    loaded = load_scenario(path, sets=[change])
    fresh = built(loaded, tables, None)
    assert same(fresh, build_market(base, tables)) == change.startswith(UNFELT)
    for _ in range(2):
        assert same(built(loaded, tables, memory), fresh)
    assert same(build_market(base, tables, memory=memory), build_market(base, tables))


def test_what_is_not_touched_is_not_built_again(desk):
    path, tables, memory = desk
    one = build_market(load_scenario(path), tables, memory=memory)
    two = build_market(load_scenario(path, sets=["limits.gross.max=$8m"]), tables, memory=memory)
    assert two.risk is one.risk
    assert two.funding is one.funding
    assert two.instruments is one.instruments


def test_memory_is_bounded_and_forgets_the_oldest():
    memory, calls = Memory(2), []

    def make(x):
        return memory.stage("square", Findings(), lambda _: calls.append(x) or x * x, x)

    assert [make(x) for x in (1, 2, 1, 3, 1, 2)] == [1, 4, 1, 9, 1, 4]
    assert calls == [1, 2, 3, 2]


def test_costs_are_those_of_the_venue_not_of_its_place(desk):
    """An account without perps stands first, then last: each venue has the fees that stood at its place."""
    path, tables, _ = desk
    memory, base = Memory(), load_scenario(path)
    venues = base.scenario.venues
    idle = venues["okx"].model_copy(update={"exchange": "okx", "account": "idle"})
    idle = idle.model_copy(update={"fees": idle.fees.model_copy(update={"taker": 1e-4})})
    before, after = {"idle": idle, **venues}, {**venues, "idle": idle}
    fees = [venue.fees for venue in before.values()]
    after = {
        name: venue.model_copy(update={"fees": fee})
        for (name, venue), fee in zip(after.items(), fees, strict=True)
    }
    one, two = (
        dataclasses.replace(base, scenario=base.scenario.model_copy(update={"venues": each}))
        for each in (before, after)
    )
    build_market(one, tables, memory=memory)
    found = build_market(two, tables, memory=memory)
    assert same(found.costs, build_market(two, tables).costs)
    assert not same(found.costs, build_market(one, tables).costs)
