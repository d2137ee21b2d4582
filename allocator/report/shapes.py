"""Parts of SVG pictures: texts, lines, rectangles, legends, and numbers that carry their exact value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from allocator.report.html import Content, Html, el
from allocator.report.nodes import Node
from allocator.report.numbers import Form, shown

LETTER = 6.6  # width of a letter of a legend


def words(x: float, y: float, kind: str, content: Content) -> Html:
    """Words at a place."""
    return el("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind}, content)


def number(x: float, y: float, node: Node, form: Form, kind: str = "value") -> Html:
    """A number's own text, with its exact value and where that stands."""
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind}
    key = {"data-key": node.pointer} if node.pointer else {}
    exact = {} if node.number() is None else {"data-value": node.exact()}
    return el("text", attributes | key | exact, shown(node, form))


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Html:
    """A straight line."""
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return el("line", {name: f"{place:.1f}" for name, place in places.items()} | {"class": kind})


def rect(x: tuple[float, float], y: float, height: float, kind: str) -> Html:
    """A rectangle between two x in any order."""
    left, right = min(x), max(x)
    places = {"x": left, "y": y, "width": right - left, "height": height}
    return el("rect", {name: f"{place:.1f}" for name, place in places.items()} | {"class": kind})


def legend(names: Iterable[tuple[str, str]], x: float) -> Iterator[Html]:
    """A square of its tone and the name of each series, in one row from x on."""
    for name, tone in names:
        yield rect((x, x + 10), 5, 10, f"tone-{tone}")
        yield words(x + 15, 14, "legend", name)
        x += 30 + LETTER * len(name)


def legend_rows(names: Iterable[tuple[str, str]], left: float, right: float) -> tuple[list[Html], float]:
    """A legend over as many rows as it needs, and the height it takes."""
    drawn: list[Html] = []
    x, y = left, 0.0
    for name, tone in names:
        width = 30 + LETTER * len(name)
        if x > left and x + width - 15 > right:
            x, y = left, y + 17.0
        drawn.append(rect((x, x + 10), y + 5, 10, f"tone-{tone}"))
        drawn.append(words(x + 15, y + 14, "legend", name))
        x += width
    return drawn, y + 17.0


def picture(size: tuple[float, float], title: str, told: str, drawn: Content) -> Html:
    """A drawing that carries its title and what it shows in words, for readers that do not see."""
    attributes: Mapping[str, str] = {
        "viewBox": f"0 0 {size[0]:g} {size[1]:g}",
        "role": "img",
        "class": "chart",
    }
    return el("svg", attributes, el("title", "", title), el("desc", "", told), drawn)


def captioned(title: str, note: str, drawn: Html, kind: str = "") -> Html:
    """A figure with its title and note above it."""
    caption = el("figcaption", "", el("b", "", title), " ", el("span", "", note))
    return el("figure", kind, caption, drawn)
