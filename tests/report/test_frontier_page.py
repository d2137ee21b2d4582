"""The page of a frontier: every number is that of `frontier.json`, plans that breach limits say so."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from page_reader import Reader, check_numbers, files_of
from small_desk import Hedge

from allocator.report.frontier_figures import frontier as frontier_picture
from allocator.report.frontier_page import page
from allocator.report.svg import draw
from allocator.runs import find, write

POINTS = [(3_000.0 + 500.0 * k, 100.0 / (1 + k) - 400.0) for k in range(7)]


def frontier() -> dict:
    def plan(name, x, y, excess, breaches):
        return {
            "name": name, "label": name.replace("_", " "), "x": x, "y": y, "excess": excess,
            "permitted": not breaches, "breaches": breaches, "breaches_in_all": len(breaches),
        }  # fmt: skip

    breach = {"limit": "limits.delta.max", "subject": "BTC", "over_usd": 5.0}
    return {
        "schema_version": 1,
        "run_id": "frontier-1",
        "scenario": "small <i>",
        "as_of": "2026-11-20T00:00:00Z",
        "status": "optimal",
        "x": {"name": "volatility", "label": "volatility over the decision horizon", "unit": "USD"},
        "y": {"name": "cost", "label": "cost, charged per decision", "unit": "USD"},
        "minimised": "cost",
        "bounded": "volatility",
        "spacing": {"least": 0.97, "most": 1.02},
        "points": [
            {
                "point": k, "x": x, "y": y, "audit": {"passed": True, "duality_gap_usd": 1e-5},
                "set": [f"limits.frontier.max={x}"] if k else None,
            }
            for k, (x, y) in enumerate(POINTS)
        ],
        "references": [
            plan("scenario", 3_600.0, -355.0, 0.5, []),
            plan("one_to_one", 4_000.0, -300.0, 66.7, []),
            plan("no_hedge", 250_000.0, 0.0, 385.7, [breach]),
            plan("wild", None, None, None, []),
        ],
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    write(
        tmp_path,
        "frontier-1",
        {"frontier.json": json.dumps(frontier())},
        {"status": "optimal", "exit_code": 0},
    )
    return find(tmp_path, "frontier-1")


def test_every_number_is_that_of_the_frontier(run):
    text = page(run)
    assert check_numbers(Reader(text), files_of(run.folder)) > 30
    worse = files_of(run.folder)
    worse["frontier.json"]["points"][3]["y"] += 1e-6
    with pytest.raises(AssertionError, match="points/3/y"):
        check_numbers(Reader(text), worse)


def test_it_tells_of_the_own_point_of_plain_plans_and_of_what_is_outside(run):
    text = page(run)
    read = Reader(text)
    said = " ".join(e.text for e in read.of("main"))
    assert "The scenario's own optimum: $3,600, −$355." in said
    assert "nearest plain plan is one to one: $66.70 more cost than the least at its volatility" in said
    assert "breaches limits.delta.max" in said
    assert "Far outside: no hedge ($250,000, $0)" in said
    assert "--set limits.frontier.max=3500.0" in said
    assert "<i>" not in text.replace("&lt;i&gt;", "")
    places = [e.attributes["class"] for e in read.of("circle")]
    assert sorted(places) == ["spot tone-second", "spot tone-warn"]


def test_names_of_points_do_not_lie_on_each_other():
    points = [{"x": 1.0 + k, "y": 9.0 - k} for k in range(5)]
    beside = {f"plan number {k}": {"x": 2.0, "y": 5.0 + k / 1000} for k in range(4)}
    read = Reader(draw(frontier_picture(points, beside, "x", "y")))
    heights = sorted(float(e.attributes["y"]) for e in read.of("text") if e.text.startswith("plan number"))
    assert all(b - a >= 12 for a, b in pairwise(heights))


def test_the_command_knows_a_frontier(run, hedge: Hedge):
    said = hedge("report", run.folder)
    assert said.code == 0
    assert "frontier as of" in run.folder.with_name("frontier-1.html").read_text(encoding="utf-8")
