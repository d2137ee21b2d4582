"""Run folders: same inputs give the same bytes; found again, refused when altered; 3 and 5 have no orders."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_desk import SCENARIO, TABLES, Hedge, finish, only_run, read_csv, spawn, swap, write_desk

from allocator import runs
from allocator.errors import SolverFailed
from allocator.program import solve as solving

CHANGING = {"manifest.json", "log.jsonl"}
FINISHED = {"manifest.json", "scenario.resolved.yaml", "result.json", "log.jsonl"}
TABLED = {"positions.csv", "orders.csv", "schedule.csv", "transfers.csv"}


def fixed_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name not in CHANGING}


def allocated(hedge: Hedge, scenario: Path, out: Path, *options: str) -> Path:
    outcome = hedge("allocate", scenario, "--out", out, *options)
    assert outcome.code == 0, outcome.err
    return only_run(out)


@pytest.fixture
def desk(tmp_path) -> Path:
    return write_desk(tmp_path / "desk")


def test_same_inputs_same_id_same_bytes(tmp_path, desk, hedge: Hedge, monkeypatch):
    first = allocated(hedge, desk, tmp_path / "first")
    assert {path.name for path in first.iterdir()} == FINISHED | TABLED
    moved = tmp_path / "far" / "away"
    shutil.copytree(desk.parent, moved)
    monkeypatch.chdir(moved)
    for name, scenario, options in (
        ("again", desk, ()),
        ("moved", moved / "small.yaml", ()),
        ("here", Path("small.yaml"), ()),
        ("named", desk, ("--snapshot", str(moved / "tables"))),
    ):
        again = allocated(hedge, scenario, tmp_path / name, *options)
        assert again.name == first.name
        assert fixed_bytes(again) == fixed_bytes(first)
        for text in ((again / "manifest.json").read_text(), (again / "log.jsonl").read_text()):
            assert str(tmp_path) not in text


def test_parquet_is_the_same_input_as_csv(tmp_path, desk, hedge: Hedge):
    first = allocated(hedge, desk, tmp_path / "first")
    texts = {"instruments": ["contract_size", "lot_contracts", "tick", "min_contracts", "min_notional_usd"]}
    for path in sorted((desk.parent / "tables").glob("*.csv")):
        frame = pd.read_csv(path, dtype=dict.fromkeys(texts.get(path.stem, []), "str"))
        for name in frame.columns.intersection(["time", "settlement_time", "expected_time"]):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        frame.to_parquet(path.with_suffix(".parquet"))
        path.unlink()
    again = allocated(hedge, desk, tmp_path / "again")
    assert again.name == first.name
    assert fixed_bytes(again) == fixed_bytes(first)


def test_what_is_shown_is_the_same_scenario(tmp_path, desk, hedge: Hedge):
    """`hedge show` writes a scenario file, and it is the one that was shown, overlays and --set included."""
    options = ("--overlay", "calm", "--set", "limits.gross.max=$8m")
    first = allocated(hedge, desk, tmp_path / "first", *options)
    shown = hedge("show", desk, *options)
    assert shown.code == 0
    assert (first / "scenario.resolved.yaml").read_text() == shown.out
    other = desk.parent / "shown.yaml"
    other.write_text(shown.out)
    assert allocated(hedge, other, tmp_path / "again").name == first.name
    assert allocated(hedge, desk, tmp_path / "other").name != first.name


@pytest.mark.parametrize(
    "change",
    [
        lambda text: f"# A remark.\n\n{text}",
        lambda text: swap(text, ("{kind: gross, max: $9m}", "{max: $9000k, kind: gross}")),
    ],
)
def test_layout_is_no_input(tmp_path, desk, hedge: Hedge, change):
    first = allocated(hedge, desk, tmp_path / "runs")
    desk.write_text(change(SCENARIO))
    assert allocated(hedge, desk, tmp_path / "runs") == first


@pytest.mark.parametrize("table", ["holdings", "prices", "books"])
def test_every_cell_is_an_input(tmp_path, desk, hedge: Hedge, table, monkeypatch):
    first = allocated(hedge, desk, tmp_path / "first")
    old, new = {
        "holdings": (",300,1,", ",301,1,"),
        "prices": (",0.9998", ",0.9997"),
        "books": (",5000\n", ",5001\n"),
    }[table]
    (desk.parent / "tables" / f"{table}.csv").write_text(TABLES[table].replace(old, new, 1))
    assert allocated(hedge, desk, tmp_path / "second").name != first.name


def test_a_new_version_is_a_new_run(tmp_path, desk, hedge: Hedge, monkeypatch):
    first = allocated(hedge, desk, tmp_path / "runs")
    monkeypatch.setattr(runs, "version", lambda package: "99.0")
    assert hedge("allocate", desk, "--out", tmp_path / "runs").code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if path != first) != []


def test_a_finished_run_is_reused(tmp_path, desk, hedge: Hedge, monkeypatch):
    first = allocated(hedge, desk, tmp_path / "runs")
    said = hedge("allocate", desk, "--out", tmp_path / "runs")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first.iterdir()}
    monkeypatch.setattr(solving, "solve", None)  # nothing is solved
    again = hedge("allocate", desk, "--out", tmp_path / "runs", "-v")
    assert (again.code, again.out) == (0, said.out)
    assert "reused" in again.err
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in first.iterdir()} == before


def _manifest(run: Path, key: str, value: object) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, key: value}))


ALTERED = {
    "orders.csv was changed": lambda run: (run / "orders.csv").write_text("seq\n"),
    "log.jsonl was changed": lambda run: (run / "log.jsonl").write_text(""),
    "transfers.csv is missing": lambda run: (run / "transfers.csv").unlink(),
    "notes.txt is not part of the run": lambda run: (run / "notes.txt").write_text("mine"),
    "plots is not part of the run": lambda run: (run / "plots").mkdir(),
    "its manifest.json cannot be read": lambda run: (run / "manifest.json").write_text("{"),
    "manifest.json cannot be read ": lambda run: (run / "manifest.json").unlink(),
    "manifest.json was changed": lambda run: _manifest(run, "exit_code", 3),
    "manifest.json cannot be read": lambda run: (run / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("said", ALTERED)
def test_an_altered_run_is_refused(tmp_path, desk, hedge: Hedge, said):
    run = allocated(hedge, desk, tmp_path / "runs")
    ALTERED[said](run)
    before = sorted(tmp_path.rglob("*"))
    outcome = hedge("allocate", desk, "--out", tmp_path / "runs", "--json")
    assert (outcome.code, outcome.json["status"]) == (4, "bad_data")
    assert said in outcome.err
    assert run.name in outcome.json["errors"][0]["source"]
    assert sorted(tmp_path.rglob("*")) == before


def test_another_run_under_its_name_is_refused(tmp_path, desk, hedge: Hedge):
    run = allocated(hedge, desk, tmp_path / "runs")
    other = allocated(hedge, desk, tmp_path / "other", "--overlay", "calm")
    shutil.rmtree(run)
    shutil.move(other, run)
    outcome = hedge("allocate", desk, "--out", tmp_path / "runs")
    assert outcome.code == 4
    assert f"it holds run {other.name}" in outcome.err


def test_infeasible_is_a_run_without_orders(tmp_path, hedge: Hedge):
    text = swap(
        SCENARIO, ("gross, max: $9m}", "gross, max: $1m}\n  full: {kind: hedge_ratio, min: 99%, max: 101%}")
    )
    desk = write_desk(tmp_path / "desk", text)
    outcome = hedge("allocate", desk, "--out", tmp_path / "runs", "--json")
    run = only_run(tmp_path / "runs")
    assert outcome.code == 3
    assert {path.name for path in run.iterdir()} == FINISHED
    assert outcome.out == (run / "result.json").read_text()
    assert outcome.json["status"] == "infeasible"
    assert outcome.json["run_id"] == run.name
    conflict = {member["name"]: member["source"] for member in outcome.json["conflict"]}
    assert conflict["limits.gross.max"] == "small.yaml:32"
    assert conflict["limits.full.min"] == "small.yaml:33"
    again = hedge("allocate", desk, "--out", tmp_path / "runs")
    assert again.code == 3
    assert "No orders were written" in again.out
    assert "limits.gross.max" in again.out


@pytest.mark.parametrize("kind", ["wrong", "not optimal", "gave up"])
def test_what_the_audit_refuses_yields_no_orders(tmp_path, desk, hedge: Hedge, monkeypatch, kind):
    """A solver that lies, or stops early, or fails: exit 5, and the reason stands in the run."""
    right = solving.read

    def lying(program, market, found):
        solution = right(program, market, found)
        factor = 100.0 if kind == "wrong" else 0.999
        decision = solution.decision.__class__(
            solution.decision.positions * factor, solution.decision.transfers
        )
        return solution.__class__(**{**vars(solution), "decision": decision})

    def failing(program, conflicts):
        raise SolverFailed("CLARABEL ended with status user_limit")

    # Whatever way it is asked along, it lies.
    name, lie = ("solve", failing) if kind == "gave up" else ("read", lying)
    monkeypatch.setattr(solving, name, lie)
    outcome = hedge("allocate", desk, "--out", tmp_path / "runs", "--json")
    run = only_run(tmp_path / "runs")
    assert outcome.code == 5
    assert outcome.json["status"] == "failed"
    assert {path.name for path in run.iterdir()} == FINISHED
    (error,) = outcome.json["errors"]
    assert {"wrong": "breaches", "not optimal": "may miss the optimum", "gave up": "user_limit"}[
        kind
    ] in error["message"]
    assert error["message"] in outcome.err


def test_a_bug_leaves_nothing(tmp_path, desk, hedge: Hedge, monkeypatch):
    def broken(program, conflicts):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(solving, "solve", broken)
    with pytest.raises(ZeroDivisionError):
        hedge("allocate", desk, "--out", tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path, desk, hedge: Hedge, monkeypatch):
    written = []

    def full(path, text):
        written.append(path.write_text(text))
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "_write_durably", full)
    outcome = hedge("allocate", desk, "--out", tmp_path / "runs", "--json")
    assert (outcome.code, outcome.json["status"]) == (2, "invalid")
    assert "No space left" in outcome.err
    assert list((tmp_path / "runs").iterdir()) == []


def test_old_leftovers_are_cleared_and_young_ones_are_not(tmp_path, desk, hedge: Hedge):
    out = tmp_path / "runs"
    for name in (".partial-old", ".partial-young"):
        (out / name).mkdir(parents=True)
        (out / name / "result.json").write_text("{}")
    os.utime(out / ".partial-old", (0, 0))
    assert hedge("allocate", desk, "--out", out).code == 0
    left = {path.name for path in out.iterdir() if path.name.startswith(".")}
    assert left == {".partial-young"}


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.long)])
def test_many_at_once(tmp_path, desk, count):
    """Processes that allocate the same at the same time all succeed, and there is one folder."""
    started = [
        spawn("allocate", desk, "--out", tmp_path / "runs", "--json", cwd=tmp_path) for _ in range(count)
    ]
    outcomes = [finish(process) for process in started]
    assert [outcome.code for outcome in outcomes] == [0] * count, [outcome.err for outcome in outcomes]
    assert len({outcome.out for outcome in outcomes}) == 1
    run = only_run(tmp_path / "runs")
    assert runs.find(tmp_path / "runs", run.name) is not None
    assert len(read_csv(run / "orders.csv")) == outcomes[0].json["orders"]
