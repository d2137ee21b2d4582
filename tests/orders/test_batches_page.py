"""The order of trading as a person reads it: batches, the tightest state of each, and what is wrong."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console
from small_desk import Hedge, only_run, read_csv, write_desk

from allocator.batches_page import batches_table, worst_between
from allocator.terminal import text_of


def state(name: str, slack: float | None, venue: str | None = "okx", unhedged: float = 0.0, sd: float = 9e3):
    limit = None if venue is None else "limits.maintenance.buffer (rally)"
    return {
        "state": name, "venue": venue, "limit": limit, "slack_usd": slack,
        "volatility_usd": sd, "unhedged_usd": unhedged,
    }  # fmt: skip


def sequence(states, passed=True, waits=(), failures=()):
    bounded = [s for s in states if s["slack_usd"] is not None]
    worst = min(bounded, key=lambda s: s["slack_usd"], default=None)
    return {
        "passed": passed, "states": states, "worst": worst, "failures": list(failures),
        "waits_for_transfers": list(waits), "batches": 2,
    }  # fmt: skip


def lines(table) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


ORDERS = [{"seq": "1", "batch": "1"}, {"seq": "2", "batch": "1"}, {"seq": "3", "batch": "2"}]


def test_each_batch_shows_its_orders_and_its_tightest_state():
    found = sequence(
        [
            state("before", 5e4, sd=9e3),
            state("batch 0, transfers half sent", 4e4),
            state("batch 0, transfers sent, none arrived", 3e4, "bybit"),
            state("batch 0, transfers arrived", 6e4),
            state("batch 1, half filled", 2e4, sd=7e3),
            state("batch 1, filled", 2.5e4, sd=6e3),
            state("batch 2, half filled", 2.2e4, sd=5e3),
            state("batch 2, filled", 1e4, "bybit", sd=4e3),
        ],
        waits=[2],
    )
    rows = [line.split() for line in lines(batches_table(found, ORDERS)) if line]
    assert rows[2:] == [
        ["now", "okx", "rally", "$50,000", "$9,000"],
        ["0", "transfers", "bybit", "rally", "$30,000", "$9,000"],
        ["1", "1–2", "okx", "rally", "$20,000", "$6,000"],
        ["2", "3", "after", "arrival", "bybit", "rally", "$10,000", "$4,000"],
    ]
    text = worst_between(found).plain
    assert text.startswith("Worst on the way, batch 2, filled: bybit has $10,000 of margin left (rally).\n")
    assert "No batch, filled or half filled, breaches" in text


def test_what_is_not_safe_is_said_with_its_dollars():
    bad = [state("batch 1, half filled", -1_234.0), state("batch 2, filled", 5.0, unhedged=77.0)]
    text = worst_between(sequence([state("before", 1e4), *bad], passed=False, failures=bad)).plain
    assert "Not safe, batch 1, half filled: okx lacks $1,234 (rally)." in text
    assert "Not safe, batch 2, filled: volatility is $77 above before and after." in text
    assert "No batch" not in text
    many = [state(f"batch {k}, filled", -1.0 - k) for k in range(1, 20)]
    assert "and 13 more" in worst_between(sequence(many, passed=False, failures=many)).plain


def test_a_desk_without_margin_limits_and_many_batches():
    bare = sequence([state("before", None, None), state("batch 1, filled", None, None)])
    assert lines(batches_table(bare, ORDERS))[-1].split() == ["1", "1–2", "–", "no", "limit", "–", "$9,000"]
    assert worst_between(bare).plain.startswith("No batch")
    many = sequence([state(f"batch {k}, filled", 1e5 - k) for k in range(1, 31)])
    shown = lines(batches_table(many, []))
    # The twelve with the least margin left, in the order of trading.
    assert [line.split()[0] for line in shown if line and line[0].isdigit()] == [
        str(k) for k in range(19, 31)
    ]
    assert shown[-1].strip() == "and 18 more, with more margin left"


@pytest.fixture
def run(tmp_path, hedge: Hedge):
    outcome = hedge("allocate", write_desk(tmp_path / "desk"), "--no-report", "--out", tmp_path / "runs")
    assert outcome.code == 0
    return outcome.out, only_run(tmp_path / "runs")


def test_the_page_of_allocate_names_every_batch(run):
    page, folder = run
    orders = read_csv(folder / "orders.csv")
    assert "Batches, each sent once the one before is filled" in page
    assert "Worst on the way" in page or "Not safe" in page
    numbers = {order["batch"] for order in orders}
    table = page.partition("Batches, each")[2].partition("\nVenues")[0].splitlines()
    assert numbers == {line.split()[0] for line in table if line[:1].isdigit() and line[0] != "0"}


def test_nothing_to_trade_has_no_batches(run):
    import json

    _, folder = run
    result = json.loads((folder / "result.json").read_text())
    assert "Batches" not in text_of({**result, "transfers": []}, [], folder)
    with (folder / "orders.csv").open() as file:
        assert "Batches" in text_of(result, list(csv.DictReader(file)), folder)
