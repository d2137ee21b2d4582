"""The page in a real browser, at two widths, light and dark: no error, no request, tables work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_desk import only_run, write_desk

from allocator.cli import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    desk = write_desk(folder / "desk")
    assert main(["allocate", str(desk), "--out", str(folder / "runs"), "-q"]) == 0
    run = only_run(folder / "runs")
    return run.with_name(f"{run.name}.html")


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_a_browser_opens_it(browser, page_file, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert said == []
    assert asked == [page_file.as_uri()]
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, "the page itself scrolls sideways"

    heading = page.locator("#order-list th", has_text="notional")
    read = "rows => rows.map(r => Number(r.querySelector('data[data-key$=notional_usd]').value))"
    values = page.locator("#order-list tbody tr").evaluate_all(read)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.locator("#order-list tbody tr").evaluate_all(read) == sorted(values)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert page.locator("#order-list tbody tr").evaluate_all(read) == sorted(values, reverse=True)

    page.get_by_label("Filter: Orders").fill("okx")
    shown = page.locator("#order-list tbody tr:visible")
    assert shown.count() > 0
    assert all("okx" in text for text in shown.all_inner_texts())
    context.close()
