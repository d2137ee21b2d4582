"""The page of a finished run, whole: one file that loads nothing and may be opened from mail."""

from __future__ import annotations

from allocator.report import evidence, failed, sections, shell, verdict
from allocator.report.html import Content, Html, el, join
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
    return shell.whole(
        f"{source.result['scenario']} · {source.result['as_of']} · {source.status}", _header(source), body
    )


def _header(source: Source) -> Html:
    result = source.result
    time = str(result["as_of"])
    when = el("time", {"datetime": time}, time)
    state = (source.status, source.status == "optimal")
    return shell.header(str(result["scenario"]), state, str(result["run_id"]), when, " · ")


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


def _quality(source: Source) -> Html:
    return shell.section("data", "Data", verdict.lights(source))


def _allocation(source: Source) -> Html:
    result = source.result
    parts: list[Content] = [
        verdict.verdict(source),
        verdict.tiles(result),
        _quality(source),
        shell.contents(_SECTIONS),
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
