"""The end of the page: pre-trade checks, limits with their slack and price, the audit, where all is from."""

from __future__ import annotations

from allocator.report import numbers, shell, table
from allocator.report.html import Content, Html, el
from allocator.report.nodes import Node
from allocator.report.numbers import tag
from allocator.report.shell import note, section
from allocator.report.source import Source
from allocator.report.table import Table


def checks(source: Source) -> Html:
    """Pre-trade checks of the run and of its release, those that failed first."""
    found = list(source.result.get("checks") or ()) + list(source.manifest.get("release") or ())
    if not found:
        return section("checks", "Pre-trade checks", note("This run holds no pre-trade checks."))
    order = {"failed": 0, "passed": 1, "skipped": 2}
    rows = [
        (
            str(row["name"]),
            el("span", f"outcome-{row['outcome']}", str(row["outcome"])),
            str(row["subject"]),
            tag(row["value"], numbers.of_unit(row["unit"].value)),
            tag(row["bound"], numbers.of_unit(row["unit"].value)),
            str(row["unit"]),
            str(row["reason"]),
            str(row["source"]),
        )
        for row in sorted(found, key=lambda row: order.get(row["outcome"].value, 3))
    ]
    columns = ("check", "outcome", "subject", ">value", ">bound", "unit", "reason", "set in")
    return section("checks", "Pre-trade checks", table.draw(Table("check-list", "Checks", columns, rows)))


def limits(result: Node) -> Html:
    """Every limit at the convex optimum: what costs most first, then what is nearest to its bound."""
    ranked = sorted(result["limits"], key=_rank)
    rows = [
        (
            str(row["name"]),
            str(row["subject"]),
            tag(row["value"], numbers.of_unit(row["unit"].value)),
            tag(row["bound"], numbers.of_unit(row["unit"].value)),
            tag(row["slack"], numbers.of_unit(row["unit"].value)),
            str(row["unit"]),
            tag(row["shadow_price_usd"], numbers.price),
            str(row["source"]),
        )
        for row in ranked
    ]
    columns = ("limit", "subject", ">value", ">bound", ">slack", "unit", ">price per unit", "set in")
    said = note(
        f"Price: USD per {result['decision_hours'].value:g} h that one more unit of the bound saves. "
        "Sorted by what one per cent of the bound is worth, then by how much of it is used."
    )
    drawn = table.draw(Table("limit-list", "Limits, slack and price", columns, rows))
    return section("limits", "Limits", said, drawn)


def _rank(row: Node) -> tuple[float, float]:
    price, bound, value = (row[key].number() or 0.0 for key in ("shadow_price_usd", "bound", "value"))
    worth = price * max(abs(bound), 1.0) * 0.01
    used = value / bound if bound > 0 else 0.0
    return (-worth if worth >= 0.005 else 0.0, -used)


def audit(result: Node) -> Html:
    """What code that shares nothing with the solver found."""
    found, lots = result["audit"], result["audit"]["rounded"]
    rows: list[tuple[Content, ...]] = [
        ("optimum", _word(found), tag(found["max_violation_usd"], numbers.plain), _worst(found),
         tag(found["duality_gap_usd"], numbers.plain)),
        ("whole lots", _word(lots), tag(lots["max_violation_usd"], numbers.plain), _worst(lots),
         tag(lots["gap_usd"], numbers.plain)),
    ]  # fmt: skip
    columns = ("positions", "audit", ">largest breach, USD", "of limit", ">gap to the best, USD")
    said = note(
        "Every limit evaluated again by plain formulas. The gap is proven from the multipliers; the terms of "
        "the objective add up to ", tag(found["scale_usd"], numbers.dollars), ".",
    )  # fmt: skip
    terms = result["objective"]
    money = [
        (name.removesuffix("_usd").replace("_", " "), tag(terms[name], numbers.dollars))
        for name in terms.value
        if name.endswith("_usd")
    ]
    cash = [
        (name.removesuffix("_usd").replace("_", " "), tag(result["cash"][name], numbers.dollars))
        for name in result["cash"].value
    ]
    per = f"Objective, USD per {result['decision_hours'].value:g} h"
    return section(
        "audit",
        "Audit and money",
        table.draw(Table("audit-list", "Audit", columns, rows), tools=False),
        said,
        table.draw(Table("objective", per, ("term", ">USD"), money), tools=False),
        table.draw(Table("cash", "Cash", ("item", ">USD"), cash), tools=False),
    )


def _word(found: Node) -> Html:
    return el("span", "good", "passed") if found["passed"].value else el("span", "bad", "failed")


def _worst(found: Node) -> str:
    return str(found["worst_limit"])


def provenance(source: Source) -> Html:
    """Versions, times, and the hash of every input and output."""
    manifest, result = source.manifest, source.result
    facts = [("run", str(result["run_id"])), ("as of", str(result["as_of"]))]
    if (solver := result.get("solver")) is not None:
        fallback = solver["fallback"].value or "none"
        facts.append(("solver", f"{solver['name']}, fallback {fallback}"))
    return shell.provenance(manifest, *facts)
