"""The page of a run: every number is the run's, nothing is loaded, nothing is markup that should be text."""

from __future__ import annotations

import base64
import copy
import csv
import hashlib
import io
import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest
from page_reader import Reader, check_numbers, files_of
from small_desk import ROOT, SCENARIO, Hedge, only_run, swap, write_desk

from allocator import runs
from allocator.cli import main
from allocator.errors import DataError
from allocator.report.page import page
from allocator.runs import Run

LIMIT_BYTES = 2_000_000
MARGIN_FIGURES = (
    "equity_usd",
    "initial_margin_usd",
    "maintenance_margin_usd",
    "liquidation_move",
    "cushion_sigmas",
)
INFEASIBLE = swap(SCENARIO, ("gross: {kind: gross, max: $9m}", "gross: {kind: gross, max: $9m}\n"
                  "  delta: {kind: net_delta, assets: all, min: $1m, max: $2m}\n"
                  "  tiny: {kind: gross, max: $1k}"))  # fmt: skip
NASTY = '</title><script>alert(1)</script> & "it\'s"'


@pytest.fixture(scope="module")
def daily(tmp_path_factory) -> Path:
    """The run folder of the shipped scenario; its page lies beside it."""
    out = tmp_path_factory.mktemp("daily") / "runs"
    assert main(["allocate", str(ROOT / "scenarios/daily.yaml"), "--out", str(out), "-q"]) == 0
    return only_run(out)


@pytest.fixture(scope="module")
def text(daily) -> str:
    return daily.with_name(f"{daily.name}.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(text) -> Reader:
    return Reader(text)


def changed(run: Path, **more: object) -> Run:
    """The run with parts of its result replaced, as other versions of it may hold; in memory only."""

    class Changed(Run):
        def text(self, name: str) -> str:
            said = super().text(name)
            return json.dumps(json.loads(said) | more) if name == "result.json" else said

    found = runs.find(run.parent, run.name)
    assert found is not None
    return Changed(found.folder, found.manifest)


def test_every_number_equals_the_run(daily, read):
    assert check_numbers(read, files_of(daily)) > 800


def test_a_wrong_number_would_be_seen(daily, text):
    files = files_of(daily)
    files["result.json"]["risk"]["volatility_hedged_usd"] += 1e-6
    with pytest.raises(AssertionError, match="volatility_hedged_usd"):
        check_numbers(Reader(text), files)
    other = text.replace('net_delta_usd">−$', 'net_delta_usd">$')
    assert other != text
    with pytest.raises(AssertionError, match="net_delta_usd"):
        check_numbers(Reader(other), files_of(daily))


def test_the_page_says_what_people_ask(daily, read):
    result = files_of(daily)["result.json"]
    there = {e.attributes["data-key"] for e in read.elements if "data-key" in e.attributes}
    asked = ["/summary/traded_usd", "/risk/hedge_effectiveness", "/risk/loss_99_hedged_usd", "/cash/fees_usd"]
    for k in range(len(result["venues"])):
        asked += [f"/venues/{k}/{key}" for key in MARGIN_FIGURES]
    for k in range(len(result["risk"]["by_asset"])):
        asked += [f"/risk/by_asset/{k}/{key}" for key in ("previous_net_delta_usd", "net_delta_usd")]
    for k in range(len(result["limits"])):
        asked += [f"/limits/{k}/{key}" for key in ("value", "bound", "slack", "shadow_price_usd")]
    assert {f"result.json#{pointer}" for pointer in asked} <= there
    orders = files_of(daily)["orders.csv"]
    assert {
        f"orders.csv#/{k}/{key}" for k in range(len(orders)) for key in ("contracts", "limit_price")
    } <= there
    page_text = " ".join(e.text for e in read.of("main"))
    for order in orders:
        assert order["client_order_id"] in page_text
    for name, digest in files_of(daily)["manifest.json"]["tables"].items():
        assert name in page_text
        assert digest in page_text


def test_right_aligned_cells_hold_tagged_numbers_only(text):
    cells = re.findall(r'<td class="right">(.*?)</td>', text)
    assert len(cells) > 800
    assert not [c for c in cells if "data-key" not in c and c not in ("never", "market", "–")]


def test_nothing_is_loaded(text, read):
    style, script = read.of("style")[0].text, read.of("script")[0].text
    assert len(read.of("style")) == len(read.of("script")) == 1
    loading = {"src", "srcset", "data", "action", "poster", "xlink:href", "background", "style"}
    for element in read.elements:
        assert not loading & element.attributes.keys(), element
        assert element.tag not in {"link", "img", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in element.attributes if name.startswith("on")], element
        assert element.attributes.get("href", "#").startswith("#")
    assert "@import" not in style
    assert "url(" not in style
    assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(|sendBeacon|WebSocket", text)
    (policy,) = [e.attributes["content"] for e in read.of("meta") if "http-equiv" in e.attributes]
    assert policy.startswith("default-src 'none'; ")
    for kind, content in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_links_and_labels_lead_somewhere(read):
    ids = [e.attributes["id"] for e in read.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    assert {e.attributes["href"][1:] for e in read.of("a")} <= set(ids)
    assert {e.attributes["aria-labelledby"] for e in read.of("section")} <= set(ids)
    assert all(e.attributes.get("role") == "img" for e in read.of("svg"))
    assert len(read.of("title")) == 1 + len(read.of("svg"))
    assert [e.attributes["lang"] for e in read.of("html")] == ["en"]
    assert len(read.of("h1")) == 1
    assert all(e.attributes.get("scope") == "col" for e in read.of("th"))


def test_tables_can_be_sorted_in_both_themes_and_printed(read):
    names = {e.attributes["id"] for e in read.of("table") if e.attributes.get("class") == "tools"}
    assert {"order-list", "transfer-list", "limit-list", "margin", "withheld", "funding"} <= names
    script, style = read.of("script")[0].text, read.of("style")[0].text
    assert "aria-sort" in script
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", style))


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        r, g, b = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_read(read, theme):
    style = read.of("style")[0].text
    found = colours(style.split("@media")[theme])
    for ink in ("ink", "soft", "main", "second", "warn", "good", "bad"):
        assert contrast(found[ink], found["paper"]) >= 4.5, ink
        assert ink in ("second", "warn") or contrast(found[ink], found["card"]) >= 4.5, ink
    for state in ("good", "watch", "bad"):
        assert contrast(found[state], found[f"{state}-bg"]) >= 4.5, state
    for mark in ("main", "warn", "second"):
        assert contrast(found[mark], found["band"]) >= 3.0, mark


def test_small_and_quick(daily, text, told):
    found = runs.find(daily.parent, daily.name)
    assert found is not None
    start = time.perf_counter()
    again = page(found)
    seconds = time.perf_counter() - start
    assert again == text  # the same run, the same bytes
    start_at, end_at = (
        datetime.fromisoformat(str(found.manifest[f"{key}_at"])) for key in ("started", "finished")
    )
    took = (end_at - start_at).total_seconds()
    with told():
        print(f"page: {len(text.encode()):,} bytes in {seconds:.3f} s; the allocation took {took:.2f} s")
    assert len(text.encode()) < LIMIT_BYTES
    assert seconds < took / 3


def test_an_infeasible_run_gets_its_page(tmp_path, hedge: Hedge):
    desk = write_desk(tmp_path / "desk", INFEASIBLE)
    assert hedge("allocate", desk, "--out", tmp_path / "runs").code == 3
    run = only_run(tmp_path / "runs")
    text = run.with_name(f"{run.name}.html").read_text()
    read, files = Reader(text), files_of(run)
    said = read.of("main")[0].text
    assert "Send nothing: the limits cannot hold together." in said
    for member in files["result.json"]["conflict"]:
        assert member["source"] in said
    assert files["result.json"]["errors"][0]["message"] in said
    assert "order-list" not in text
    assert check_numbers(read, files) > 8
    assert not re.search(r"[Ss]afe:", said)


def test_names_are_text_never_markup(daily):
    """A scenario's name cannot hold markup; should it ever, the page does not trust it."""
    read = Reader(page(changed(daily, scenario=NASTY)))
    assert len(read.of("script")) == 1
    assert "alert(1)" not in read.of("script")[0].text
    assert read.of("h1")[0].text == NASTY
    assert read.of("title")[0].text.startswith(NASTY)


def test_every_text_of_a_result_is_escaped(daily):
    """Each text of the result replaced by markup, one by one as it were: none becomes an element."""
    result = files_of(daily)["result.json"]

    def spoil(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {k: spoil(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [spoil(v, key) for v in value]
        kept = ("status", "as_of", "mode", "unit", "name", "asset", "kind")
        return f"<script>{value}</script>" if isinstance(value, str) and key not in kept else value

    read = Reader(page(changed(daily, **{k: spoil(v, k) for k, v in result.items()})))
    assert len(read.of("script")) == 1
    assert len(read.of("main")[0].text.split("<script>")) > 100


DOING_NOTHING = {
    "name": "doing nothing",
    "permitted": False,
    "objective": {"total_usd": 900.0},
    "dearer_usd_per_day": 700.25,
    "breaches": [
        {"limit": "limits.net_delta.max", "subject": "BTC", "over_usd": 12345.6, "source": "a.yaml:3"}
    ],
    "rebalance": {"saves_usd_per_day": 700.25, "cash_usd": 1718.5, "break_even_hours": 58.9},
}
EXPLANATION = {
    "collateral": [
        {
            "name": f"collateral.{venue}",
            "kind": "collateral",
            "source": "s.yaml:1",
            "unit": "USD",
            "value": 1e6,
            "step": 1e5,
            "saves_per_step_usd": saves,
            "text": f"one more $100k on {venue}",
        }
        for venue, saves in (("okx", 31.25), ("bybit", 64.5), ("binance", 0.0))
    ],
    "prices": [],
}
CHECK = {"value": 0.5, "bound": 1.0, "unit": "USD", "subject": "okx", "reason": "", "source": "default"}
CHECKS = [
    {"name": "collar", "outcome": "passed"} | CHECK,
    {"name": "fat_finger", "outcome": "failed"} | CHECK,
]


def test_what_other_parts_add_is_shown(daily):
    still = {"doing_nothing": DOING_NOTHING}
    more = {"alternatives": still, "explanation": EXPLANATION, "checks": CHECKS}
    run = changed(daily, **copy.deepcopy(more))
    read = Reader(page(run))
    files = files_of(daily)
    files["result.json"] |= more
    assert check_numbers(read, files) > 800
    said = read.of("main")[0].text
    assert (
        "Against doing nothing, this saves $700 a day and costs $1,718 once; it pays for itself in 58.9 h."
        in said
    )
    assert "Doing nothing is not permitted: it breaches limits.net_delta.max of BTC by $12,346." in said
    assert said.index("one more $100k on bybit") < said.index("one more $100k on okx")
    assert "one more $100k on binance" not in said
    assert said.index("fat_finger") < said.index("collar")


def test_a_result_without_them_says_so(read):
    said = read.of("main")[0].text
    assert "holds no comparison with doing nothing" in said or "Against doing nothing" in said
    assert "No venue needs more collateral" in said or "Collateral, ranked" in said


def test_a_run_of_an_earlier_version_is_told(daily):
    class Earlier(Run):
        def text(self, name: str) -> str:
            result = json.loads(super().text(name))
            return json.dumps({k: v for k, v in result.items() if k != "carry"})

    with pytest.raises(DataError, match=r"lacks carry: the run is of an earlier version"):
        page(Earlier(daily, {}))


def test_orders_withheld_are_not_sent(daily):
    found = runs.find(daily.parent, daily.name)
    assert found is not None

    class Refused(Run):
        def text(self, name: str) -> str:
            said = super().text(name)
            return (
                said.replace('"status": "optimal"', '"status": "refused"') if name.endswith(".json") else said
            )

    said = Reader(page(Refused(found.folder, found.manifest))).of("main")[0].text
    assert "Send nothing: a pre-trade check withheld the orders." in said
    assert "Withheld:" in said
    rows = csv.DictReader(io.StringIO(found.text("orders.csv")))
    assert not [row for row in rows if row["client_order_id"] in said]


def test_a_schedule_and_the_tightest_state_are_shown(daily, tmp_path):
    folder = tmp_path / daily.name
    shutil.copytree(daily, folder)
    lines = (
        "run_id,seq,batch,time,contracts\nx,1,1,2026-11-20T01:00:00Z,0.25\nx,1,1,2026-11-20T01:05:00Z,12.5\n"
    )
    (folder / "schedule.csv").write_text(lines)
    result = files_of(daily)["result.json"]
    worst = {"state": "batch 2, filled", "venue": "okx", "limit": "limits.m", "slack_usd": 56596.4}
    result["sequence"] = {"passed": True, "worst": worst | {"volatility_usd": 8304.2, "unhedged_usd": 0.0}}
    (folder / "result.json").write_text(json.dumps(result))
    read = Reader(page(Run(folder, {})))
    assert check_numbers(read, files_of(folder)) > 800
    said = read.of("main")[0].text
    assert "tightest state is batch 2, filled on okx: slack $56,596 of limits.m, volatility $8,304." in said
    rows = [e for e in read.of("data") if e.attributes["data-key"].startswith("schedule.csv#/")]
    assert [e.text for e in rows] == ["1", "1", "0.25", "1", "1", "12.5"]
    assert "2026-11-20T01:05:00Z" in said
