"""The page of a run without an allocation: what failed, which limits cannot hold together, ways out."""

from __future__ import annotations

from allocator.report import numbers, table
from allocator.report.html import Html, el
from allocator.report.nodes import Node
from allocator.report.numbers import tag
from allocator.report.shell import note, section
from allocator.report.table import Table


def sentence(result: Node) -> Html:
    """What to do: nothing."""
    why = {
        "infeasible": "the limits cannot hold together",
        "failed": "no answer survived solver and audit",
    }.get(str(result["status"]), str(result["status"]))
    return el(
        "div",
        "verdict",
        el("p", "", el("strong", "", f"Send nothing: {why}.")),
        el("p", "", el("span", "state bad", "No orders"), " were written; positions stay as they are."),
    )


def reasons(result: Node) -> Html:
    """The errors, each with where it is from."""
    said = [
        el("li", "", el("code", "", f"{row['source']}: ") if row["source"].value else "", str(row["message"]))
        for row in result.get("errors") or ()
    ]
    return section("errors", "What failed", el("ul", "plain", *said))


def conflict(result: Node) -> Html:
    """Limits that cannot hold together, by their weight in the certificate."""
    members = result.get("conflict")
    if not members:
        return Html("")
    short = "shortfall_usd" in members[0]
    columns = ("limit", "subject", "set in", ">weight", *([">shortfall"] if short else []))
    rows = [
        (
            str(row["name"]),
            str(row["subject"]),
            str(row["source"]),
            tag(row["certificate"], numbers.plain),
            *([tag(row["shortfall_usd"], numbers.dollars)] if short else []),
        )
        for row in members
    ]
    drawn = table.draw(Table("conflict-list", "These cannot hold together", columns, rows))
    return section("conflict", "Conflict", drawn)


def ways_out(result: Node) -> Html:
    """What would make it possible, the cheapest first."""
    ways = result.get("ways_out")
    if ways is None:
        return section("ways", "Ways out", note("This result holds no ways out; widen a limit named above."))
    rows = [(str(way["text"]), tag(way["cost_usd"], numbers.dollars)) for way in ways]
    if not rows:
        return section("ways", "Ways out", note("None was found."))
    drawn = table.draw(Table("way-list", "Ways out", ("change", ">counts for"), rows))
    weighed = "What a change counts for is its size by `explain.weights`, not money paid."
    return section("ways", "Ways out", drawn, note(weighed))
