"""Pages in a real browser, at two widths, light and dark: no error, no request, accessible, tables work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from browser import axe, chromium
from nova_desk import write_desk as write_nova
from small_desk import only_run, write_desk

import allocator
from allocator.cli import main

pytestmark = pytest.mark.long
SWEEP = """\
sweep:
  grid:
    limits.gross.max: [$9m, $2m]
    objective.risk_aversion_per_usd: [1.0e-6, 1.0e-5]
"""
KINDS = ["run", "sweep", "backtest"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("browser")
    desk = write_desk(folder / "desk")
    desk.write_text(desk.read_text() + SWEEP)
    assert main(["allocate", str(desk), "--out", str(folder / "runs"), "-q"]) == 0
    run = only_run(folder / "runs")
    swept = allocator.sweep(desk, out=folder / "sweeps", workers=1).run.folder
    nova = write_nova(tmp_path_factory.mktemp("nova"))
    sets = [
        "backtest.simulate={days: 8, seed: 3}",
        "backtest.warm_up=6d",
        "backtest.strategies=[equal_split]",
    ]
    given = [part for value in sets for part in ("--set", value)]
    assert main(["backtest", str(nova), "--out", str(folder / "walks"), "-q", *given]) == 0
    walked = only_run(folder / "walks")
    assert main(["report", str(swept), str(walked)]) == 0
    return {kind: f.with_name(f"{f.name}.html") for kind, f in zip(KINDS, (run, swept, walked), strict=True)}


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


EVERY = [(kind, width, scheme) for kind in KINDS for width in (375, 1280) for scheme in ("light", "dark")]


@pytest.mark.parametrize(("kind", "width", "scheme"), EVERY)
def test_a_browser_opens_it(browser, pages, kind, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[kind].as_uri())
    assert said == []
    assert asked == [pages[kind].as_uri()]
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page itself scrolls sideways"
    # Words of a picture stay inside it.
    outside = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
            const whole = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(t => {
                const b = t.getBoundingClientRect();
                return b.left < whole.left - 1.5 || b.right > whole.right + 1.5;
            }).map(t => t.textContent);
        })"""
    )
    assert outside == []
    context.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(browser, pages, kind, scheme):
    """axe-core, WCAG 2 A and AA: no serious violation."""
    if (source := axe()) is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(pages[kind].as_uri())
    page.evaluate(source)
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'best-practice']})")
    bad = {
        f"{each['id']} ({each['impact']})": [node["html"][:150] for node in each["nodes"][:3]]
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    }
    assert bad == {}
    context.close()


def test_tables_sort_filter_and_copy(browser, pages):
    context = browser.new_context()
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    heading = page.locator("#order-list th", has_text="notional")
    read = "rows => rows.map(r => Number(r.querySelector('data[data-key$=notional_usd]').value))"
    values = page.locator("#order-list tbody tr").evaluate_all(read)
    assert len(values) > 2
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.locator("#order-list tbody tr").evaluate_all(read) == sorted(values)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#order-list tbody tr").evaluate_all(read) == sorted(values, reverse=True)

    every = page.locator("#order-list tbody tr").all_inner_texts()
    wanted = [text for text in every if "hyperliquid" in text]
    assert 0 < len(wanted) < len(every)
    page.get_by_label("Filter: Orders").fill("hyperliquid")
    assert page.locator("#order-list tbody tr:visible").all_inner_texts() == wanted
    assert page.get_by_text(f"{len(wanted)} of {len(every)} rows").is_visible()

    # What is copied are the rows shown, with exact values: read where the page itself puts them.
    page.evaluate(
        "() => { window.copied = null; navigator.clipboard.writeText = async t => { window.copied = t; }; }"
    )
    page.get_by_label("Copy: Orders").click()
    page.wait_for_function("window.copied !== null")
    lines = page.evaluate("window.copied").split("\n")
    rows = csv.DictReader((pages["run"].with_suffix("") / "orders.csv").open())
    exact = {row["client_order_id"]: row["notional_usd"] for row in rows if row["venue"] == "hyperliquid"}
    assert len(lines) == 1 + len(exact)
    for line in lines[1:]:
        cells = line.split("\t")
        assert exact[cells[-1]] in cells
    context.close()


def test_every_number_shown_is_the_result_s(browser, pages):
    context = browser.new_context()
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    shown = page.evaluate("[...document.querySelectorAll('data')].map(e => [e.dataset.key, e.value])")
    result = json.loads((pages["run"].with_suffix("") / "result.json").read_text())
    checked = 0
    for pointer, value in shown:
        name, _, path = pointer.partition("#")
        if name != "result.json":
            continue
        there = result
        for part in path.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            there = there[int(key)] if isinstance(there, list) else there[key]
        assert float(value) == float(there), pointer
        checked += 1
    assert checked > 200
    context.close()
