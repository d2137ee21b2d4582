"""The same pictures as Plotly figures: the values of the result, and Plotly only where one is made."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from small_desk import ROOT, SCENARIO, write_desk

import allocator


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return allocator.allocate(write_desk(tmp_path_factory.mktemp("plots") / "desk")).result


def test_figures_hold_the_values_of_the_result(result):
    pytest.importorskip("plotly")
    from allocator.report.plots import of_result

    found = of_result(result)
    before, after = found["net_delta"].data
    assert list(after.x) == [coin["net_delta_usd"] for coin in result["risk"]["by_asset"]]
    assert list(before.x) == [coin["previous_net_delta_usd"] for coin in result["risk"]["by_asset"]]
    (bars,) = found["carry_by_venue"].data
    assert list(bars.error_x.array) == [row["error_sd_usd"] for row in result["carry"]["by_venue"]]
    for venue, state in zip(result["equity_by_price"]["venues"], result["venues"], strict=True):
        drawn = found[f"equity_by_price {venue['name']}"]
        assert list(drawn.data[0].y) == venue["equity_usd"]
        assert list(drawn.data[0].x) == result["equity_by_price"]["move"]
        lines = [shape.x0 for shape in drawn.layout.shapes]
        assert lines == ([] if state["liquidation_move"] is None else [state["liquidation_move"]])


@pytest.fixture(scope="module")
def allocation(tmp_path_factory):
    return allocator.allocate(write_desk(tmp_path_factory.mktemp("shown") / "desk"))


def test_functions_of_an_allocation_draw_its_result(allocation):
    pytest.importorskip("plotly")
    from allocator import plots

    result = allocation.result
    now, then, margin = plots.worst_stress(allocation).data
    for trace, key in ((now, "equity_usd"), (then, "worst_stress_equity_usd")):
        assert list(trace.x) == [row[key] for row in result["venues"]]
    assert list(margin.x) == [row["worst_stress_maintenance_margin_usd"] for row in result["venues"]]
    (bars,) = plots.risk_by_source(allocation).data
    assert list(bars.x) == list(result["risk"]["by_source"].values())
    for drawn in (plots.net_delta, plots.risk_by_coin, plots.risk_by_venue, plots.expected_funding):
        assert drawn(allocation).layout.title.text
    assert plots.equity_by_price(allocation, "okx").layout.title.text == "okx"
    with pytest.raises(ValueError, match="no venue 'kraken'"):
        plots.equity_by_price(allocation, "kraken")


def test_pictures_of_every_kind_keep_their_values():
    pytest.importorskip("plotly")
    from allocator.report.charts import Curve, Curves, HeatMap, Interval, Intervals, Moment, Tile
    from allocator.report.nodes import Node
    from allocator.report.numbers import ratio
    from allocator.report.plots import plotly_figure

    lines = Curves(
        "t", "n", "x", "y", [Curve("a", [0.0, 86_400.0], [1.0, 2.0], low=[0.5, 1.5], high=[1.5, 3.0])],
        kind="time", moments=[Moment(43_200.0, "noon")],
    )  # fmt: skip
    area, line = plotly_figure(lines).data
    assert list(area.y) == [1.5, 3.0, 1.5, 0.5]
    assert list(line.y) == [1.0, 2.0]
    assert line.x[1].isoformat() == "1970-01-02T00:00:00+00:00"
    tiles = [[Tile(Node(-1.0, ""), "low"), Tile(None, "none")]]
    (heat,) = plotly_figure(HeatMap("t", "n", "x", "y", ["p", "q"], ["r"], tiles)).data
    assert heat.z[0][0] == -1.0
    assert heat.z[0][1] is None
    row = Interval("a", Node(1.0, ""), Node(0.5, ""), Node(3.0, ""))
    (dots,) = plotly_figure(Intervals("t", "n", [row], 1.0, ratio)).data
    assert (list(dots.error_x.array), list(dots.error_x.arrayminus)) == ([2.0], [0.5])


def test_a_frontier_names_what_lies_far_outside():
    from allocator.report.frontier_figures import frontier

    points = [{"volatility": 1.0 + k, "cost": 1.0 / (1.0 + k)} for k in range(5)]
    beside = {
        "scenario": {"volatility": 2.0, "cost": 0.6},
        "no_hedge": {"volatility": 900.0, "cost": 0.0},
        "broken": {"volatility": float("inf"), "cost": 0.0},
    }
    drawn = frontier(points, beside, "volatility", "cost")
    assert [spot.name for spot in drawn.spots] == ["scenario"]
    assert "no hedge ($900, $0)" in drawn.note
    assert list(drawn.curves[0].y) == [point["cost"] for point in points]
    with pytest.raises(KeyError, match="margin"):
        frontier(points, {}, "margin", "cost")


def test_objects_show_themselves_small_and_escaped(allocation, tmp_path):
    assert f"{len(allocation.orders)} orders" in repr(allocation)
    assert len(repr(allocation)) < 200
    shown = allocation._repr_html_()
    assert allocation.run_id in shown
    assert len(shown) < 20_000
    for order in allocation.orders[:5]:
        assert order.symbol in shown
    assert allocation.shadow_prices._repr_html_().startswith("<div")
    bad = SCENARIO.replace("gross: {kind: gross, max: $9m}", "gross: {kind: gross, max: $1k}\n"
                           "  delta: {kind: net_delta, assets: all, min: -$1k, max: $1k}")  # fmt: skip
    with pytest.raises(allocator.Infeasible) as caught:
        allocator.allocate(write_desk(tmp_path / "bad", bad))
    said = caught.value._repr_html_()
    assert "limits.gross.max" in said
    member = replace(caught.value.conflict[0], subject="<script>")
    assert "<script>" not in allocator.Infeasible("<b>", [member])._repr_html_()


def test_a_page_needs_no_plotly():
    code = "import allocator.report.page, allocator.plots, sys; print('plotly' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
