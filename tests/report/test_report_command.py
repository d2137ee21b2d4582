"""`hedge report`: the page lies beside the run, whole or not at all, and never in its way."""

from __future__ import annotations

from small_desk import Hedge, only_run, write_desk


def test_the_page_lies_beside_the_run(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("allocate", desk, "--out", out, "--no-report").code == 0
    run = only_run(out)
    assert [path.name for path in out.iterdir()] == [run.name]
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    said = hedge("report", run)
    assert (said.code, said.out) == (0, f"{out / run.name}.html\n")
    first = (out / f"{run.name}.html").read_bytes()
    assert hedge("report", run, run, "--json").json["reports"] == 2 * [f"{out / run.name}.html"]
    assert hedge("report", run, "--out", tmp_path / "mail.html").code == 0
    assert (tmp_path / "mail.html").read_bytes() == first
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert sorted(path.name for path in out.iterdir()) == [run.name, f"{run.name}.html"]
    (out / f"{run.name}.html").unlink()
    assert hedge("allocate", desk, "--out", out).code == 0  # found again, and its page made
    assert (out / f"{run.name}.html").read_bytes() == first


def test_bad_reports_are_refused(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("allocate", desk, "--out", out, "--no-report").code == 0
    run = only_run(out)
    for none in (tmp_path / "nothing", tmp_path, desk):
        outcome = hedge("report", none)
        assert outcome.code == 4
        assert outcome.err.startswith(f"{none}: is no finished run")
    outcome = hedge("report", run, run, "--out", tmp_path / "one.html")
    assert outcome.code == 2
    assert "one file" in outcome.err
    outcome = hedge("report", run, "--out", tmp_path / "no" / "such" / "folder.html")
    assert outcome.code == 2
    assert "a file that can be written" in outcome.err
    (run / "orders.csv").write_text("forged")
    outcome = hedge("report", run, "--json")
    assert (outcome.code, outcome.json["status"]) == (4, "bad_data")
    assert [path.name for path in out.iterdir()] == [run.name]


def test_a_page_that_cannot_be_written_leaves_the_run(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("allocate", desk, "--out", out, "--no-report").code == 0
    run = only_run(out)
    (out / f"{run.name}.html").mkdir()
    outcome = hedge("allocate", desk, "--out", out)
    assert outcome.code == 0
    assert "no report was written" in outcome.err


def test_fills_beside_a_run_are_neither_forged_nor_a_run(tmp_path, hedge: Hedge):
    desk, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    assert hedge("allocate", desk, "--out", out, "--no-report").code == 0
    run, fills = only_run(out), tmp_path / "fills.csv"
    fills.write_text("time,venue,account,symbol,client_order_id,fill_id,side,contracts,price,fee_usd\n")
    assert hedge("orders", "reconcile", run, fills).code == 0
    (beside,) = out.glob("*-fills-*")
    for command, said in (("report", "has no page"), ("explain", "nothing to explain")):
        outcome = hedge(command, beside)
        assert outcome.code == 4
        assert outcome.err.startswith(f"{beside}: ")
        assert said in outcome.err
    # What was changed is still told, by whatever name the folder goes.
    (beside / "book.csv").write_text("forged")
    assert "book.csv was changed" in hedge("explain", beside).err
    run.rename(run.with_name("renamed"))
    assert f"it holds run {run.name}" in hedge("report", run.with_name("renamed")).err
