"""Fills against orders: the book, what is left, nothing ordered twice, and errors by file and line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_desk import Hedge, only_run, read_csv, write_desk

from allocator import DataError, ScenarioError, reconcile, runs
from allocator.orders.client_ids import venue_client_id
from allocator.orders.fills import Fill, read_fills
from allocator.orders.order_list import COLUMNS, client_order_id
from allocator.orders.reconcile import Reconciliation, Row, Sent, reconcile_fills
from models.contracts import plain

TIME = datetime(2026, 11, 20, tzinfo=UTC)
HEAD = "time,venue,account,symbol,client_order_id,fill_id,side,contracts,price"


def order(seq: int, venue: str, before: Decimal, after: Decimal) -> Row:
    side, size = ("buy" if after > before else "sell"), abs(after - before)
    row = dict.fromkeys(COLUMNS, "")
    return row | {
        "run_id": "run", "seq": str(seq), "venue": venue, "account": "main", "symbol": "BTC/USDT:USDT",
        "side": side, "type": "limit", "contracts": plain(size), "coins": plain(size), "contract_size": "1",
        "limit_price": "100", "time_in_force": "gtc", "post_only": "false",
        "reduce_only": "true" if abs(after) < abs(before) else "false",
        "client_order_id": client_order_id("run", seq, venue, side), "notional_usd": plain(100 * size),
        "expected_fee_usd": "1.00", "expected_slippage_usd": "1.00", "funding_to_next_settlement_usd": "1.00",
        "position_before_contracts": plain(before), "position_target_contracts": plain(after),
    }  # fmt: skip


def orders_of(venue: str, held: Decimal, target: Decimal, first: int) -> list[Row]:
    if held == target:
        return []
    if held * target < 0:
        return [order(first, venue, held, Decimal(0)), order(first + 1, venue, Decimal(0), target)]
    return [order(first, venue, held, target)]


def unit(venue: str, held: Decimal, lot: Decimal, least: Decimal | None = None) -> dict[str, object]:
    return {
        "venue": venue, "account": "main", "symbol": "BTC/USDT:USDT", "asset": "BTC", "kind": "linear",
        "contract_size": "1", "lot_contracts": plain(lot), "tick": "0.1",
        "min_contracts": plain(least or lot),
        "min_notional_usd": "0", "held_contracts": plain(held), "usd_per_contract": 100.0,
    }  # fmt: skip


def fill(row: Row, contracts: Decimal, name: str, closed: bool = False, line: int = 2) -> Fill:
    return Fill(
        f"fills.csv:{line}", TIME, row["venue"], row["account"], row["symbol"], row["client_order_id"], name,
        row["side"], contracts, Decimal(100), Decimal(0), closed,
    )  # fmt: skip


def sent(units: Sequence[dict[str, object]], orders: Sequence[Row], follow_ups: Sequence[Row] = ()) -> Sent:
    return Sent("run", tuple(orders), tuple(follow_ups), tuple(units), {"BTC": 50.0}, {})


def one(held: int, target: int) -> tuple[Sent, list[Row]]:
    rows = orders_of("okx", Decimal(held), Decimal(target), 1)
    return sent([unit("okx", Decimal(held), Decimal(1))], rows), rows


LOTS = st.integers(-40, 40)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_partial_fills_end_at_the_target_and_nothing_is_ordered_twice(data):
    """A venue that fills what it likes, cancels the rest, and is sent each follow-up once."""
    lot = data.draw(st.sampled_from([Decimal("0.001"), Decimal("0.5"), Decimal(1), Decimal(25)]))
    ends = data.draw(st.lists(st.tuples(LOTS, LOTS), min_size=1, max_size=3))
    units = [unit(f"v{k}", held * lot, lot) for k, (held, _) in enumerate(ends)]
    orders = [o for k, (h, t) in enumerate(ends) for o in orders_of(f"v{k}", h * lot, t * lot, 10 * k + 1)]
    live, fills, follow_ups, seen = list(orders), [], [], set()
    most = 2 + sum(abs(t - h) for h, t in ends)
    for _ in range(most):
        for row in live:
            assert row["client_order_id"] not in seen
            seen.add(row["client_order_id"])
            size = int(Decimal(row["contracts"]) / lot)
            done = data.draw(st.integers(0, size))
            first = data.draw(st.integers(0, done))
            for part in (first, done - first):
                if part:
                    fills.append(fill(row, part * lot, f"f{len(fills)}"))
        if live and not any(f.client_order_id == row["client_order_id"] for f in fills for row in live):
            row = live[0]  # a venue that never fills anything never ends: one lot at least
            fills.append(fill(row, lot, f"f{len(fills)}"))
        found = reconcile_fills(sent(units, orders, follow_ups), fills, all_closed=True)
        assert not found.errors
        check_book(found, units, ends, lot, fills)
        again = reconcile_fills(sent(units, orders, follow_ups), fills, all_closed=True)
        assert again == found
        live = list(found.follow_up)
        follow_ups += live
        if found.status == "complete":
            break
    assert found.status == "complete"
    assert [Decimal(row["now_contracts"]) for row in found.book] == [t * lot for _, t in ends]
    assert not found.follow_up
    # What was filled in all is what was ordered first: no contract twice.
    for k, (held, target) in enumerate(ends):
        moved = sum((f.signed for f in fills if f.venue == f"v{k}"), Decimal(0))
        assert moved == (target - held) * lot


def check_book(found: Reconciliation, units, ends, lot, fills) -> None:
    """Books add up, and the follow-ups cover exactly what is left."""
    for k, (row, (held, target)) in enumerate(zip(found.book, ends, strict=True)):
        done = sum((f.signed for f in fills if f.venue == f"v{k}"), Decimal(0))
        assert Decimal(row["now_contracts"]) == held * lot + done
        assert Decimal(row["left_contracts"]) == target * lot - held * lot - done
        follow = [o for o in found.follow_up if o["venue"] == row["venue"]]
        signed = [Decimal(o["contracts"]) * (1 if o["side"] == "buy" else -1) for o in follow]
        assert sum(signed, Decimal(0)) == Decimal(row["left_contracts"])
        for o in follow:
            before, after = Decimal(o["position_before_contracts"]), Decimal(o["position_target_contracts"])
            assert before * after >= 0
            assert (o["reduce_only"] == "true") == (abs(after) < abs(before))
            assert Decimal(o["contracts"]) % lot == 0
    left = sum(Decimal(row["left_contracts"]) for row in found.book) * 100
    assert Decimal(found.naked[0]["naked_delta_usd"]) == -left
    assert [int(o["seq"]) for o in found.follow_up] == list(range(1, len(found.follow_up) + 1))


def test_a_missing_leg_in_dollars():
    """Long 30 on one venue and short 30 on the other; the short leg stays out: $3,000 naked."""
    units = [unit("okx", Decimal(0), Decimal(1)), unit("bybit", Decimal(0), Decimal(1))]
    rows = [order(1, "okx", Decimal(0), Decimal(30)), order(2, "bybit", Decimal(0), Decimal(-30))]
    found = reconcile_fills(sent(units, rows), [fill(rows[0], Decimal(30), "a")])
    assert found.naked == (
        {
            "asset": "BTC",
            "net_delta_target_usd": "50.00",
            "net_delta_now_usd": "3050.00",
            "naked_delta_usd": "3000.00",
        },
    )
    assert [row["left_contracts"] for row in found.left] == ["0", "30"]
    assert [row["ended"] for row in found.left] == ["true", "false"]


def test_an_order_that_may_be_live_has_no_follow_up():
    where, (row,) = one(0, 10)
    part = fill(row, Decimal(4), "a")
    found = reconcile_fills(where, [part])
    assert not found.follow_up
    assert row["client_order_id"] in found.waiting[0]["reason"]
    told = reconcile_fills(where, [part, fill(row, Decimal(0), "", closed=True)])
    (follow,) = told.follow_up
    assert (follow["contracts"], follow["notional_usd"], follow["replaces"]) == (
        "6",
        "600.00",
        row["client_order_id"],
    )
    assert reconcile_fills(where, [part], all_closed=True).follow_up == told.follow_up
    # The follow-up in turn must have ended before there is another.
    later = Sent(**{**vars(where), "follow_ups": told.follow_up})
    more = [part, fill(row, Decimal(0), "", closed=True), fill(follow, Decimal(1), "b")]
    assert follow["client_order_id"] in reconcile_fills(later, more).waiting[0]["reason"]
    (third,) = reconcile_fills(later, [*more, fill(follow, Decimal(0), "", closed=True)]).follow_up
    assert third["contracts"] == "5"
    assert len({row["client_order_id"], follow["client_order_id"], third["client_order_id"]}) == 3


def test_a_cancelled_follow_up_is_ordered_again_under_another_id():
    where, (row,) = one(0, 10)
    (first,) = reconcile_fills(where, [], all_closed=True).follow_up
    later = Sent(**{**vars(where), "follow_ups": (first,)})
    (second,) = reconcile_fills(later, [fill(first, Decimal(0), "", closed=True),
                                        fill(row, Decimal(0), "", closed=True)]).follow_up  # fmt: skip
    assert second["contracts"] == "10"
    assert second["client_order_id"] not in (row["client_order_id"], first["client_order_id"])


def test_what_is_below_the_minimum_is_told_not_ordered():
    rows = [order(1, "okx", Decimal(0), Decimal(10))]
    where = sent([unit("okx", Decimal(0), Decimal(1), Decimal(5))], rows)
    found = reconcile_fills(where, [fill(rows[0], Decimal(8), "a")], all_closed=True)
    assert not found.follow_up
    assert "minimum of 5 contracts" in found.waiting[0]["reason"]
    assert found.waiting[0]["left_usd"] == "200.00"
    closing = [order(1, "okx", Decimal(10), Decimal(0))]
    where = sent([unit("okx", Decimal(10), Decimal(1), Decimal(5))], closing)
    (row,) = reconcile_fills(where, [fill(closing[0], Decimal(8), "a")], all_closed=True).follow_up
    assert (row["contracts"], row["reduce_only"]) == ("2", "true")


def test_what_cannot_be_is_an_error_with_its_line_and_stops_all_follow_ups():
    where, (row,) = one(0, 10)
    stranger = order(9, "okx", Decimal(0), Decimal(1))
    wrong_side = {**row, "side": "sell"}
    wrong_venue = {**row, "venue": "bybit"}
    for bad, words in (
        ([fill(row, Decimal(8), "a"), fill(row, Decimal(3), "b", line=7)], "over-filled from here, by 1"),
        ([fill(stranger, Decimal(1), "a", line=7)], "is not of run run"),
        ([fill(wrong_side, Decimal(1), "a", line=7)], "is to buy, the fill is a sell"),
        ([fill(wrong_venue, Decimal(1), "a", line=7)], "the fill is of bybit"),
        ([fill(row, Decimal("0.5"), "a", line=7)], "not whole lots"),
    ):
        found = reconcile_fills(where, bad, all_closed=True)
        (error,) = found.errors
        assert error.source == "fills.csv:7"
        assert words in error.message
        assert (found.status, found.follow_up) == ("refused", ())
    # What was really traded counts in the book; what belongs to no order does not.
    over = reconcile_fills(where, [fill(row, Decimal(11), "a")])
    assert over.book[0]["now_contracts"] == "11"
    assert reconcile_fills(where, [fill(stranger, Decimal(1), "a")]).book[0]["now_contracts"] == "0"


def test_fills_known_from_before_must_be_given_again():
    where, (row,) = one(0, 10)
    where = Sent(**{**vars(where), "known": {("okx", "main", "a"): Decimal(4)}})
    assert not reconcile_fills(where, [fill(row, Decimal(4), "a")]).errors
    for given_now in ([], [fill(row, Decimal(3), "a")]):
        (error,) = reconcile_fills(where, given_now).errors
        assert "known from before" in error.message


@pytest.mark.parametrize("exchange", ["okx", "hyperliquid", "dydx"])
def test_ids_come_back_in_the_form_the_venue_took(exchange):
    rows = [order(1, exchange, Decimal(0), Decimal(10))]
    taken = {**rows[0], "client_order_id": venue_client_id(exchange, rows[0]["client_order_id"])}
    found = reconcile_fills(
        sent([unit(exchange, Decimal(0), Decimal(1))], rows), [fill(taken, Decimal(10), "a")]
    )
    assert (found.status, found.errors) == ("complete", ())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("2026-11-20T01:00:00,okx,main,S,id,f,buy,1,100", "no zone"),
        ("soon,okx,main,S,id,f,buy,1,100", "ISO-8601"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,BUY,1,100", "neither buy nor sell"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,-1,100", "the direction in `side`"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,nan,100", "finite"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,1e999999999,100", "plain number"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,1,0", "price"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,0,100", "order_closed"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,,buy,1,100", "fill_id"),
        ("2026-11-20T01:00:00Z,okx,main,S,id,f,buy,1", "cells"),
    ],
)
def test_rows_that_cannot_be_read(row, words):
    with pytest.raises(DataError) as error:
        read_fills(f"{HEAD}\n2026-11-20T01:00:00Z,okx,main,S,id,g,buy,1,100\n{row}\n", "fills.csv")
    (problem,) = error.value.problems
    assert problem.source == "fills.csv:3"
    assert words in problem.message


def test_files_that_cannot_be_read():
    with pytest.raises(DataError, match="`price` is missing"):
        read_fills(HEAD.removesuffix(",price"), "f.csv")
    with pytest.raises(DataError, match="unknown column `cost`"):
        read_fills(f"{HEAD},cost", "f.csv")
    twice = "2026-11-20T01:00:00Z,okx,main,S,id,g,buy,1,100\n"
    with pytest.raises(DataError, match=r"f.csv:3: fill g of okx main is in f.csv:2 already"):
        read_fills(f"{HEAD}\n{twice}{twice}", "f.csv")


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def run(tmp_path, hedge: Hedge) -> Path:
    path = write_desk(tmp_path / "desk")
    assert hedge("allocate", path, "--no-report", "--out", tmp_path / "runs").code == 0
    return only_run(tmp_path / "runs")


def fills_file(folder: Path, rows: Sequence[dict[str, str]], shares: Sequence[str]) -> Path:
    """A fill of some contracts for each order, or none."""
    lines = [HEAD]
    for k, (row, contracts) in enumerate(zip(rows, shares, strict=True)):
        if contracts:
            names = (row["venue"], row["account"], row["symbol"], row["client_order_id"])
            lines.append(",".join(("2026-11-20T01:00:00Z", *names, f"f{k}", row["side"], contracts, "100")))
    path = folder / "fills.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command_writes_its_own_folder_once(tmp_path, hedge: Hedge, run):
    orders = read_csv(run / "orders.csv")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    path = fills_file(tmp_path, orders, [*(row["contracts"] for row in orders[:-1]), ""])
    outcome = hedge("orders", "reconcile", run, path, "--closed", "--json")
    assert outcome.code == 0
    report = outcome.json
    assert (report["status"], report["run_id"], report["follow_up"]) == ("partial", run.name, 1)
    (beside,) = run.parent.glob(f"{run.name}-fills-*")
    assert {p.name for p in beside.iterdir()} == {
        "manifest.json", "reconciliation.json", "book.csv", "left.csv", "orders.csv", "fills.csv",
    }  # fmt: skip
    (follow,) = read_csv(beside / "orders.csv")
    last = orders[-1]
    same = (
        "venue",
        "symbol",
        "side",
        "contracts",
        "coins",
        "limit_price",
        "notional_usd",
        "expected_fee_usd",
    )
    assert [follow[name] for name in same] == [last[name] for name in same]
    assert follow["client_order_id"] != last["client_order_id"]
    naked = {row["asset"]: float(row["naked_delta_usd"]) for row in report["naked_delta"]}
    signed = float(last["notional_usd"]) * (1 if last["side"] == "buy" else -1)
    asset = last["symbol"].partition("/")[0]
    assert naked[asset] == pytest.approx(-signed, abs=0.01)
    assert all(usd == 0 for other, usd in naked.items() if other != asset)
    # Again: found, not written; the run itself is as it was; the library says the same.
    kept = {p.name: p.read_bytes() for p in beside.iterdir()}
    assert hedge("orders", "reconcile", run, path, "--closed", "--json").out == outcome.out
    assert {p.name: p.read_bytes() for p in beside.iterdir()} == kept
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before
    page = hedge("orders", "reconcile", run, path, "--closed")
    assert "Follow-up orders" in page.out
    # The follow-up may go out, the run's own orders may not any more.
    assert hedge("orders", "export", beside, "--format", "ccxt").code == 0
    assert hedge("orders", "export", run, "--format", "ccxt").code == 6
    assert hedge("allocate", tmp_path / "desk" / "small.yaml", "--out", run.parent).code == 6


def test_rounds_on_disk_until_the_target(tmp_path, hedge: Hedge, run):
    orders, lines, told = read_csv(run / "orders.csv"), [HEAD], set()
    units = {
        (u["venue"], u["symbol"]): u for u in json.loads((run / "result.json").read_text())["instruments"]
    }
    live, rounds = orders, 0
    while live:
        rounds += 1
        for row in live:
            assert row["client_order_id"] not in told
            told.add(row["client_order_id"])
            lot = Decimal(units[row["venue"], row["symbol"]]["lot_contracts"])
            half = (Decimal(row["contracts"]) / lot / 2).to_integral_value() * lot
            size = half if rounds < 4 and half > 100 * lot else Decimal(row["contracts"])
            names = (row["venue"], row["account"], row["symbol"], row["client_order_id"])
            lines.append(
                ",".join(("2026-11-20T01:00:00Z", *names, f"f{len(lines)}", row["side"], str(size), "99"))
            )
        (tmp_path / "fills.csv").write_text("\n".join(lines) + "\n")
        outcome = hedge("orders", "reconcile", run, tmp_path / "fills.csv", "--closed", "--json")
        assert outcome.code == 0, outcome.out
        newest = max(run.parent.glob(f"{run.name}-fills-*"), key=lambda p: p.stat().st_mtime_ns)
        live = read_csv(newest / "orders.csv")
    assert outcome.json["status"] == "complete"
    assert rounds == 4
    result = json.loads((run / "result.json").read_text())
    targets = [row["target_contracts"] for row in result["positions"]]
    assert [float(row["now_contracts"]) for row in outcome.json["book"]] == pytest.approx(targets, rel=1e-12)


def test_errors_withhold_the_follow_up_with_exit_code_6(tmp_path, hedge: Hedge, run):
    orders = read_csv(run / "orders.csv")
    path = fills_file(tmp_path, orders, [orders[0]["contracts"] + "0", *[""] * (len(orders) - 1)])
    path.write_text(path.read_text() + "2026-11-20T01:00:00Z,okx,main,BTC/USDT:USDT,nobody,x,buy,1,100\n")
    outcome = hedge("orders", "reconcile", run, path, "--closed", "--json")
    assert outcome.code == 6
    assert outcome.json["errors"][0]["source"] == "fills.csv:3"
    (beside,) = run.parent.glob(f"{run.name}-fills-*")
    assert not (beside / "orders.csv").exists()
    assert (beside / "book.csv").exists()
    assert hedge("orders", "reconcile", run, path, "--closed", "--json").code == 6


def test_bad_input(tmp_path, hedge: Hedge, run):
    (tmp_path / "empty.csv").write_text("")
    assert hedge("orders", "reconcile", run, tmp_path / "empty.csv").code == 4
    assert hedge("orders", "reconcile", run, tmp_path / "none.csv").code == 4
    path = fills_file(tmp_path, [], [])
    assert hedge("orders", "reconcile", tmp_path, path).code == 2
    outcome = hedge("orders", "reconcile", tmp_path, path, "--json")
    assert outcome.json["status"] == "invalid"
    assert list(run.parent.iterdir()) == [run]
    assert hedge("orders", "reconcile", run, path).code == 0
    (beside,) = run.parent.glob(f"{run.name}-fills-*")
    assert hedge("orders", "reconcile", beside, path).code == 2
    with pytest.raises(ScenarioError, match="no finished run"):
        reconcile(tmp_path / "desk", path)
    (run / "orders.csv").write_text("changed")
    assert hedge("orders", "reconcile", run, path).code == 4


def test_a_kill_switch_holds_follow_ups_too(tmp_path, hedge: Hedge, run):
    path = fills_file(tmp_path, [], [])
    (run.parent / "KILL").touch()
    assert hedge("orders", "reconcile", run, path, "--closed").code == 6
    (withheld,) = run.parent.glob(f"{run.name}-fills-*")
    assert withheld.name.endswith(".withheld")
    assert not (withheld / "orders.csv").exists()
    (run.parent / "KILL").unlink()
    assert hedge("orders", "reconcile", run, path, "--closed").code == 0
    assert len(list(run.parent.glob(f"{run.name}-fills-*"))) == 2


@pytest.mark.parametrize("file", range(6))
def test_interrupted_while_writing(tmp_path, hedge: Hedge, monkeypatch, file, run):
    path, written, right = fills_file(tmp_path, [], []), [], runs._write_durably

    def interrupted(target, text):
        right(target, text)
        written.append(target)
        if len(written) == file + 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_write_durably", interrupted)
        assert hedge("orders", "reconcile", run, path).code == 130
    assert list(run.parent.iterdir()) == [run]
    assert hedge("orders", "reconcile", run, path).code == 0


def test_a_run_moved_elsewhere_reconciles_the_same(tmp_path, hedge: Hedge, run):
    path = fills_file(tmp_path, [], [])
    here = reconcile(run, path, all_closed=True)
    shutil.copytree(run, tmp_path / "elsewhere" / run.name)
    assert reconcile(tmp_path / "elsewhere" / run.name, path, all_closed=True) == here
    assert len(here.follow_up) == len(read_csv(run / "orders.csv"))
