"""The page of a backtest: rivals side by side, wealth and margin through time, funding, calibration."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from allocator.report import backtest_figures as figures
from allocator.report import numbers, shell, svg, table
from allocator.report.backtest_figures import Walked
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import Form, size, tag
from allocator.report.table import Table
from allocator.report.verdict import light
from allocator.runs import MANIFEST, Run

_TABLES = ("wealth", "ledger", "venues", "decisions")
_MOST_VENUES, _MOST_BROKEN = (
    12,
    6,
)  # pictures of venues: of the first strategy, and where others were liquidated
_SECTIONS = (
    ("rivals", "Rivals"),
    ("wealth", "Wealth"),
    ("margin", "Margin"),
    ("funding", "Funding"),
    ("calibration", "Calibration"),
    ("decisions", "Decisions"),
    ("provenance", "Provenance"),
)
_RISK: Sequence[tuple[str, str, Form]] = (
    (">sd a day", "volatility_usd", numbers.dollars),
    (">effectiveness", "hedge_effectiveness", numbers.percent2),
    (">realised/predicted", "calibration", numbers.ratio),
    (">over-hedged", "over_hedged", numbers.percent),
    (">under-hedged", "under_hedged", numbers.percent),
    (">worst margin use", "worst_margin_use", numbers.percent),
    (">least distance to liquidation", "smallest_liquidation_distance", numbers.percent),
    (">liquidations", "liquidations", numbers.count),
    (">unanswered", "unanswered", numbers.count),
    (">orders refused", "rejected", numbers.count),
)
_MONEY: Sequence[tuple[str, str, Form]] = (
    (">P&L", "pnl_usd", numbers.dollars),
    (">behind foresight", "regret_usd", numbers.dollars),
    *((f">{name.removesuffix('_usd').replace('_', ' ')}", name, numbers.dollars)
    for name in (
        "net_carry_usd", "funding_usd", "fees_usd", "slippage_usd", "impact_usd", "transfers_usd",
        "liquidation_usd", "turnover_usd",
    )),
)  # fmt: skip


def page(run: Run) -> str:
    """HTML of a verified backtest; the same backtest gives the same bytes.

    Every number that is shown as text points to its file: ``result.json#/…``, or of many rows of a table
    ``ledger.parquet#sum(usd)?strategy=…&kind=funding``.
    """
    result = Node(json.loads(run.text("result.json")), "result.json#")
    manifest = Node(json.loads(run.text(MANIFEST)), f"{MANIFEST}#")
    walked = Walked(result, {name: pd.read_parquet(run.folder / f"{name}.parquet") for name in _TABLES})
    lost = bool(walked.liquidations(walked.names[0]))
    state = ("liquidated", False) if lost else ("no liquidation", True)
    body = [
        _synthetic(result),
        _verdict(walked),
        shell.contents(_SECTIONS),
        _rivals(walked),
        _wealth(walked),
        _margin(walked),
        _funding(walked),
        _breakdowns(walked),
        _calibration(walked),
        _selection(result),
        _decisions(walked),
        shell.provenance(manifest, ("run", str(result["run_id"]))),
    ]
    name, span = str(result["scenario"]), f"backtest {result['start']} to {result['end']} · "
    return shell.whole(
        f"{name} · backtest", shell.header(name, state, str(result["run_id"]), span), join(body, "\n")
    )


def _synthetic(result: Node) -> Html:
    if not result["synthetic"].value:
        return Html("")
    said = "The market of this walk was drawn from a model, not recorded: it shows the machinery only."
    return el("p", "synthetic", el("b", "", "Synthetic. "), said)


def _verdict(walked: Walked) -> Html:
    row = walked.result["strategies"][0]
    days = row["span_days"].value
    earned, carry = row["pnl_usd"], row["net_carry_usd"]
    word = " gained " if earned.value >= 0 else " lost "
    risk: list[Content] = [
        "Its P&L had a standard deviation of ",
        tag(row["volatility_usd"], numbers.dollars),
    ]
    risk.append(" a day")
    if row["hedge_effectiveness"].value is not None:
        risk += [", a hedge effectiveness of ", tag(row["hedge_effectiveness"], numbers.percent2)]
    if row["calibration"].value is not None:
        risk += [", and was ", tag(row["calibration"], numbers.ratio), " times as volatile as predicted"]
    lost = row["liquidations"]
    safe: list[Content] = ["No venue was liquidated; "]
    if lost.value:
        safe = [tag(lost, numbers.count), " liquidations; "]
    use = row["worst_margin_use"]
    safe.append(
        "the most margin used at a venue was " if use.value is not None else "equity ran out at a venue"
    )
    if use.value is not None:
        safe.append(tag(use, numbers.percent))
    checked = f" Margin was checked on {walked.result['margin_checked_on']}."
    first = el(
        "strong",
        "",
        f"{walked.names[0]}{word}",
        size(earned, numbers.dollars),
        f" in {days:g} days.",
    )
    of_it = ["Of that ", tag(carry, numbers.dollars), " is carry: funding less all costs."]
    hedged: list[Content] = [
        "Of the exposure through time ",
        tag(row["under_hedged"], numbers.percent),
        " was under-hedged by more than 5 %, ",
        tag(row["over_hedged"], numbers.percent),
        " over-hedged.",
    ]
    return shell.paragraphs(first, join(of_it), join([*risk, "."]), join(hedged), join([*safe, ".", checked]))


def _strategies(walked: Walked, columns: Sequence[tuple[str, str, Form]], name: str, caption: str) -> Html:
    there = [column for column in columns if column[1] in walked.result["strategies"][0]]
    rows = [
        (str(row["strategy"]), *(tag(row[key], form) for _, key, form in there))
        for row in walked.result["strategies"]
    ]
    return table.draw(Table(name, caption, ("strategy", *(head for head, _, _ in there)), rows))


def _rivals(walked: Walked) -> Html:
    drawn = [svg.draw(figures.carry(walked))]
    if walked.result["differences"]:
        drawn += [svg.draw(figures.calmer(walked)), svg.draw(figures.richer(walked))]
        said = shell.note("Intervals: stationary bootstrap over days (Politis and Romano 1994).")
    else:
        said = shell.note("Fewer than ten days, or no rival: differences have no intervals.")
    return shell.section(
        "rivals",
        "Rivals side by side",
        shell.pictures(*drawn),
        said,
        _strategies(walked, _RISK, "risk-list", "Risk"),
        _strategies(walked, _MONEY, "money-list", "Money over the whole span, received > 0"),
    )


def _wealth(walked: Walked) -> Html:
    drawn = [figures.wealth(walked)]
    if "no_hedge" in walked.names:
        drawn.append(figures.wealth(walked, unhedged=True))
    return shell.section("wealth", "Wealth", shell.pictures(*map(svg.draw, drawn)))


def _margin(walked: Walked) -> Html:
    first = walked.names[0]
    places = [(first, venue) for venue in walked.venues(first)][:_MOST_VENUES]
    broken = [(str(row["strategy"]), str(row["venue"])) for row in walked.liquidations()]
    places += [place for place in dict.fromkeys(broken) if place not in places][:_MOST_BROKEN]
    drawn = [svg.draw(figures.margin_use(walked))]
    drawn += [svg.draw(figures.margin(walked, *place)) for place in places]
    rows = [
        (
            str(row["strategy"]),
            str(row["venue"]),
            str(row["time"]),
            tag(row["equity_usd"], numbers.dollars),
            tag(row["maintenance_margin_usd"], numbers.dollars),
        )
        for row in walked.result["liquidations"]
    ]
    columns = ("strategy", "venue", "time", ">equity", ">maintenance margin")
    told = table.draw(Table("liquidation-list", "Liquidations", columns, rows)) if rows else None
    return shell.section(
        "margin", "Equity and margin", shell.pictures(*drawn), told or shell.note("No venue was liquidated.")
    )


def _funding(walked: Walked) -> Html:
    flows = walked.frame("ledger")
    paid = flows.table[flows.table["kind"] == "funding"]
    places = paid[["strategy", "venue"]].drop_duplicates()
    rows = []
    for strategy, venue in zip(places["strategy"], places["venue"], strict=True):
        where = {"strategy": strategy, "venue": venue, "kind": "funding"}
        rows.append((str(strategy), str(venue), tag(flows.of("sum", "usd", where), numbers.dollars)))
    columns = ("strategy", "venue", ">funding received")
    return shell.section(
        "funding",
        "Funding by venue",
        shell.pictures(svg.draw(figures.funding(walked, walked.names[0]))),
        table.draw(Table("funding-list", "Funding over the whole span", columns, rows)),
    )


_FLOWS = (
    "price",
    "holding",
    "revaluation",
    "funding",
    "fees",
    "slippage",
    "impact",
    "transfers",
    "liquidation",
)


def _breakdowns(walked: Walked) -> Html:
    """Where the money of the first strategy was made, by coin, venue and month, where the result holds it."""
    found = walked.result.get("breakdowns")
    if not found:
        return Html("")
    drawn = []
    for by in ("coin", "venue", "month"):
        rows = [row for row in found if row["by"].value == by and row["strategy"].value == walked.names[0]]
        if not rows:
            continue
        flows = [flow for flow in _FLOWS if f"{flow}_usd" in rows[0]]
        cells = [
            (
                str(row["name"]),
                *(tag(row[f"{flow}_usd"], numbers.dollars) for flow in flows),
                tag(row["total_usd"], numbers.dollars),
            )
            for row in rows
        ]
        columns = (by, *(f">{flow}" for flow in flows), ">total")
        drawn.append(table.draw(Table(f"by-{by}", f"By {by}, {walked.names[0]}", columns, cells)))
    return shell.section("breakdowns", "Where the money came from", *drawn)


def _calibration(walked: Walked) -> Html:
    first = walked.names[0]
    drawn = [svg.draw(figures.predicted(walked, first)), svg.draw(figures.calibration(walked))]
    if (by_model := figures.models(walked, first)).rows:
        drawn.append(svg.draw(by_model))
    warned = [light("watch", str(each)) for each in walked.result.get("warnings") or []]
    watched = el("ul", "lights", *warned) if warned else Html("")
    said = shell.note(
        "A decision predicts the standard deviation of its P&L over the decision horizon; costs of trading "
        "fall into the same time and are small against it."
    )
    return shell.section("calibration", "Calibration", watched, shell.pictures(*drawn), said)


def _selection(result: Node) -> Html:
    """What choosing settings while walking was worth; nothing where none were chosen."""
    chosen = result.get("selection")
    if chosen is None:
        return Html("")
    after, picks = chosen["out_of_sample"], chosen["picks"]
    days = [("selected", after["selected"]), ("as stated", after["as_stated"])]
    days += [(name, after["candidates"][name]) for name in after["candidates"].value]
    rows = [
        (
            name,
            tag(row["pnl_usd"], numbers.dollars),
            tag(row["volatility_usd"], numbers.dollars),
            tag(row["score_usd"], numbers.dollars),
        )
        for name, row in days
    ]
    said = (
        f"At each of {len(picks.value)} times the candidate with the best score so far was chosen: mean P&L "
        f"of a day less λ/2 times its variance. Out of sample, after {after['start']}:"
    )
    columns = ("settings", ">P&L a day", ">sd a day", ">score a day")
    return shell.section(
        "selection",
        "Settings chosen while walking",
        el("p", "", said),
        table.draw(Table("selection-list", "Out of sample", columns, rows)),
    )


def _decisions(walked: Walked) -> Html:
    made = walked.tables["decisions"]
    failed = made[made["status"] != "optimal"]
    row = walked.result["strategies"][0]
    said = shell.note(
        tag(row["decisions"], numbers.count), f" decisions of {walked.names[0]}, ",
        tag(row["unanswered"], numbers.count), " without an answer: then everything stays as it is.",
    )  # fmt: skip
    if not len(failed):
        return shell.section("decisions", "Decisions", said)
    rows = [
        (str(each.strategy), f"{each.time:%Y-%m-%dT%H:%MZ}", str(each.status), str(each.message))
        for each in failed.itertuples()
    ]
    columns = ("strategy", "time", "status", "why")
    return shell.section(
        "decisions", "Decisions", said, table.draw(Table("failed-list", "Without an answer", columns, rows))
    )
