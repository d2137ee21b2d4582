"""A frontier as a page of two tables: the curve, and what else could be done."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from allocator.figures import dollars, percent
from allocator.plain_tables import page_text, plain_table

Json = Mapping[str, Any]
_WIDTH = 140
_BESIDE = ("volatility", "cost", "gross", "turnover", "margin")


def text_of(result: Json, folder: Path | None) -> str:
    """The page as text for stdout, with colours only on a terminal."""
    # Wide enough for keys and names where nobody's window says otherwise.
    width = None if sys.stdout.isatty() else _WIDTH
    return page_text(page(result, folder), width)


def page(result: Json, folder: Path | None) -> RenderableType:
    """What is traded for what, the points, the references."""
    x, y, hours = result["x"], result["y"], f"{result['decision_hours']:g} h"
    count = len(result["points"])
    head = Text(f"{result['scenario']}  {result['as_of']}\n", style="bold")
    head.append(f"{count} points of least {result['minimised']} for each {result['bounded']}, per {hours}.\n")
    if count == 1:
        head.append("There is nothing to trade off: one plan has the least of both.\n")
    if result["status"] != "optimal":
        head.append(
            f"Only {count} of {result['points_wanted']} points were proven; solver or audit failed at "
            f"{len(result['failed_bounds'])} bounds.\n",
            style="bold red",
        )
    parts: list[RenderableType] = [head, _curve(result), Text(), _references(result)]
    if folder is not None:
        parts.append(Text(f"\n{x['name']}: {x['label']}. {y['name']}: {y['label']}."))
        parts.append(Text(f"Picture and tables in {folder}", no_wrap=True, overflow="ignore"))
    return Group(*parts)


def _shown(name: str, value: float | None) -> str:
    return percent(value) if name == "margin" else dollars(value)


def _columns(result: Json) -> list[str]:
    """Both axes first, then what stands beside them."""
    names = [result["x"]["name"], result["y"]["name"]]
    return names + [name for name in _BESIDE if name not in names]


def _curve(result: Json) -> Table:
    names = _columns(result)
    table = plain_table("Frontier", ">point", *(f">{name}" for name in names), ">funding")
    for point in result["points"]:
        values = point["quantities"]
        shown = [_shown(name, values[name]) for name in names]
        table.add_row(str(point["point"]), *shown, dollars(values["funding_usd"] + values["carry_usd"]))
    return table


def _references(result: Json) -> Table:
    names = _columns(result)[:2]
    table = plain_table(
        "Beside it", "plan", *(f">{name}" for name in names), f">{result['minimised']} beyond it", "breaks"
    )
    for row in result["references"]:
        if row["permitted"]:
            limits = "nothing"
        else:
            worst, more = row["breaches"][0], row["breaches_in_all"] - 1
            limits = worst["limit"].removeprefix("limits.") + (f" +{more}" if more else "")
        values = row["quantities"]
        shown = [_shown(name, values[name]) for name in names]
        table.add_row(row["label"], *shown, dollars(row["excess"]), limits)
    return table
