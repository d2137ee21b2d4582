"""Objects as notebooks show them: a few lines and a small table, escaped, without style sheets or scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from allocator.report.frontier_figures import form_of
from allocator.report.html import Content, Html, el, join
from allocator.report.numbers import Form, dollars, percent2, ratio

Json = Mapping[str, Any]

MOST_ROWS = 12


def card(title: str, lines: Iterable[str], *tables: Html) -> str:
    """A title, sentences, tables."""
    said = [el("p", {"style": "margin:.2em 0"}, line) for line in lines]
    return el("div", {"style": "max-width:60em"}, el("b", "", title), *said, *tables)


def rows(columns: Sequence[str], found: Sequence[Sequence[Content]]) -> Html:
    """A table of at most `MOST_ROWS` rows, and how many are left out; columns that start with > are right."""
    if not found:
        return Html("")
    sides = ["right" if column.startswith(">") else "left" for column in columns]
    heads = [_cell("th", column.lstrip(">"), side) for column, side in zip(columns, sides, strict=True)]
    body = [
        el("tr", "", *(_cell("td", content, side) for content, side in zip(row, sides, strict=True)))
        for row in found[:MOST_ROWS]
    ]
    drawn = el("table", "", el("thead", "", el("tr", "", *heads)), el("tbody", "", *body))
    left = len(found) - MOST_ROWS
    return join([drawn, el("p", "", f"{left:,} more.")]) if left > 0 else drawn


def _cell(kind: str, content: Content, side: str) -> Html:
    return el(kind, {"style": f"text-align:{side}"}, content)


def of_allocation(result: Json, orders: Sequence[Json]) -> str:
    """An allocation: what to do, what it costs, and its orders (columns as in the order list)."""
    risk, cash = result["risk"], result["cash"]
    paid = sum(cash[name] for name in ("fees_usd", "slippage_usd", "impact_usd", "transfers_usd"))
    hours, funding = result["decision_hours"], result["objective"]["funding_usd"]
    lines = [
        f"{result['status']} as of {result['as_of']}: {len(orders)} orders for "
        f"{dollars(result['summary']['traded_usd'])}, {len(result['transfers'])} transfers.",
        f"Volatility over {hours:g} h {dollars(risk['volatility_hedged_usd'])}, unhedged "
        f"{dollars(risk['volatility_unhedged_usd'])}. Costs {dollars(paid)} once; funding "
        f"{'earns' if funding <= 0 else 'costs'} {dollars(abs(funding))} per {hours:g} h.",
    ]
    table = rows(
        ("venue", "symbol", "side", ">contracts", ">notional", ">limit price"),
        [
            (
                str(order["venue"]),
                str(order["symbol"]),
                str(order["side"]),
                str(order["contracts"]),
                dollars(float(order["notional_usd"])),
                str(order["limit_price"] or "market"),
            )
            for order in orders
        ],
    )
    return card(f"{result['scenario']}, run {result['run_id']}", lines, table)


def of_sweep(result: Json, best: Sequence[tuple[str, float, float]]) -> str:
    """A sweep: how many cells, and some of them by name with objective and volatility in USD."""
    counts = ", ".join(f"{count:,} {status}" for status, count in result["by_status"].items())
    keys = ", ".join(result["swept"])
    lines = [f"{result['cells']:,} cells: {counts}.", f"Swept: {keys}.", "The cheapest:" if best else ""]
    found = [(name, dollars(total), dollars(risk)) for name, total, risk in best]
    return card(f"Sweep of {result['scenario']}", lines, rows(("cell", ">objective", ">volatility"), found))


def of_backtest(result: Json) -> str:
    """A backtest: its strategies side by side."""
    what = "a SYNTHETIC market" if result["synthetic"] else "the recorded market"
    lines = [f"{result['start']} to {result['end']}, {what}."]
    found = [
        (
            row["strategy"],
            dollars(row["volatility_usd"]),
            _optional(row["hedge_effectiveness"], percent2),
            dollars(row["net_carry_usd"]),
            _optional(row["calibration"], ratio),
            str(row["liquidations"]),
        )
        for row in result["strategies"]
    ]
    columns = (
        "strategy",
        ">sd a day",
        ">effectiveness",
        ">net carry",
        ">realised/predicted",
        ">liquidations",
    )
    return card(f"Backtest of {result['scenario']}", lines, rows(columns, found))


def _optional(value: float | None, form: Form) -> str:
    return "–" if value is None else form(value)


def of_frontier(result: Json) -> str:
    """A frontier: what is traded for what, its points, and the plans beside it."""
    x, y = result["x"], result["y"]
    forms = form_of(str(x["unit"])), form_of(str(y["unit"]))
    line = (
        f"{len(result['points'])} points as of {result['as_of']}, each the least {result['minimised']} for "
        f"its {result['bounded']}, per {result['decision_hours']:g} h."
    )
    plans = [(f"point {row['point']}", row) for row in result["points"]]
    plans += [
        (f"{row['label']}{'' if row['permitted'] else ', breaks limits'}", row)
        for row in result["references"]
    ]
    shown = [(name, forms[0](row["x"]), forms[1](row["y"])) for name, row in plans]
    table = rows(("plan", f">{x['name']}", f">{y['name']}"), shown)
    return card(f"frontier {result['scenario']}", [line], table)
