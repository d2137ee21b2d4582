"""What a walk puts together at a bar is what a snapshot of that time would have known."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "venues"))

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nova_desk import write_desk

from allocator.allocation import read_tables
from allocator.backtests.known import Records
from allocator.backtests.simulate import simulated
from allocator.backtests.tape import Tape
from allocator.identity import ByIdentity
from allocator.market.build import build_market
from allocator.market.funding import FundingHistories, funding_forecast, funding_histories
from allocator.market.history import Grid, InTime, settlements
from allocator.market.observed import observe
from allocator.market.universe import Findings, Listing
from allocator.scenario.load import load_scenario

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    loaded = load_scenario(write_desk(tmp_path_factory.mktemp("desk")))
    tables = read_tables(loaded)
    snapshot = simulated(tables, build_market(loaded, tables), 20, seed=3, bar_hours=4)
    return Records(loaded, Tape.of(snapshot))


@settings(max_examples=25)
@given(share=st.floats(0.3, 1.0))
def test_a_bar_knows_what_a_snapshot_of_its_time_knew(records, share):
    tape = records.tape
    row = int(share * (len(tape.times) - 1))
    now = tape.times[row].to_pydatetime()
    then = observe(tape.snapshot, now).newest
    found = records.at(row, records.loaded).newest
    assert found.as_of == then.as_of
    assert found.prices == then.prices
    # As texts: an empty cell equals nothing, not even itself.
    assert {key: str(row) for key, row in found.terms.items()} == {
        key: str(row) for key, row in then.terms.items()
    }
    assert found.times.keys() <= then.times.keys() | {"books"}
    for name in ("prices", "funding", "instruments", "margin_tiers"):
        assert found.times[name] == then.times[name]
    assert found.tiers.keys() == then.tiers.keys()
    for key, stated in found.tiers.items():
        np.testing.assert_array_equal(stated.brackets.caps_usd, then.tiers[key].brackets.caps_usd)


def test_terms_stay_one_object_until_there_are_new_ones(records):
    one, two = (records.at(row, records.loaded).newest for row in (60, 61))
    assert one.terms is two.terms
    assert one.tiers is two.tiers
    assert one.prices != two.prices


def funding_table(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Funding of three perps: indications ahead of settlements, corrections long after, in no order."""
    hours = rng.integers(0, 60, rows) * 8
    late = rng.choice([0, 0, 0, -8, -3, 40], rows)
    return pd.DataFrame(
        {
            "time": [
                pd.Timestamp(START + timedelta(hours=int(h + d))) for h, d in zip(hours, late, strict=True)
            ],
            "venue": rng.choice(["alpha", "beta"], rows),
            "symbol": rng.choice(["A", "B"], rows),
            "settlement_time": [pd.Timestamp(START + timedelta(hours=int(h))) for h in hours],
            "rate": rng.normal(size=rows),
            "interval_hours": 8.0,
        }
    ).astype({"time": "datetime64[us, UTC]", "settlement_time": "datetime64[us, UTC]"})


@given(st.integers(0, 2**32 - 1), st.integers(0, 60 * 8), st.integers(8, 200))
def test_settlements_between_are_those_a_table_would_show(seed, at, window):
    table = funding_table(np.random.default_rng(seed), 60)
    as_of = START + timedelta(hours=at)
    after = as_of - timedelta(hours=window)
    stated = settlements(table)
    keys = list(stated.places)
    rows, owners = stated.between(np.array([stated.places[key] for key in keys]), after, as_of)
    for k, (venue, symbol) in enumerate(keys):
        mine = table[(table["venue"] == venue) & (table["symbol"] == symbol)]
        mine = mine[(mine["settlement_time"] > after) & (mine["time"] <= as_of)]
        mine = mine.sort_values(["settlement_time", "time"], kind="stable")
        np.testing.assert_array_equal(stated.rate[rows[owners == k]], mine["rate"])
    if len(np.unique(owners)) == len(keys):
        history = FundingHistories.of(stated, rows, owners, len(keys), as_of)
        for k, (venue, symbol) in enumerate(keys):
            mine = table[(table["venue"] == venue) & (table["symbol"] == symbol)]
            mine = mine[(mine["settlement_time"] > after) & (mine["time"] <= as_of)]
            mine = mine.sort_values(["settlement_time", "time"], kind="stable")
            paid = mine[(mine["time"] >= mine["settlement_time"]) & (mine["settlement_time"] <= as_of)]
            np.testing.assert_allclose(history.hourly[history.owners == k], paid["rate"] / 8.0)
            coming = mine[mine["settlement_time"] > as_of]
            first = coming[coming["settlement_time"] == coming["settlement_time"].min()]
            expected = first["rate"].iloc[-1] if len(first) else np.nan
            np.testing.assert_equal(history.indicated[k], expected)


def test_a_grid_is_the_table_side_by_side():
    rng = np.random.default_rng(0)
    times = pd.date_range(START, periods=30, freq="1h")
    table = pd.DataFrame(
        [
            (time, venue, symbol, rng.uniform(1, 2))
            for k, time in enumerate(times)
            for venue, symbol in (("index", "A/USD"), ("alpha", "A"), ("alpha", "B"))
            if k not in (7, 8, 9) and not (symbol == "B" and k % 2)
        ],
        columns=["time", "venue", "symbol", "price"],
    ).astype({"time": "datetime64[us, UTC]"})
    grid = Grid.of(table)
    assert grid.values.shape == (27, 3)
    within = grid.between(START + timedelta(hours=4), START + timedelta(hours=20))
    wide = table.pivot_table(index="time", columns=["venue", "symbol"], values="price")
    expected = wide.loc[pd.Timestamp(START + timedelta(hours=5)) : pd.Timestamp(START + timedelta(hours=20))]
    keys = [("alpha", "B"), None, ("alpha", "C"), ("index", "A/USD")]
    found = within.columns(keys)
    np.testing.assert_array_equal(found[:, 0], expected["alpha", "B"])
    np.testing.assert_array_equal(found[:, 1], 1.0)
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_array_equal(found[:, 3], expected["index", "A/USD"])
    evenly = within.evenly([("index", "A/USD")])
    assert evenly.values.shape == (16, 3)
    assert np.isnan(evenly.values[2:5]).all()
    assert evenly.step_hours == 1.0
    # Where prices of one perp come at every other hour, that is its step.
    assert within.evenly([("alpha", "B")]).step_hours == 2.0


def test_without_rows_there_is_nothing_to_see():
    empty = Grid.of(
        pd.DataFrame(
            {
                "time": pd.Series([], dtype="datetime64[us, UTC]"),
                "venue": [],
                "symbol": [],
                "price": pd.Series([], dtype=float),
            }
        )
    )
    assert np.isnan(empty.step_hours)
    assert empty.columns([("alpha", "A"), None]).shape == (0, 2)
    assert replace(empty).evenly([("alpha", "A")]).values.shape[0] == 0


def test_averages_of_a_history_are_remembered_but_not_all(records):
    history, found = records.history, Findings()
    newest = records.at(80, records.loaded).newest
    keys = [key for key in history.funding.places if key in newest.terms]
    listings = [Listing(k[0], k[0], k[1], "all", None, newest.terms[k]) for k in keys]  # type: ignore[arg-type]
    funding = funding_histories(history.funding, listings, 2000.0, newest.as_of, found)
    assert funding is not None
    one = funding.averages(24.0)
    assert funding.averages(24.0) is one
    for k in range(100):
        funding.averages(30.0 + k)
    assert funding.averages(24.0) is not one
    np.testing.assert_array_equal(funding.averages(24.0), one)


def test_of_no_perps_there_is_no_funding(records):
    now = records.at(80, records.loaded).newest.as_of
    none = funding_histories(records.history.funding, [], 2000.0, now, Findings())
    assert none is not None
    assert none.last.size == 0
    believed = records.loaded.scenario.forecasts.funding
    found = funding_forecast(none, [], believed, now, 24.0, 240.0, Findings())
    assert found.cost.size == 0


@given(st.integers(0, 2**32 - 1))
def test_rows_until_a_time_are_counted_however_far_times_lie_apart(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, 6)
    starts = np.append(0, np.cumsum(counts))
    far = np.array([-(2**62), 0, 1, 5, 2**62])  # together with a thing's place these would overflow
    times = np.concatenate(
        [np.sort(rng.choice(far, count)) for count in counts] + [np.zeros(0, dtype=np.int64)]
    )
    order, places = InTime(starts, times.astype(np.int64)), np.array([4, 0, 2])
    for time in (-(2**62) - 1, -(2**62), 0, 3, 2**62, 2**62 + 1):
        expected = [starts[p] + np.sum(times[starts[p] : starts[p + 1]] <= time) for p in places]
        np.testing.assert_array_equal(order.until(places, time), expected)


def test_what_is_remembered_by_identity_is_bounded_and_never_mistaken():
    kept = ByIdentity[int](3)
    for k in range(50):
        # Each list is gone before the next is made, but for the three that are kept.
        thing = [k]
        assert kept.get(thing) is None
        assert kept.put(thing, k) == k
        assert kept.get(thing) == k
    assert kept.get([49]) is None
