"""Main effects of a sweep: closed forms on grids, Ishigami's function on draws, and awkward tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_desk import Hedge, only_run, write_desk

from allocator.sweeps.sensitivity import sensitivities


def table(y, **keys):
    return pd.DataFrame({"status": "optimal", **keys, "total_usd": np.asarray(y, dtype=float)})


def by_key(cells, *keys):
    return {found.key: found for found in sensitivities(cells, keys)}


def test_a_linear_grid_is_its_coefficients():
    a, b = (v.ravel() for v in np.meshgrid([1.0, 2.0, 4.0], [10.0, 20.0], indexing="ij"))
    found = by_key(table(3 * a - 0.5 * b + 7, a=a, b=b), "a", "b")
    assert found["a"].slope == pytest.approx(3)
    assert found["b"].slope == pytest.approx(-0.5)
    assert found["a"].range_usd == pytest.approx(9)
    assert found["b"].range_usd == pytest.approx(5)
    assert (found["a"].best, found["a"].worst, found["b"].best) == ("1", "4", "20")
    parts = 9 * np.var([1, 2, 4]), 0.25 * np.var([10, 20])
    assert found["a"].share == pytest.approx(parts[0] / sum(parts))
    assert found["a"].share + found["b"].share == pytest.approx(1)
    assert [one.key for one in sensitivities(table(3 * a - 0.5 * b, a=a, b=b), ["b", "a"])] == ["a", "b"]


def test_an_interaction_belongs_to_no_single_key():
    a, b = (v.ravel() for v in np.meshgrid([-1.0, 1.0], [-1.0, 1.0], indexing="ij"))
    found = by_key(table(a * b, a=a, b=b), "a", "b")
    assert found["a"].share == pytest.approx(0, abs=1e-15)
    assert found["a"].slope == pytest.approx(0, abs=1e-15)
    mixed = by_key(table(a + a * b, a=a, b=b), "a", "b")
    assert mixed["a"].share == pytest.approx(0.5)


def test_words_switches_and_cells_that_leave_a_key_alone():
    cells = table(
        [1.0, 1.0, 5.0, 5.0],
        overlay=["calm", "calm", None, None],
        switch=[True, False, True, False],
        level=[1.0, np.nan, 3.0, np.nan],
    )
    found = by_key(cells, "overlay", "switch", "level")
    assert found["overlay"].share == pytest.approx(1)
    assert found["overlay"].slope is None
    assert (found["overlay"].best, found["overlay"].worst) == ("calm", "as in the file")
    assert found["switch"].slope is None
    assert found["switch"].share == pytest.approx(0)
    assert found["level"].slope == pytest.approx(2)
    assert found["level"].groups == 3


def test_ishigami_draws():
    # First-order indices known in closed form: Ishigami and Homma 1990, a = 7, b = 0.1.
    rng = np.random.default_rng(5)
    x = rng.uniform(-np.pi, np.pi, (20_000, 3))
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    found = by_key(table(y, a=x[:, 0], b=x[:, 1], c=x[:, 2]), "a", "b", "c")
    variance = 49 / 8 + 0.1 * np.pi**4 / 5 + 0.01 * np.pi**8 / 18 + 0.5
    first = 0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2 / variance, 49 / 8 / variance, 0.0
    # Groups of draws lose a little of what varies within each.
    assert [found[k].share for k in "abc"] == pytest.approx(first, abs=0.02)
    assert all(found[k].binned for k in "abc")
    assert found["c"].share < 0.005


def test_draws_of_no_effect_have_no_share_on_average():
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(60):
        found = by_key(table(rng.normal(size=40), a=rng.uniform(size=40), b=rng.uniform(size=40)), "a", "b")
        shares.append(found["a"].share)
    # Pearson's η² of 10 groups of 4 would be 9/39.
    assert np.mean(shares) < 0.12


def test_few_draws_of_many_keys_say_nothing_and_a_key_alone_says_all():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 4.0])
    assert by_key(table(a + b, a=a, b=b), "a", "b")["a"].share is None
    alone = by_key(table(a**2, a=a), "a")["a"]
    assert (alone.share, alone.binned) == (pytest.approx(1), False)


def test_keys_in_step_are_named_together():
    a = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    free = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    found = by_key(table(a, a=a, b=10 * a, free=free), "a", "b", "free")
    assert found["a"].with_keys == ("b",)
    assert found["b"].with_keys == ("a",)
    assert found["free"].with_keys == ()
    # Draws of two keys, each met twice, do not go in step.
    draws = np.tile([0.3, 0.1, 0.7, 0.5], 2), np.tile([4.0, 9.0, 1.0, 6.0], 2), np.repeat([0.0, 1.0], 4)
    drawn = by_key(table(draws[0], a=draws[0], b=draws[1], c=draws[2]), "a", "b", "c")
    assert drawn["a"].with_keys == drawn["b"].with_keys == ()


def test_tables_without_an_answer():
    assert sensitivities(pd.DataFrame({"status": ["infeasible"] * 2, "a": [1.0, 2.0]}), ["a"]) == []
    assert sensitivities(table([1.0, 2.0], a=[1.0, 1.0]), ["a"]) == []
    flat = by_key(table([2.0, 2.0], a=[1.0, 2.0]), "a")["a"]
    assert (flat.share, flat.slope, flat.range_usd) == (None, 0.0, 0.0)
    failed = table([1.0, 2.0, np.nan], a=[1.0, 2.0, 3.0])
    failed["status"] = ["optimal", "optimal", "failed"]
    assert by_key(failed, "a")["a"].groups == 2


BLOCK = """\
sweep:
  grid:
    limits.gross.max: [$2m, $4m, $9m]
    objective.risk_aversion_per_usd: [1.0e-6, 1.0e-5]
  list:
    - {name: whole}
    - {name: never, limits.no: {kind: net_delta, min: -$1, max: $1}, limits.gross.max: $1k}
"""
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
(QUERY,) = re.findall(r"^```sql\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    import allocator

    folder = tmp_path_factory.mktemp("swept")
    path = write_desk(folder / "desk")
    grid = BLOCK.split("  list:")[0]
    path.write_text(path.read_text() + grid)
    return allocator.sweep(path, out=folder / "runs", workers=1)


def test_the_result_says_what_moves_the_objective(swept):
    said = json.loads(swept.run.text("result.json"))["sensitivity"]
    assert {row["key"] for row in said} == {"limits.gross.max", "objective.risk_aversion_per_usd"}
    cells = swept.cells
    for row in said:
        means = cells.groupby(row["key"])["total_usd"].mean()
        assert row["range_usd"] == pytest.approx(means.max() - means.min(), abs=1e-5)
        assert row["share"] == pytest.approx(means.var(ddof=0) / cells["total_usd"].var(ddof=0), rel=1e-9)
        line = np.polyfit(cells[row["key"]], cells["total_usd"], 1)
        assert row["slope_usd_per_unit"] == pytest.approx(line[0], rel=1e-9)
    assert sum(row["share"] for row in said) <= 1 + 1e-12


def test_the_page_tells_extremes_sensitivities_limits_and_failures(tmp_path, hedge: Hedge):
    path = write_desk(tmp_path / "desk")
    path.write_text(
        path.read_text() + BLOCK.replace("limits.gross.max: [$2m, $4m, $9m]", "book.size: [$5m, $6m]")
    )
    done = hedge("sweep", path, "--out", tmp_path / "runs", "--workers", "1")
    assert done.code == 7
    for said in (
        "8 cells: 4 infeasible, 4 optimal",
        "cheapest",
        "What moves the objective",
        "objective.risk_aversion_per_usd",
        "Limits that bind",
        "Without an optimum",
        "no positions satisfy all limits",
        str(only_run(tmp_path / "runs").name),
    ):
        assert said in done.out.replace("\n", " ") or said in " ".join(done.out.split()), said


@pytest.mark.skipif(find_spec("duckdb") is None, reason="duckdb is not installed")
def test_the_query_of_the_readme(swept):
    shown = "to_json(orient='records', double_precision=15)"
    code = f"import duckdb; print(duckdb.sql('''{QUERY}''').df().{shown})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=swept.run.folder, capture_output=True, text=True, check=True
    )
    rows = json.loads(done.stdout)
    joined = swept.limits.merge(swept.cells, on="cell", suffixes=("", "_of_cell"))
    joined = joined[joined["volatility_hedged_usd"] < 8000]
    assert rows
    for row in rows:
        mine = joined[joined["name"] == row["name"]]
        assert row["cells"] == mine["cell"].nunique()
        assert row["price"] == pytest.approx(mine["shadow_price_usd"].median())
    assert {row["name"] for row in rows} == set(joined["name"])
