"""What a person sees of fills that came back: naked delta first, then what is left and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from allocator.figures import dollars
from allocator.plain_tables import page_text, plain_table
from allocator.terminal import checks_table

Json = Mapping[str, Any]


def text_of(report: Json, follow_up: Sequence[Mapping[str, str]], folder: Path) -> str:
    """The page as text for stdout."""
    return page_text(page(report, follow_up, folder))


def page(report: Json, follow_up: Sequence[Mapping[str, str]], folder: Path) -> RenderableType:
    """The whole page of one reconciliation."""
    style = {"complete": "bold green", "partial": "bold yellow"}.get(report["status"], "bold red")
    parts: list[RenderableType] = [Text(f"Run {report['run_id']}: {report['status']}\n", style=style)]
    parts += [Text(f"{e['source']}: {e['message']}\n", style="red") for e in report["errors"]]
    if report.get("checks"):
        parts.append(checks_table(report["checks"]))
    parts += [_naked(report), _book(report)]
    for row in report["waiting"]:
        what = f"{row['venue']} {row['symbol']}: {row['left_contracts']} contracts ({_usd(row['left_usd'])})"
        parts.append(Text(f"No order for {what}: {row['reason']}\n", style="yellow"))
    if follow_up:
        parts.append(_orders(follow_up))
    elif report["status"] == "refused":
        parts.append(Text("\nNo follow-up orders: the book must be understood first.\n", style="bold"))
    parts.append(Text(f"\nWritten to {folder}\n", style="dim"))
    return Group(*parts)


def _naked(report: Json) -> RenderableType:
    table = plain_table("Net delta", "coin", ">at the target", ">now", ">naked")
    for row in report["naked_delta"]:
        table.add_row(
            row["asset"],
            _usd(row["net_delta_target_usd"]),
            _usd(row["net_delta_now_usd"]),
            _usd(row["naked_delta_usd"]),
        )
    return table


def _book(report: Json) -> RenderableType:
    table = plain_table(
        "\nThe book as it is, contracts", "venue", ">symbol", ">before", ">now", ">target", ">left"
    )
    for row in report["book"]:
        if Decimal(row["filled_contracts"]) or Decimal(row["left_contracts"]):
            cells = ("before_contracts", "now_contracts", "target_contracts", "left_contracts")
            table.add_row(row["venue"], row["symbol"], *(row[cell] for cell in cells))
    return table


def _orders(follow_up: Sequence[Mapping[str, str]]) -> RenderableType:
    table = plain_table(
        "\nFollow-up orders", ">#", "venue", ">symbol", "side", ">contracts", ">notional", ">limit"
    )
    for row in follow_up:
        table.add_row(
            row["seq"],
            row["venue"],
            row["symbol"],
            row["side"],
            row["contracts"],
            _usd(row["notional_usd"]),
            row["limit_price"] or "market",
        )
    return table


def _usd(text: str) -> str:
    return dollars(float(text))
