"""`hedge sweep`: every cell a row, also those that fail; stopped and started again it is the same table."""

from __future__ import annotations

import json
import re
import signal
import time

import pandas as pd
import pytest
from small_desk import Hedge, finish, only_run, spawn, write_desk

import allocator
from allocator import runs
from allocator.errors import HedgeError
from allocator.scenario.cells import load_cells
from allocator.sweeps import run as sweeping
from allocator.sweeps import store
from allocator.sweeps.plan import make_plan

BLOCK = """\
sweep:
  grid:
    limits.gross.max: [$9m, $2m, $6m]
    objective.risk_aversion_per_usd: [1.0e-6, 1.0e-5]
  list:
    - {name: whole}
    - {name: without dex, instruments.dex.no_trade: true}
"""


def write(folder, block=BLOCK):
    path = write_desk(folder / "desk")
    path.write_text(path.read_text() + block)
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    path = write(folder)
    return path, allocator.sweep(path, out=folder / "runs", workers=1)


def test_each_cell_is_what_allocate_says_of_its_scenario(swept):
    path, sweep = swept
    cells = load_cells(path)
    table = sweep.cells.set_index("cell")
    assert table.index.tolist() == list(range(12))
    for cell in cells.cells[::3]:
        plain = allocator.allocate(cells.scenario(cell))
        row = table.loc[cell.index]
        assert row["status"] == "optimal"
        assert row["name"] == cell.name
        assert row["total_usd"] == pytest.approx(plain.audit.objective_usd, abs=1e-6 * plain.audit.scale_usd)
        said = plain.result
        assert row["risk_usd"] == pytest.approx(said["objective"]["risk_usd"], rel=1e-5)
        mine = sweep.positions.query("cell == @cell.index")["target_usd"].to_numpy()
        book = plain.market.book_usd
        assert mine == pytest.approx([p["target_usd"] for p in said["positions"]], abs=1e-5 * book)


def test_swept_keys_are_columns_of_numbers_that_can_be_read(swept):
    _, sweep = swept
    cells = sweep.cells
    assert cells["limits.gross.max"].tolist()[:4] == [9e6] * 4
    assert set(cells["objective.risk_aversion_per_usd"]) == {1e-6, 1e-5}
    assert cells["instruments.dex.no_trade"].dtype == object or str(cells["instruments.dex.no_trade"].dtype)
    best = cells.groupby("limits.gross.max")["total_usd"].min()
    assert best[2e6] >= best[6e6] >= best[9e6] - 1e-6
    assert (cells["venues.okx.equity_usd"] > 0).all()
    tight = sweep.limits[sweep.limits["cell"].isin(cells[cells["limits.gross.max"] == 2e6]["cell"])]
    assert "limits.gross.max" in set(tight["name"])
    assert (sweep.limits["shadow_price_usd"] > 0).all()


def test_the_price_of_a_limit_is_the_slope_of_the_objective(tmp_path):
    path = write(tmp_path, "sweep: {grid: {limits.gross.max: [$1990k, $2m, $2010k]}}\n")
    sweep = allocator.sweep(path, out=tmp_path / "runs", workers=1)
    low, middle, high = sweep.cells["total_usd"]
    price = sweep.limits.query("cell == 1 and name == 'limits.gross.max'")["shadow_price_usd"].item()
    assert (middle - high) / 1e4 <= price * (1 + 1e-6) <= (low - middle) / 1e4 * (1 + 2e-6)


def test_failed_cells_are_rows_with_their_reason(tmp_path, hedge: Hedge):
    block = "sweep: {list: [{name: good}, {name: bad, limits.no: {kind: net_delta, min: -$1, max: $1}, limits.gross.max: $1k}]}\n"  # noqa: E501
    path = write(tmp_path, block)
    done = hedge("sweep", path, "--out", tmp_path / "runs", "--workers", "1", "--json")
    assert done.code == 7
    said = json.loads(done.out)
    assert said["by_status"] == {"infeasible": 1, "optimal": 1}
    folder = only_run(tmp_path / "runs")
    cells = pd.read_parquet(folder / "cells.parquet")
    assert cells["status"].tolist() == ["optimal", "infeasible"]
    assert "limits.no" in cells["reason"][1]
    assert pd.isna(cells["total_usd"][1])
    again = hedge("sweep", path, "--out", tmp_path / "runs", "--workers", "1", "--json")
    assert (again.code, again.out) == (7, done.out)
    page = hedge("sweep", path, "--out", tmp_path / "runs").out
    assert re.search(
        r"1\s+infeasible\s+bad\s+no positions\s+satisfy", page[page.index("Without an optimum") :]
    )


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path, swept, monkeypatch):
    path, whole = swept
    monkeypatch.setattr(sweeping, "CHUNK", 4)
    plan, computed = make_plan(path), []
    part = sweeping.Worker.part

    def stopping(self, indices):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(list(indices))
        return part(self, indices)

    monkeypatch.setattr(sweeping.Worker, "part", stopping)
    with pytest.raises(KeyboardInterrupt):
        sweeping.run_plan(plan, tmp_path, 1, lambda _: None)
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == []
    (left,) = tmp_path.iterdir()
    (left / ".partial-dead").mkdir()
    assert store.finished(left) == set(range(8))
    computed.clear()
    told = []
    done = sweeping.run_plan(plan, tmp_path, 1, told.append)
    assert computed == [[8, 9, 10, 11]]
    assert told == [8, 4]
    assert [p.name for p in tmp_path.iterdir()] == [plan.sweep_id]
    close(done, whole)


def close(one, other):
    """The same tables: positions to 1e-7 of the book."""
    assert one.cells["name"].tolist() == other.cells["name"].tolist()
    assert one.cells["total_usd"].to_numpy() == pytest.approx(other.cells["total_usd"].to_numpy(), rel=1e-6)
    x, y = one.positions, other.positions
    assert x[["cell", "venue", "symbol"]].equals(y[["cell", "venue", "symbol"]])
    assert x["target_usd"].to_numpy() == pytest.approx(y["target_usd"].to_numpy(), abs=1e-7 * 5e6)


def test_two_processes_give_the_same(tmp_path, swept, monkeypatch):
    path, whole = swept
    monkeypatch.setattr(sweeping, "CHUNK", 6)
    close(allocator.sweep(path, out=tmp_path, workers=2), whole)


@pytest.mark.long
def test_killed_at_any_moment(tmp_path, swept):
    path, whole = swept
    for moment in (2.0, 3.0, 3.5, 4.0):
        process = spawn("sweep", path, "--out", tmp_path, "--workers", "1", cwd=tmp_path)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        finish(process)
    done = allocator.sweep(path, out=tmp_path, workers=1)
    assert runs.find(tmp_path, done.run.folder.name) is not None
    close(done, whole)


def test_a_wrong_solver_or_scenario_is_said_before_anything_is_computed(tmp_path, hedge: Hedge):
    path = write(tmp_path, "sweep: {grid: {limits.gross.most: [$1m]}}\n")
    done = hedge("sweep", path, "--out", tmp_path / "runs")
    assert done.code == 2
    assert "limits.gross.most: unknown key" in done.err
    assert not (tmp_path / "runs").exists()
    assert hedge("sweep", write(tmp_path / "b"), "--workers", "0").code == 2
    with pytest.raises(ValueError, match="PIQP"):
        make_plan(write(tmp_path / "c"), solver="OSQP")


def test_missing_tables_of_any_cell_are_said_first(tmp_path):
    path = write(tmp_path, "sweep: {grid: {snapshot.folder: [tables, nowhere]}}\n")
    with pytest.raises(HedgeError, match="nowhere"):
        make_plan(path)


def test_a_loaded_scenario_has_no_cells(tmp_path):
    loaded = allocator.load(write_desk(tmp_path / "desk"))
    with pytest.raises(TypeError, match="name the file"):
        allocator.sweep(loaded, out=tmp_path / "runs")


@pytest.mark.parametrize("limits", ["", "  vol: {kind: volatility, max: $200k}\n"])
def test_a_part_is_the_same_whatever_was_computed_before(tmp_path, limits):
    """To the byte: a solver scales by the first numbers it meets, and those are the part's own."""
    path = write_desk(tmp_path / "desk")
    block = "sweep: {random: {draws: 24, seed: 3, keys: {limits.gross.max: {from: $2m, to: $9m}, "
    block += "objective.risk_aversion_per_usd: {from: 1.0e-6, to: 1.0e-4, spacing: log}}}}\n"
    path.write_text(path.read_text().replace("limits:\n", "limits:\n" + limits, 1) + block)
    plan = make_plan(path)
    chunks = [list(range(k, k + 8)) for k in (0, 8, 16)]
    in_order, backwards = sweeping.Worker(plan), sweeping.Worker(plan)
    one = {chunk[0]: in_order.part(chunk).tables for chunk in chunks}
    other = {chunk[0]: backwards.part(chunk).tables for chunk in chunks[::-1]}
    assert one == other
