"""The page of a sweep: its numbers are the tables', its pictures are their means, ranges and best cells."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_reader import Reader, check_numbers, files_of
from small_desk import Hedge, write_desk

import allocator
from allocator import runs
from allocator.report.charts import thinned, thinning
from allocator.report.sweep_figures import MOST, cloud, curve, heat_map, varied
from allocator.report.sweep_page import page

BLOCK = """\
sweep:
  grid:
    limits.gross.max: [$9m, $2m, $6m]
    objective.risk_aversion_per_usd: [1.0e-6, 1.0e-4]
  list:
    - {name: whole}
    - {name: none, limits.no: {kind: net_delta, min: -$1, max: $1}}
"""


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    path = write_desk(folder / "desk")
    path.write_text(path.read_text() + BLOCK)
    return allocator.sweep(path, out=folder / "runs", workers=1)


@pytest.fixture(scope="module")
def text(swept) -> str:
    return page(swept.run)


def test_every_number_of_a_sweep_is_its_tables(swept, text):
    assert check_numbers(Reader(text), files_of(swept.run.folder)) > 90
    cells = swept.cells
    worse = files_of(swept.run.folder)
    worse["cells.parquet"] = cells.assign(total_usd=cells["total_usd"] + 1e-3)
    with pytest.raises(AssertionError, match="total_usd"):
        check_numbers(Reader(text), worse)


def test_the_page_says_how_many_failed_and_why(swept, text):
    said = " ".join(element.text for element in Reader(text).of("main"))
    counts = swept.cells["status"].value_counts()
    assert counts["infeasible"] > 0
    assert f"{counts['infeasible']} infeasible, {counts['optimal']} optimal" in said
    for reason in swept.cells.query("status != 'optimal'")["reason"]:
        assert reason in said
    best = swept.cells.loc[swept.cells["total_usd"].idxmin()]
    assert f"Cheapest: cell {best['name']}, objective" in said


def test_a_heat_map_is_the_mean_of_its_cells(swept):
    cells = swept.cells
    drawn = heat_map(cells, "limits.gross.max", "objective.risk_aversion_per_usd", "volatility_hedged_usd")
    wanted = cells.pivot_table(
        index="objective.risk_aversion_per_usd", columns="limits.gross.max",
        values="volatility_hedged_usd", aggfunc="mean",
    ).iloc[::-1].to_numpy()  # fmt: skip
    shown = np.array([[tile.node.number() for tile in row] for row in drawn.tiles])
    assert shown == pytest.approx(wanted, rel=1e-12)
    assert drawn.columns == ["2m", "6m", "9m"]
    assert drawn.rows == ["0.0001", "1e-06"]


def test_a_curve_has_the_median_and_the_range(swept):
    drawn = curve(swept.cells, "limits.gross.max")
    groups = swept.cells.groupby("limits.gross.max")["total_usd"]
    (line,) = drawn.curves
    assert line.y == pytest.approx(groups.median().tolist())
    assert line.low == pytest.approx(groups.min().tolist())
    assert line.high == pytest.approx(groups.max().tolist())
    assert curve(swept.cells, "objective.risk_aversion_per_usd").kind == "log"


def test_no_cell_beats_those_that_are_joined(swept):
    cells, best = cloud(swept.cells).curves
    assert len(cells.x) == (swept.cells["status"] == "optimal").sum()
    for x, y in zip(best.x, best.y, strict=True):
        assert not any(p <= x and q <= y and (p, q) != (x, y) for p, q in zip(cells.x, cells.y, strict=True))


def random_cells(count: int) -> pd.DataFrame:
    draw = np.random.default_rng(4)
    cells = pd.DataFrame(
        {"cell": np.arange(count), "a": draw.uniform(1, 1000, count), "b": draw.normal(size=count)}
    )
    cells["name"], cells["status"] = [f"cell {k}" for k in range(count)], "optimal"
    cells["total_usd"] = cells["a"] * 1e3 - 1e5 * cells["b"]
    cells["volatility_hedged_usd"] = np.abs(cells["b"]) * 1e4 + 1
    cells["risk_usd"] = 0.5 * cells["volatility_hedged_usd"]
    return cells


def test_many_values_share_tiles_and_the_note_says_so():
    cells = random_cells(3_000)
    drawn = heat_map(cells, "a", "b")
    assert (len(drawn.rows), len(drawn.columns)) == (MOST, MOST)
    assert "Neighbouring values of a and b share a tile" in drawn.note
    # Means of means would differ: tiles weighted by their cells are the mean of all.
    counts = [
        [int(re.search(r"of ([\d,]+) cells", t.told)[1]) if "cells" in t.told else 1 for t in r]
        for r in drawn.tiles
    ]
    known = [
        (t.node.number(), c)
        for r, k in zip(drawn.tiles, counts, strict=True)
        for t, c in zip(r, k, strict=True)
        if t.node
    ]
    assert sum(c for _, c in known) == len(cells)
    assert sum(v * c for v, c in known) / len(cells) == pytest.approx(cells["total_usd"].mean(), rel=1e-9)
    (line,) = curve(cells, "a").curves
    assert min(line.low) == cells["total_usd"].min()
    assert max(line.high) == cells["total_usd"].max()


def test_a_thinned_series_keeps_its_range_and_says_what_it_did():
    draw = np.random.default_rng(1)
    x, y = np.arange(8_760.0), draw.normal(size=8_760).cumsum()
    y[100:3_000] = np.nan
    thin = thinned("", x, y)
    assert len(thin.x) == 220
    assert np.nanmin(thin.low) == np.nanmin(y)
    assert np.nanmax(thin.high) == np.nanmax(y)
    assert thin.y[-1] == y[-1]
    assert "8,760 times drawn as 220 steps" in thinning(8_760)
    assert thinning(220) == ""
    assert thinned("", x[:50], y[:50]).y == y[:50].tolist()


class Stored(runs.Run):
    """A sweep in memory, as `hedge sweep` would have written it."""


def test_ten_thousand_cells_are_small_and_quick(swept, tmp_path, told):
    count = 10_000
    cells = random_cells(count).assign(id="", reason=None, binding="", funding_usd=1.0, trading_usd=1.0)
    cells = cells.assign(gross_usd=1e6, turnover_usd=1e5)
    cells.to_parquet(tmp_path / "cells.parquet")
    swept.limits.to_parquet(tmp_path / "limits.parquet")
    stated = '{"run_id": "big", "scenario": "big", "status": "optimal", "cells": 10000,'
    (tmp_path / "result.json").write_text(
        f'{stated} "by_status": {{"optimal": 10000}}, "swept": ["a", "b"]}}'
    )
    (tmp_path / "manifest.json").write_text((swept.run.folder / "manifest.json").read_text())
    start = time.perf_counter()
    drawn = page(Stored(tmp_path, swept.run.manifest))
    seconds = time.perf_counter() - start
    with told():
        print(f"page of {count:,} cells: {len(drawn.encode()):,} bytes in {seconds:.2f} s")
    assert len(drawn.encode()) < 2_000_000
    assert "9,700 more stand in cells.parquet" in drawn
    assert check_numbers(Reader(drawn), files_of(tmp_path)) > 1_000


def test_what_moves_the_objective_is_shown_where_the_result_says_it(swept, tmp_path):
    row = {
        "key": "limits.gross.max", "share": 0.7, "range_usd": 9.0, "slope_usd_per_unit": None,
        "best": "9m", "worst": "2m", "in_step_with": [],
    }  # fmt: skip
    for path in swept.run.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    result = json.loads(swept.run.text("result.json")) | {"sensitivity": [row]}
    (tmp_path / "result.json").write_text(json.dumps(result))
    drawn = page(Stored(tmp_path, swept.run.manifest))
    assert check_numbers(Reader(drawn), files_of(tmp_path)) > 90
    assert "70.0 %" in drawn


def test_few_draws_share_wide_tiles_and_a_grid_keeps_its_own():
    cells = random_cells(400)
    drawn = heat_map(cells, "a", "b")
    tiles = [tile for line in drawn.tiles for tile in line]
    assert sum(tile.node is not None for tile in tiles) >= 0.9 * len(tiles) >= 45
    # No tile is crossed out: a place without a cell is not one without an optimum.
    assert not any(tile.mark for tile in tiles if tile.node is None)
    assert "blank where there is no cell" in drawn.note
    (line,) = curve(cells, "a").curves
    assert len(line.x) == 25
    across, up = np.meshgrid(np.arange(20.0), np.arange(20.0))
    grid = cells.assign(a=across.ravel(), b=up.ravel())
    drawn = heat_map(grid.assign(total_usd=grid["total_usd"].where(grid["a"] != 3.0)), "a", "b")
    assert (len(drawn.rows), len(drawn.columns)) == (20, 20)
    assert all(line[3].node is None and line[3].mark == "×" for line in drawn.tiles)
    assert "blank" not in drawn.note


def test_values_that_differ_little_are_told_apart():
    cells = random_cells(4).assign(a=[1.0, 1.00001, 1.00002, 1.0], b=[1.0, 1.0, 1.0, 2.0])
    drawn = heat_map(cells, "a", "b")
    assert drawn.columns == ["1", "1.00001", "1.00002"]
    assert varied(cells, ["a", "b", "c"]) == ["a", "b"]
    assert [tile.node is None for tile in drawn.tiles[0]] == [False, True, True]


def test_a_sweep_without_any_answer_has_a_page(tmp_path):
    path = write_desk(tmp_path / "desk")
    impossible = "{kind: net_delta, min: -$1, max: $1}"
    path.write_text(path.read_text() + f"sweep: {{list: [{{name: one, limits.no: '{impossible}'}}]}}\n")
    path.write_text(path.read_text().replace(f"'{impossible}'", impossible).replace("max: $9m", "max: $1k"))
    drawn = page(allocator.sweep(path, out=tmp_path / "runs", workers=1).run)
    said = " ".join(element.text for element in Reader(drawn).of("main"))
    assert "1 infeasible" in said
    assert "No cell is optimal" in said


def test_the_command_knows_a_sweep(swept, hedge: Hedge, text):
    folder: Path = swept.run.folder
    said = hedge("report", folder)
    assert said.code == 0
    assert Path(said.out.strip()).read_text(encoding="utf-8") == text


def test_names_from_a_file_are_text(tmp_path):
    path = write_desk(tmp_path / "desk")
    nasty = "</title><script>alert(1)</script> & it"
    path.write_text(path.read_text() + f'sweep: {{list: [{{name: "{nasty}"}}, {{name: other}}]}}\n')
    sweep = allocator.sweep(path, out=tmp_path / "runs", workers=1)
    drawn = page(sweep.run)
    assert "<script>alert" not in drawn
    assert nasty in " ".join(element.text for element in Reader(drawn).of("main"))
    assert "<script>alert" not in sweep._repr_html_()
