"""A backtest as a page of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from allocator.figures import dollars, percent
from allocator.plain_tables import page_text, plain_table

Json = Mapping[str, Any]


_CHECKED = {
    "closes": "Margin was checked on closes, not on the extremes between them.",
    "extremes": "Margin was checked at the extremes of each bar, all of an account's positions at once.",
    "extremes where recorded": "Margin was checked at the extremes of bars where recorded, else on closes.",
}


_OWED = "What a liquidation loses beyond an account's collateral stays owed to its venue."


def text_of(result: Json, folder: Path | None) -> str:
    """The page as text for stdout, with colours only on a terminal."""
    return page_text(page(result, folder))


def page(result: Json, folder: Path | None) -> RenderableType:
    """Strategies side by side, then the first against the others."""
    what = "a SYNTHETIC market" if result["synthetic"] else "the recorded market"
    days = result["strategies"][0]["span_days"]
    head = Text(f"{result['scenario']}: {days:g} days of {what}, {result['start']} to {result['end']}\n")
    parts: list[RenderableType] = [head, _risk(result), _carry(result)]
    if result["differences"]:
        parts.append(_differences(result))
    parts += [Text(sentence) for row in result["strategies"] for sentence in _unmet(row)]
    parts += [Text(_liquidation(lost)) for lost in result["liquidations"]]
    if result["liquidations"]:
        parts.append(Text(_OWED))
    parts += [Text(f"Warning: {sentence}") for sentence in result["warnings"]]
    parts.append(Text(_CHECKED[result["margin_checked_on"]]))
    if folder is not None:
        parts.append(Text(f"Tables in {folder}"))
    return Group(*parts)


def _unmet(row: Json) -> Iterator[str]:
    """What a strategy wanted and did not get."""
    if row["unanswered"]:
        yield (
            f"{row['strategy']}: {row['unanswered']} of {row['decisions']} decisions had no answer, and left "
            "everything as it was; result.json and the log say why"
        )
    if row["rejected"]:
        yield (
            f"{row['strategy']}: venues refused {row['rejected']} orders of {dollars(row['rejected_usd'])} "
            "for want of margin"
        )


def _liquidation(lost: Json) -> str:
    equity, required = dollars(lost["equity_usd"]), dollars(lost["maintenance_margin_usd"])
    return (
        f"{lost['strategy']} was liquidated at {lost['venue']}, {lost['time']}: "
        f"equity {equity}, maintenance margin {required}"
    )


def _table(title: str, name: str, *figures: str) -> Table:
    return plain_table(title, name, *(f">{figure}" for figure in figures))


def _risk(result: Json) -> Table:
    table = _table("Risk", "strategy", "sd/day", "HE", "real./pred.", "over", "under", "margin", "liq.")
    for row in result["strategies"]:
        ratio = "–" if row["calibration"] is None else f"{row['calibration']:.2f}"
        table.add_row(
            row["strategy"],
            dollars(row["volatility_usd"]),
            percent(row["hedge_effectiveness"], 2),
            ratio,
            percent(row["over_hedged"], 0),
            percent(row["under_hedged"], 0),
            percent(row["worst_margin_use"], 0),
            str(row["liquidations"]),
        )
    return table


def _carry(result: Json) -> Table:
    table = _table(
        "\nMoney per day", "strategy", "net carry", "funding", "fees", "slippage", "impact", "turnover"
    )
    for row in result["strategies"]:
        days = row["span_days"]
        names = ("net_carry", "funding", "fees", "slippage", "impact", "turnover")
        table.add_row(row["strategy"], *(dollars(row[f"{name}_usd"] / days) for name in names))
    return table


def _differences(result: Json) -> Table:
    first = result["differences"][0]["strategy"]
    table = _table(f"\n{first} against, with 95 % intervals", "rival", "sd ratio", "", "P&L a day more", "")
    for row in result["differences"]:
        low, high = row["volatility_interval"]
        least, most = row["pnl_interval"]
        table.add_row(
            row["against"],
            f"{row['volatility_ratio']:.2f}",
            f"{low:.2f} to {high:.2f}",
            dollars(row["pnl_usd"]),
            f"{dollars(least)} to {dollars(most)}",
        )
    return table
