"""The same pictures as Plotly figures: the values of the result, and Plotly only where one is made."""

from __future__ import annotations

import subprocess
import sys

import pytest
from small_desk import ROOT, write_desk

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


def test_a_page_needs_no_plotly():
    code = "import allocator.report.page, allocator.report.plots, sys; print('plotly' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
