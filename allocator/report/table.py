"""Tables that read as they are; the page's script lets them be sorted, filtered and copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from allocator.report.html import Content, Html, el

MOST_ROWS = 300
_SENTENCE = 30  # letters


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; a column whose name starts with > is right-aligned."""

    name: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Content]]


def draw(table: Table, tools: bool = True) -> Html:
    """The table; of very long ones the first rows, and how many are left out."""
    right = [column.startswith(">") for column in table.columns]
    head = [
        el("th", {"scope": "col"} | ({"class": "right"} if r else {}), column.lstrip(">"))
        for column, r in zip(table.columns, right, strict=True)
    ]
    body = [el("tr", "", *map(_cell, row, right)) for row in table.rows[:MOST_ROWS]]
    attributes = {"id": table.name} | ({"class": "tools"} if tools else {})
    whole = el(
        "table",
        attributes,
        el("caption", "", table.caption),
        el("thead", "", el("tr", "", *head)),
        el("tbody", "", *body),
    )
    # Wide tables scroll by themselves, by key too, and never the page.
    scrolling = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": table.caption}
    drawn = el("div", scrolling, whole)
    left = len(table.rows) - MOST_ROWS
    if left <= 0:
        return drawn
    told = f"The first {MOST_ROWS} rows; {left:,} more stand in the run's own files."
    return el("div", "", drawn, el("p", "note", told))


def _cell(content: Content, right: bool) -> Html:
    # Sentences keep a width that can be read; a wide table scrolls instead.
    sentence = not isinstance(content, Html) and len(content) > _SENTENCE and " " in content
    return el("td", "right" if right else "words" if sentence else "", content)
