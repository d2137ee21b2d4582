"""Some pictures of a run as one SVG file of its own, for pages that cannot hold HTML.

``python -m allocator.report.poster runs/<run id> > scenarios/daily.svg`` draws the one of the README.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from allocator.report import figures, svg
from allocator.report.html import Html, el, join
from allocator.report.nodes import Node
from allocator.runs import in_folder

_WIDTH, _GAP, _TITLE = 460.0, 36.0, 30.0
_COLUMNS = 2


def poster(result: Node) -> str:
    """Net delta, risk and funding of a result, and the venue nearest to liquidation; bytes as the result.

    It has no script and loads nothing, and follows the reader's light or dark scheme.
    """
    near = min(
        (row for row in result["venues"] if row["liquidation_move"].value is not None),
        key=lambda row: abs(row["liquidation_move"].value),
        default=result["venues"][0],
    )
    name = str(near["name"])
    return _whole(
        [
            ("Net delta by coin before and after; shaded: allowed", figures.net_delta(result)),
            (f"Equity on {name} if all coins move alike", figures.equity_by_price(result, name)),
            ("Volatility by source, one standard deviation a day", figures.risk_by_source(result)),
            ("Expected funding by venue, below zero earned", figures.carry(result, "venue")),
        ]
    )


def _whole(drawn: Sequence[tuple[str, svg.Picture]]) -> str:
    """Pictures in two columns with their titles."""
    parts: list[Html] = []
    y, tallest = 0.0, 0.0
    for k, (title, figure) in enumerate(drawn):
        inner, width, height = _inner(svg.draw(figure))
        x = (k % _COLUMNS) * (_WIDTH + _GAP)
        if k % _COLUMNS == 0:
            y, tallest = y + tallest, 0.0
        place = {"x": f"{x:g}", "y": f"{y + _TITLE:g}", "width": f"{width:g}", "height": f"{height:g}"}
        parts.append(el("text", {"x": f"{x:g}", "y": f"{y + 18:g}", "class": "head"}, title))
        parts.append(el("svg", place | {"class": "chart"}, inner))
        tallest = max(tallest, height + _TITLE + 14)
    size = (_COLUMNS * _WIDTH + _GAP, y + tallest)
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"-16 -8 {size[0] + 32:g} {size[1] + 16:g}",
        "role": "img",
    }
    paper = {"x": "-16", "y": "-8", "width": "100%", "height": "100%", "class": "paper"}
    told = el("title", "", "A day's hedge: " + "; ".join(title for title, _ in drawn))
    style = el("style", "", Html(_style()))
    return f"{el('svg', attributes, told, style, el('rect', paper), join(parts, chr(10)))}\n"


def _inner(figure: Html) -> tuple[Html, float, float]:
    """What is inside a figure's own svg, without pointers into a run, and its size."""
    found = re.search(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>', figure, flags=re.S)
    assert found is not None
    inner = re.sub(r' data-(?:key|value|exact)="[^"]*"', "", found[3])
    return Html(inner), float(found[1]), float(found[2])


def _style() -> str:
    """The page's colours in both schemes, and its rules for pictures."""
    page = (files("allocator.report") / "style.css").read_text(encoding="utf-8")
    colours = page[: page.index("* { box-sizing")]
    start = page.index(".chart text")
    rules = page[start : page.index(".scroll {")]
    own = ".paper { fill: var(--paper); } .head { font: 600 14px system-ui, sans-serif; fill: var(--ink); }"
    return "\n".join((colours + rules + own).splitlines())


def main(folder: Path) -> int:
    """Write the poster of a finished run to stdout."""
    run = in_folder(folder)
    if run is None:
        sys.stderr.write(f"{folder} is no finished run\n")
        return 4
    sys.stdout.write(poster(Node(json.loads(run.text("result.json")), "result.json#")))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
