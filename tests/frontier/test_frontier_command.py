"""`hedge frontier`: a run folder with a picture's data, found again, gone on with, and its errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from small_desk import Hedge, only_run, write_desk

import allocator
from allocator.errors import HedgeError
from allocator.frontiers.programs import Programs


@pytest.fixture
def desk(tmp_path):
    return write_desk(tmp_path / "desk")


def test_a_frontier_is_points_references_and_tables(desk, tmp_path, hedge: Hedge):
    out = tmp_path / "runs"
    done = hedge("frontier", desk, "--points", "4", "--out", out, "--json")
    assert done.code == 0
    said = done.json
    assert (said["kind"], said["status"], said["scenario"]) == ("frontier", "optimal", "small")
    assert (said["x"]["name"], said["y"]["name"], said["x"]["unit"]) == ("volatility", "cost", "USD")
    folder = only_run(out)
    assert folder.name == said["run_id"]
    points = pd.read_parquet(folder / "points.parquet")
    assert points["x"].to_numpy() == pytest.approx([p["x"] for p in said["points"]], rel=1e-11)
    assert points["volatility"].equals(points["x"].rename("volatility"))
    assert points["arc"].to_numpy() == pytest.approx(np.linspace(0, 1, 4), abs=0.02)
    positions = pd.read_parquet(folder / "positions.parquet")
    gross = positions.groupby("point")["target_usd"].apply(lambda x: x.abs().sum())
    assert gross.to_numpy() == pytest.approx(points["gross"].to_numpy())
    names = [r["name"] for r in said["references"]]
    assert names[:4] == ["scenario", "doing_nothing", "no_hedge", "one_to_one"]
    assert "one_to_one.okx" in names
    # What keeps every limit lies on the curve or above it; the scenario's own optimum on it.
    for row in said["references"]:
        if row["permitted"] and row["excess"] is not None:
            assert row["excess"] >= -1e-3
    assert said["references"][0]["excess"] == pytest.approx(0, abs=0.05)
    # A point is what `allocate` finds with what it says to set.
    told = said["points"][2]
    options = [part for setting in told["set"] for part in ("--set", setting)]
    plain = hedge("allocate", desk, "--no-report", "--json", "--out", tmp_path / "a", *options).json
    targets = [p["target_usd"] for p in plain["positions"]]
    mine = positions[positions["point"] == 2]["target_usd"].to_numpy()
    assert mine == pytest.approx(targets, abs=1e-5 * 5e6)
    # Again it is the same run, as a page.
    page = hedge("frontier", desk, "--points", "4", "--out", out)
    assert page.code == 0
    for text in ("4 points of least cost for each volatility", "Beside it", "current book", folder.name):
        assert text in page.out
    # A notebook shows the same points.
    shown = allocator.frontier(desk, points=4, out=out)
    drawn = shown._repr_html_()
    assert drawn.count("<tr>") == 1 + len(said["points"]) + len(said["references"])
    assert all(f"{abs(p['x']):,.0f}" in drawn for p in said["points"])
    assert len(repr(shown)) < 200


def test_a_stopped_frontier_goes_on_where_it_was(desk, tmp_path, monkeypatch):
    whole = allocator.frontier(desk, points=3, out=tmp_path / "whole")
    assert "3 points" in whole._repr_html_()
    broken = [row["name"] for row in whole.result["references"] if not row["permitted"]]
    assert whole._repr_html_().count(", breaks limits") == len(broken)
    solve, asked = Programs.solve, []

    def stopping(self, ask):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(ask)
        return solve(self, ask)

    monkeypatch.setattr(Programs, "solve", stopping)
    with pytest.raises(KeyboardInterrupt):
        allocator.frontier(desk, points=3, out=tmp_path / "runs")
    first = list(asked)
    monkeypatch.setattr(Programs, "solve", lambda self, ask: (asked.append(ask), solve(self, ask))[1])
    done = allocator.frontier(desk, points=3, out=tmp_path / "runs")
    assert not set(first) & set(asked[3:])
    assert done.run.folder.name == whole.run.folder.name
    # A solver that goes on and one that starts anew differ in the last digits.
    x, y = (one.positions["target_usd"].to_numpy() for one in (done, whole))
    assert x == pytest.approx(y, abs=1e-7 * 5e6)
    for name in ("x", "y", "arc"):
        assert done.points[name].to_numpy() == pytest.approx(whole.points[name].to_numpy(), rel=1e-6)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [done.run.folder.name]


def test_what_cannot_be_drawn_is_said(desk, tmp_path, hedge: Hedge):
    out = tmp_path / "runs"
    assert "write a number of points" in hedge("frontier", desk, "--points", "1", "--out", out).err
    assert hedge("frontier", desk, "--x", "gross", "--y", "turnover", "--out", out).code == 2
    unknown = hedge("frontier", desk, "--x", "sharpe", "--out", out)
    assert (unknown.code, "no such quantity" in unknown.err) == (2, True)
    assert not out.exists()
    limits = ("limits.no={kind: net_delta, min: -$1, max: $1}", "limits.gross.max=$1k")
    options = [part for limit in limits for part in ("--set", limit)]
    done = hedge("frontier", desk, "--points", "3", "--out", out, *options)
    assert done.code == 3
    assert "limits.no" in done.err


def test_points_that_cannot_be_proven_end_with_seven(desk, tmp_path, hedge: Hedge, monkeypatch):
    solve = Programs.solve

    def failing(self, ask):
        if ask.bound is not None:
            raise HedgeError("rounding errors")
        return solve(self, ask)

    monkeypatch.setattr(Programs, "solve", failing)
    done = hedge("frontier", desk, "--points", "5", "--out", tmp_path / "runs")
    assert done.code == 7
    assert "Only 2 of 5 points were proven" in done.out
