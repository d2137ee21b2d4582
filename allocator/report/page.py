"""The page of a finished run, whole: one file that loads nothing and may be opened from mail."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from string import Template

from allocator.report import evidence, failed, sections, verdict
from allocator.report.html import Content, Html, el, join, text
from allocator.report.source import Source
from allocator.runs import Run


def page(run: Run) -> str:
    """HTML of a verified run; the same run gives the same bytes.

    Every number is a ``<data>`` (or SVG ``<text>``) with its exact value and, as ``data-key``, the file and
    JSON pointer it is from. A content policy in the page itself forbids every request to a network.
    """
    source = Source.of(run)
    whole = "venues" in source.result
    body = _allocation(source) if whole else _failure(source)
    style, script = _asset("style.css"), _asset("script.js")
    title = f"{source.result['scenario']} · {source.result['as_of']} · {source.status}"
    return Template(_asset("page.html")).substitute(
        title=text(title),
        policy=text(_policy(style, script)),
        style=style,
        script=script,
        header=_header(source),
        body=body,
    )


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


def _header(source: Source) -> Html:
    result = source.result
    good = source.status == "optimal"
    return el(
        "header",
        "",
        el("h1", "", str(result["scenario"])),
        el(
            "p",
            "meta",
            el("time", {"datetime": str(result["as_of"])}, str(result["as_of"])),
            " · ",
            el("span", f"state {'good' if good else 'bad'}", source.status),
            " · run ",
            el("code", "", str(result["run_id"])),
        ),
    )


_SECTIONS = (
    ("exposure", "Net delta"),
    ("risk", "Risk"),
    ("venues", "Venues"),
    ("collateral", "Collateral"),
    ("carry", "Carry"),
    ("orders", "Orders"),
    ("checks", "Checks"),
    ("limits", "Limits"),
    ("audit", "Audit"),
    ("provenance", "Provenance"),
)


def _contents() -> Html:
    links = [el("a", {"href": f"#{name}"}, title) for name, title in _SECTIONS]
    return el("nav", {"aria-label": "Parts of this page"}, *links)


def _quality(source: Source) -> Html:
    return sections.section("data", "Data", verdict.lights(source))


def _allocation(source: Source) -> Html:
    result = source.result
    parts: list[Content] = [
        verdict.verdict(source),
        verdict.tiles(result),
        _quality(source),
        _contents(),
        sections.exposures(result),
        sections.risk(result),
        sections.venues(result),
        sections.collateral(result),
        sections.carry(result),
        sections.orders(source),
        evidence.checks(source),
        evidence.limits(result),
        evidence.audit(result),
        evidence.provenance(source),
    ]
    return join(parts, "\n")


def _failure(source: Source) -> Html:
    result = source.result
    parts = [
        failed.sentence(result),
        failed.reasons(result),
        failed.conflict(result),
        failed.ways_out(result) if str(result["status"]) == "infeasible" else Html(""),
        _quality(source),
        evidence.provenance(source),
    ]
    return join(parts, "\n")
