"""A finished sweep as a page: what came of its cells, what moved the objective, which limits bound."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from allocator.figures import dollars, percent
from allocator.plain_tables import page_text, plain_table

if TYPE_CHECKING:
    import pandas as pd

Json = Mapping[str, Any]
_FAILURES, _LIMITS, _KEYS = 5, 6, 12
_WIDTH = 140
_COLUMNS = ("total_usd", "volatility_hedged_usd", "gross_usd", "turnover_usd")


def text_of(result: Json, cells: pd.DataFrame, limits: pd.DataFrame, folder: Path) -> str:
    """The page as text for stdout, with colours only on a terminal."""
    # Wide enough for keys and names where nobody's window says otherwise.
    width = None if sys.stdout.isatty() else _WIDTH
    return page_text(Group(*page(result, cells, limits, folder)), width)


def page(result: Json, cells: pd.DataFrame, limits: pd.DataFrame, folder: Path) -> Iterator[RenderableType]:
    """Counts, the cells in a few figures, sensitivities, binding limits, failures, where the tables are."""
    counts = ", ".join(f"{count:,} {status}" for status, count in result["by_status"].items())
    yield Text(f"{result['scenario']}: {result['cells']:,} cells: {counts}\n", style="bold")
    optimal = cells[cells["status"] == "optimal"]
    if len(optimal):
        yield _spread(optimal)
    if result["sensitivity"]:
        yield _sensitivity(result)
    if len(limits):
        yield _limits(limits, len(optimal))
    if len(optimal) < len(cells):
        yield _failures(cells[cells["status"] != "optimal"])
    yield Text(f"\nTables in {folder}", no_wrap=True, overflow="ignore")


def _spread(optimal: pd.DataFrame) -> Table:
    """The cheapest, middle and dearest cell by objective."""
    ordered = optimal.sort_values("total_usd", kind="stable")
    table = plain_table(
        "Cells, USD per decision", "", ">objective", ">volatility", ">gross", ">turnover", "cell"
    )
    chosen = {"cheapest": 0, "median": (len(ordered) - 1) // 2, "dearest": len(ordered) - 1}
    for name, place in chosen.items():
        row = ordered.iloc[place]
        table.add_row(name, *(dollars(float(row[column])) for column in _COLUMNS), str(row["name"]))
    return table


def _sensitivity(result: Json) -> Table:
    table = plain_table(
        "\nWhat moves the objective", "key", ">share", ">range", ">USD per unit", "cheapest at", "dearest at"
    )
    for row in result["sensitivity"][:_KEYS]:
        step = f" (with {', '.join(row['in_step_with'])})" if row["in_step_with"] else ""
        slope = row["slope_usd_per_unit"]
        table.add_row(
            row["key"] + step,
            percent(row["share"]),
            dollars(row["range_usd"]),
            "–" if slope is None else f"{slope:.3g}".replace("-", "−"),
            row["best"],
            row["worst"],
        )
    if len(result["sensitivity"]) > _KEYS:
        table.caption = f"and {len(result['sensitivity']) - _KEYS} more keys in result.json"
    return table


def _limits(limits: pd.DataFrame, optimal: int) -> Table:
    """The limits that bind most often, with their median price where they do."""
    table = plain_table("\nLimits that bind", "limit", ">cells", ">median price per unit")
    found = limits.groupby("name").agg(cells=("cell", "nunique"), price=("shadow_price_usd", "median"))
    ordered = found.sort_values(["cells", "price"], ascending=False, kind="stable")
    for name, row in ordered.head(_LIMITS).iterrows():
        table.add_row(str(name), percent(row["cells"] / optimal, 0), f"${row['price']:.3g}")
    return table


def _failures(failed: pd.DataFrame) -> Table:
    """Cells without an optimum, by reason: the most frequent first."""
    table = plain_table("\nWithout an optimum", ">cells", "status", "for example", "reason")
    groups = failed.groupby(["status", "reason"], sort=False)["name"].agg(["size", "first"]).reset_index()
    ordered = groups.sort_values("size", ascending=False, kind="stable")
    for row in ordered.head(_FAILURES).to_dict("records"):
        table.add_row(f"{row['size']:,}", row["status"], row["first"], row["reason"])
    if len(ordered) > _FAILURES:
        table.caption = f"and {len(ordered) - _FAILURES} more reasons in cells.parquet"
    return table
