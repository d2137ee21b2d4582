"""What every page is in: one file with its own style and script, which loads nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template

from allocator.report import table
from allocator.report.html import Content, Html, el, join, text
from allocator.report.nodes import Node
from allocator.report.table import Table


def whole(title: str, header: Html, body: Html) -> str:
    """The page; a content policy in it forbids every request to a network."""
    style, script = _asset("style.css"), _asset("script.js")
    return Template(_asset("page.html")).substitute(
        title=text(title),
        policy=text(_policy(style, script)),
        style=style,
        script=script,
        header=header,
        body=body,
    )


def header(name: str, state: tuple[str, bool], run: str, *more: Content) -> Html:
    """The top line: what it is of, its state in words and whether that is good, and the run."""
    said, good = state
    return el(
        "header",
        "",
        el("h1", "", name),
        el(
            "p",
            "meta",
            *more,
            el("span", f"state {'good' if good else 'bad'}", said),
            " · run ",
            el("code", "", run),
        ),
    )


def contents(parts: Iterable[tuple[str, str]]) -> Html:
    """Links to the parts of a page, each an id and a title."""
    links = [el("a", {"href": f"#{name}"}, title) for name, title in parts]
    return el("nav", {"aria-label": "Parts of this page"}, *links)


def section(name: str, title: str, *parts: Content) -> Html:
    """A titled part of the page."""
    heading = el("h2", {"id": f"{name}-title"}, title)
    return el("section", {"id": name, "aria-labelledby": f"{name}-title"}, heading, *parts)


def pictures(*drawn: Html) -> Html:
    """Figures side by side where there is room."""
    return el("div", "pictures", *drawn)


def note(*said: Content) -> Html:
    """A sentence that explains."""
    return el("p", "note", *said)


def tile(name: str, figure: Content, below: Content = "") -> Html:
    """One of the large figures at the top."""
    return el("div", "", el("dt", "", name), el("dd", "", figure, el("small", "", below) if below else ""))


def provenance(manifest: Node, *facts: tuple[str, str]) -> Html:
    """Versions, times, and the hash of every file."""
    found = [*facts]
    told = ("started_at", "finished_at", "python", "platform")
    found += [(name.replace("_", " "), str(manifest[name])) for name in told if name in manifest]
    found += [(f"version of {name}", str(value)) for name, value in manifest["versions"].value.items()]
    found += [(f"table {name}", str(value)) for name, value in manifest.value.get("tables", {}).items()]
    found += [(f"file {name}", str(value)) for name, value in manifest["files"].value.items()]
    rows = [(name, el("code", "", value)) for name, value in found]
    drawn = table.draw(Table("facts", "Where this is from (hashes are SHA-256)", ("what", "value"), rows))
    return section("provenance", "Provenance", drawn)


def paragraphs(*sentences: Content) -> Html:
    """The verdict: what matters, first of all."""
    return el("div", "verdict", join(el("p", "", sentence) for sentence in sentences))


def _policy(style: str, script: str) -> str:
    """Nothing but the page's own style and script, told by their hashes."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    return (files("allocator.report") / name).read_text(encoding="utf-8")
