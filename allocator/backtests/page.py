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


_LEGEND = (
    "HE hedge effectiveness; real./pred. realised over predicted volatility; over, under: share of the "
    "exposure through time that was over- or under-hedged by more than 5 %; margin: largest maintenance "
    "margin over equity; liq. liquidations"
)
_REASONS = {"margin": "want of margin", "leverage": "more than their leverage allows", "expired": "expiry"}
_OWED = "What a liquidation loses beyond an account's collateral stays owed to its venue."


def text_of(result: Json, folder: Path | None) -> str:
    """The page as text for stdout, with colours only on a terminal."""
    return page_text(page(result, folder))


def page(result: Json, folder: Path | None) -> RenderableType:
    """The first strategy in a sentence, all side by side, then the first against the others."""
    what = "a SYNTHETIC market" if result["synthetic"] else "the recorded market"
    days = result["strategies"][0]["span_days"]
    head = Text(f"{result['scenario']}: {days:g} days of {what}, {result['start']} to {result['end']}\n")
    parts: list[RenderableType] = [head, Text(_verdict(result["strategies"][0])), _risk(result)]
    parts += [Text(_LEGEND), _money(result)]
    if result["differences"]:
        parts.append(_differences(result))
    if result["selection"] is not None:
        parts.append(Text(_selected(result["selection"])))
    parts += [Text(sentence) for sentence in _called(result["decisions_by_cause"])]
    parts += [Text(sentence) for row in result["strategies"] for sentence in _unmet(row)]
    parts += [Text(_liquidation(lost)) for lost in result["liquidations"]]
    if result["liquidations"]:
        parts.append(Text(_OWED))
    parts += [Text(f"Warning: {sentence}") for sentence in result["warnings"]]
    parts.append(Text(_CHECKED[result["margin_checked_on"]]))
    if folder is not None:
        parts.append(Text(f"Tables in {folder}"))
    return Group(*parts)


def _verdict(row: Json) -> str:
    """What a manager asks first."""
    gained, carry, sd = (dollars(row[f"{name}_usd"]) for name in ("pnl", "net_carry", "volatility"))
    moves = dollars(row["pnl_usd"] - row["net_carry_usd"])
    under, over = (percent(row[name], 0) for name in ("under_hedged", "over_hedged"))
    count = row["liquidations"]
    lost = "no liquidation" if not count else f"{count} liquidation{'s' if count > 1 else ''}"
    effective = row["hedge_effectiveness"]
    hedged = "" if effective is None else f", a hedge effectiveness of {percent(effective, 3)}"
    return (
        f"{row['strategy']}: P&L {gained} = carry {carry} (funding less all costs) + price moves {moves}; "
        f"{sd} of volatility a day{hedged}; {under} under-hedged, {over} over-hedged; {lost}\n"
    )


def _selected(chosen: Json) -> str:
    """What choosing settings while walking was worth."""
    picks, after = chosen["picks"], chosen["out_of_sample"]

    def day(row: Json) -> str:
        return f"{dollars(row['pnl_usd'])} a day, sd {dollars(row['volatility_usd'])}"

    return (
        f"\nSettings were chosen {len(picks)} times, last {picks[-1]['chosen']} at {picks[-1]['time']}. "
        f"After {after['start']}: selected {day(after['selected'])}; as stated {day(after['as_stated'])}; "
        f"best in hindsight {after['best_in_hindsight']}"
    )


def _called(causes: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Who decided between the decisions of the clock, and why."""
    for name, counts in causes.items():
        if set(counts) - {"clock"}:
            each = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in counts.items())
            yield f"{name}: {sum(counts.values())} decisions, by cause {each}"


def _unmet(row: Json) -> Iterator[str]:
    """What a strategy wanted and did not get."""
    if row["unanswered"]:
        yield (
            f"{row['strategy']}: {row['unanswered']} of {row['decisions']} decisions had no answer, and left "
            "everything as it was; result.json and the log say why"
        )
    if row["rejected"]:
        why = " or ".join(_REASONS[reason] for reason in row["rejected_for"].split(", "))
        yield (
            f"{row['strategy']}: venues refused {row['rejected']} orders for {why}, at most "
            f"{dollars(row['rejected_usd'])} at once"
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
        broke = row["worst_margin_use"] is None and row["liquidations"]
        table.add_row(
            row["strategy"],
            dollars(row["volatility_usd"]),
            percent(row["hedge_effectiveness"], 3),
            _ratio(row["calibration"]),
            percent(row["over_hedged"], 0),
            percent(row["under_hedged"], 0),
            "gone" if broke else percent(row["worst_margin_use"], 0),
            str(row["liquidations"]),
        )
    return table


def _money(result: Json) -> Table:
    """Per day of the walk; what nobody paid has no column."""
    rows = result["strategies"]
    rare = [name for name in ("transfers", "liquidation") if any(row[f"{name}_usd"] for row in rows)]
    names = ["P&L", "net carry", "funding", "trading", *rare, "turnover"]
    table = _table("\nMoney per day; net carry is funding less trading and other costs", "strategy", *names)
    for row in rows:
        trading = row["fees_usd"] + row["slippage_usd"] + row["impact_usd"]
        paid = [row["funding_usd"], trading, *(row[f"{name}_usd"] for name in rare)]
        figures = [row["pnl_usd"], row["net_carry_usd"], *paid, row["turnover_usd"]]
        table.add_row(row["strategy"], *(dollars(figure / row["span_days"]) for figure in figures))
    return table


def _differences(result: Json) -> Table:
    first = result["differences"][0]["strategy"]
    table = _table(f"\n{first} against, with 95 % intervals", "rival", "sd ratio", "", "P&L a day more", "")
    for row in result["differences"]:
        least, most = row["pnl_interval"]
        table.add_row(
            row["against"],
            _ratio(row["volatility_ratio"]),
            " to ".join(_ratio(end) for end in row["volatility_interval"]),
            dollars(row["pnl_usd"]),
            f"{dollars(least)} to {dollars(most)}",
        )
    return table


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
