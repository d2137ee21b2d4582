"""Settings chosen while walking: on the past alone, and judged out of sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nova_desk import write_desk

from allocator import ScenarioError
from allocator.allocation import read_tables
from allocator.backtests.engine import Span
from allocator.backtests.known import Records
from allocator.backtests.select import candidates, score, select
from allocator.backtests.series import daily_pnl, first_fill
from allocator.backtests.simulate import simulated
from allocator.backtests.tape import Tape
from allocator.errors import DataError
from allocator.market.build import build_market
from allocator.scenario.load import load_scenario, with_values
from allocator.scenario.source import Origin, node

GRID = "backtest.select={grid: {objective.risk_aversion_per_usd: [1e-9, 1e-5]}, every: 2d, least: 3d}"


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    loaded = load_scenario(write_desk(tmp_path_factory.mktemp("desk")), sets=[GRID])
    tables = read_tables(loaded)
    return loaded, simulated(tables, build_market(loaded, tables), 12, seed=2, bar_hours=4)


def walked(loaded, snapshot):
    tape = Tape.of(snapshot)
    start = tape.times[0] + pd.Timedelta(days=3)
    span = Span(start, start + pd.Timedelta(days=9), pd.Timedelta("24h"))
    return select(loaded, Records(loaded, tape), span)


@pytest.fixture(scope="module")
def found(desk):
    return walked(*desk)


def test_each_pick_is_the_best_on_the_past_and_is_followed(desk, found):
    pnl = {walk.name: daily_pnl(walk, first_fill(found.candidates)) for walk in found.candidates}
    assert len(pnl) == 2
    assert len(found.picks) == 3
    aversion = desk[0].scenario.objective.risk_aversion_per_usd
    for pick in found.picks:
        past = {name: days[days.index <= pick.time] for name, days in pnl.items()}
        assert {len(days) for days in past.values()} != {0}
        known = {name: days.mean() - aversion / 2 * days.var() for name, days in past.items()}
        assert pick.chosen == max(known, key=known.get)
        assert pick.scores == pytest.approx(known, rel=1e-12)
    # From the first pick on the desk wants what the picked candidate wants, but for what it already holds.
    last = found.picks[-1]
    chosen = next(walk for walk in found.candidates if walk.name == last.chosen)
    end = pd.Timestamp(found.followed.times[-1])
    mine, theirs = (w.positions[w.positions["time"] == end]["usd"].sum() for w in (found.followed, chosen))
    assert mine == pytest.approx(theirs, abs=1e5)


def test_what_happens_after_a_date_changes_no_pick_up_to_it(desk, found):
    loaded, snapshot = desk
    cut = found.picks[1].time
    tables = dict(snapshot.tables)
    later = tables["prices"]["time"] > cut
    spoilt = tables["prices"]["price"] * np.where(later, 1.1, 1.0)
    tables["prices"] = tables["prices"].assign(price=spoilt)
    other = walked(loaded, replace(snapshot, tables=tables))
    assert other.picks[:2] == found.picks[:2]
    assert other.picks[2].scores != found.picks[2].scores


def test_the_result_is_out_of_sample(found):
    result = found.result["out_of_sample"]
    days = daily_pnl(found.followed, first_fill(found.candidates))
    after = days[days.index > found.picks[0].time]
    assert result["selected"]["days"] == len(after) < len(days)
    assert result["selected"]["pnl_usd"] == pytest.approx(after.mean())
    assert result["selected"]["score_usd"] == pytest.approx(score(after, found.risk_aversion))
    scores = {name: row["score_usd"] for name, row in result["candidates"].items()}
    assert result["best_in_hindsight"] == max(scores, key=scores.get)
    # The scenario as stated is one of the candidates here: the same walk.
    assert result["as_stated"] == result["candidates"]["objective.risk_aversion_per_usd=1e-05"]


def test_bad_candidates_are_named_before_anything_is_walked(desk, tmp_path):
    path = write_desk(tmp_path)

    def grid(text):
        return candidates(load_scenario(path, sets=[f"backtest.select={{grid: {text}}}"]))

    with pytest.raises(ScenarioError, match="half_lief"):
        grid("{forecasts.assets.half_lief: [5d]}")
    with pytest.raises(ScenarioError, match=r"risk_aversion_per_usd"):
        grid("{objective.risk_aversion_per_usd: [-1]}")
    with pytest.raises(ScenarioError, match="200 at most"):
        grid("{horizons.holding: [" + ", ".join(f"{n}d" for n in range(1, 202)) + "]}")
    assert len(grid("{forecasts.funding.half_life: [5d, 9d], objective.risk_aversion_per_usd: [1e-5]}")) == 2
    late = load_scenario(path, sets=[GRID.replace("least: 3d", "least: 90d")])
    with pytest.raises(DataError, match="least"):
        walked(late, desk[1])


@pytest.mark.parametrize("key", ["as_of", "snapshot.folder", "venues.nova.table", "backtest.seed", "name"])
def test_what_a_walk_takes_from_elsewhere_is_no_candidate(desk, key):
    loaded, _ = desk
    grid = loaded.scenario.backtest.select.model_copy(update={"grid": {key: ["x"]}})
    walking = loaded.scenario.backtest.model_copy(update={"select": grid})
    other = replace(loaded, scenario=loaded.scenario.model_copy(update={"backtest": walking}))
    with pytest.raises(ScenarioError, match=rf"{key} cannot change in a walk"):
        candidates(other)


def test_a_candidate_that_brings_back_what_was_removed_says_where(tmp_path):
    text = write_desk(tmp_path).read_text()
    path = tmp_path / "without.yaml"
    path.write_text(text + "\n")
    loaded = load_scenario(path, sets=["limits.hedge_side=null"])
    there = Origin("grid", 7)
    entry = node({"kind": node("hedge_side", there)}, there)
    back = with_values(loaded, {("limits", "hedge_side"): entry})
    assert "hedge_side" in back.scenario.limits
    assert ("limits", "hedge_side") not in back.removed
    assert back.origin("limits.hedge_side.kind") == "grid:7"
    assert str(back.origins["limits", "hedge_side", "kind"]) == "grid:7"
