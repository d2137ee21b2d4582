"""What a person sees: the result of a run as a page of tables that reads from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from allocator.batches_page import batches_table, worst_between
from allocator.figures import amount, dollars, percent
from allocator.plain_tables import page_text, plain_table

Json = Mapping[str, Any]
_MOST_LIMITS = 6
_DUST = 1.0  # USD below which a figure is not worth a line


def page(result: Json, orders: Sequence[Mapping[str, str]], folder: Path | None) -> RenderableType:
    """The whole page of one finished run."""
    if result["status"] == "refused":
        return _refused(result, folder)
    if result["status"] != "optimal":
        return _failed(result, folder)
    parts: list[RenderableType] = [_headline(result, orders), _coins(result)]
    parts.append(_orders(orders) if orders else Text("No orders: every trade costs more than it saves.\n"))
    if result["transfers"]:
        parts.append(_transfers(result))
    if orders or result["transfers"]:
        parts += [batches_table(result["sequence"], orders), worst_between(result["sequence"])]
    parts += [_venues(result), _money(result), _limits(result), _footer(result, folder)]
    return Group(*parts)


def text_of(result: Json, orders: Sequence[Mapping[str, str]], folder: Path | None) -> str:
    """The page as text for stdout: as wide as it is, with colours only on a terminal."""
    return page_text(page(result, orders, folder))


def _headline(result: Json, orders: Sequence[Mapping[str, str]]) -> Text:
    """What to do, whether it is safe, what it costs: three lines."""
    traded = sum(float(order["notional_usd"]) for order in orders)
    moved = sum(t["amount_usd"] for t in result["transfers"])
    risk, cash, hours = result["risk"], result["cash"], f"{result['decision_hours']:g} h"
    what = f"{len(orders)} orders, {dollars(traded)}" if orders else "Nothing to trade"
    transfers = f", and transfers of {dollars(moved)}" if moved >= _DUST else ""
    paid = cash["fees_usd"] + cash["slippage_usd"] + cash["impact_usd"] + cash["transfers_usd"]
    funding, carry = -result["objective"]["funding_usd"], -result["objective"]["carry_usd"]
    text = Text()
    text.append(f"{result['scenario']}  {result['as_of']}\n{what}{transfers}.\n", style="bold")
    text.append(f"Hedge effectiveness {percent(risk['hedge_effectiveness'], 2)}: volatility over {hours} ")
    text.append(f"{dollars(risk['volatility_hedged_usd'])}, ")
    text.append(f"unhedged {dollars(risk['volatility_unhedged_usd'])}.\n")
    text.append(f"Trading costs {dollars(paid)} once; funding ")
    text.append(f"{'earns' if funding >= 0 else 'pays'} {dollars(abs(funding))} per {hours} ")
    text.append(f"(mean over {result['holding_hours']:g} h).\n")
    if abs(carry) >= 0.5:
        text.append(f"Carry of dated futures {'earns' if carry >= 0 else 'pays'} {dollars(abs(carry))} ")
        text.append(f"per {hours}.\n")
    text.append_text(_safety(result))
    return text


def _safety(result: Json) -> Text:
    near = [v for v in result["venues"] if v["liquidation_move"] is not None]
    if not near:
        return Text("No venue can be liquidated by price.\n", style="green")
    nearest = min(near, key=lambda v: abs(v["liquidation_move"]))
    move = nearest["liquidation_move"]
    style = "green" if abs(move) > 0.2 else "yellow" if abs(move) > 0.1 else "bold red"
    return Text(
        f"Nearest liquidation: {nearest['name']}, if all coins move {_move(move)} at once.\n", style=style
    )


def _move(share: float) -> str:
    return f"{share:+.1%}".replace("-", "−")


def _coins(result: Json) -> Table:
    table = plain_table(
        "Coins", "coin", ">exposure", ">hedge before", ">hedge after", ">net delta", ">variance share"
    )
    before: dict[str, float] = {}
    for row in result["positions"]:
        before[row["asset"]] = before.get(row["asset"], 0.0) + row["previous_usd"]
    for row in result["risk"]["by_asset"]:
        table.add_row(
            row["asset"],
            dollars(row["exposure_usd"]),
            dollars(before.get(row["asset"], 0.0)),
            dollars(row["positions_usd"]),
            dollars(row["net_delta_usd"]),
            percent(row["variance_share"]),
        )
    for currency, usd in result["risk"]["currency_exposure"].items():
        table.add_row(currency, "", "", "", dollars(usd), "")
    quote = result["risk"]["by_source"]["quote"] ** 2
    total = sum(usd**2 for usd in result["risk"]["by_source"].values())
    if result["risk"]["currency_exposure"] and total > 0:
        table.add_row("currencies", "", "", "", "", percent(quote / total))
    return table


def _orders(orders: Sequence[Mapping[str, str]]) -> Table:
    table = plain_table(
        "\nOrders", ">#", "venue", ">symbol", "side", ">contracts", ">notional", ">limit", "why"
    )
    for order in orders:
        why = order["reason"].partition(":")[0]
        table.add_row(
            order["seq"],
            order["venue"],
            order["symbol"],
            Text(order["side"], style="green" if order["side"] == "buy" else "red"),
            order["contracts"],
            dollars(float(order["notional_usd"])),
            order["limit_price"] or "market",
            f"{why}*" if order["reduce_only"] == "true" else why,
        )
    if any(order["reduce_only"] == "true" for order in orders):
        table.caption, table.caption_justify = "* reduce-only", "left"
    return table


def _transfers(result: Json) -> Table:
    table = plain_table("\nTransfers", "from", "to", "currency", ">amount", ">cost", "arrives")
    for row in result["transfers"]:
        arrives = "before the orders" if row["arrives_before_orders"] else "later"
        table.add_row(
            row["from"],
            row["to"],
            row["currency"],
            dollars(row["amount_usd"]),
            dollars(row["cost_usd"]),
            arrives,
        )
    return table


def _venues(result: Json) -> Table:
    columns = ("venue", ">equity", ">init. margin", ">liquidated", ">worst stress", ">spare then")
    table = plain_table("\nVenues after the orders", *columns)
    for row in result["venues"]:
        move, stressed = row["liquidation_move"], row["worst_stress"] is not None
        spare = (
            row["worst_stress_equity_usd"] - row["worst_stress_maintenance_margin_usd"] if stressed else None
        )
        table.add_row(
            row["name"],
            dollars(row["equity_usd"]),
            dollars(row["initial_margin_usd"]),
            "never" if move is None else _move(move),
            row["worst_stress"] or "–",
            dollars(spare),
        )
    return table


def _money(result: Json) -> Table:
    """The objective beside the cash: one is charged over the holding horizon, the other leaves today."""
    goal, cash = result["objective"], result["cash"]
    hours = f"{result['decision_hours']:g} h"
    table = plain_table("\nMoney", f"objective per {hours}", ">", "   cash", ">")
    charged = [
        ("risk charge", goal["risk_usd"]),
        ("funding", goal["funding_usd"]),
        ("carry of dated futures", goal["carry_usd"]),
        ("funding uncertainty", goal["funding_uncertainty_usd"]),
        ("trading (h/H)", goal["trading_usd"] + goal["impact_usd"]),
        ("transfers (h/H)", goal["transfer_usd"]),
        ("collateral", goal["collateral_usd"]),
        ("soft limits", goal["breaches_usd"]),
    ]
    paid = [
        ("   fees", cash["fees_usd"]),
        ("   slippage and impact", cash["slippage_usd"] + cash["impact_usd"]),
        ("   transfers", cash["transfers_usd"]),
        ("   funding, next settlement", cash["funding_to_next_settlement_usd"]),
        (f"   funding over {result['holding_hours']:g} h", cash["funding_over_holding_usd"]),
    ]
    if abs(cash["carry_over_holding_usd"]) >= 0.5:
        label = f"   carry over {result['holding_hours']:g} h"
        paid.append((label, cash["carry_over_holding_usd"]))
    charged = [row for row in charged if abs(row[1]) >= 0.5] + [("total", goal["total_usd"])]
    for k in range(max(len(charged), len(paid))):
        left = (charged[k][0], dollars(charged[k][1])) if k < len(charged) else ("", "")
        right = (paid[k][0], dollars(paid[k][1])) if k < len(paid) else ("", "")
        table.add_row(*left, *right)
    return table


def _limits(result: Json) -> RenderableType:
    """The limits that cost most: what 1 % more of bound, or $1,000 where that is more, would save."""
    binding = [row for row in result["limits"] if (row["shadow_price_usd"] or 0) > 0]
    worth = sorted(binding, key=lambda row: -_worth(row))
    shown = [row for row in worth if _worth(row) >= 0.01][:_MOST_LIMITS]
    if not shown:
        return Text("\nNo limit costs anything today.")
    table = plain_table(
        "\nWhat limits cost", "limit", ">bound", f">+$1k saves/{result['decision_hours']:g}h", "set in"
    )
    for row in shown:
        money = row["unit"] == "USD"
        saves = row["shadow_price_usd"] * (1e3 if money else 1.0)
        table.add_row(
            f"{row['name']}\n  {row['subject']}",
            dollars(row["bound"]) if money else f"{row['bound']:g}",
            f"${saves:,.2f}" if money else f"${saves:,.2f} per 1.0",
            row["source"],
        )
    return table


def _worth(row: Json) -> float:
    least = 1e3 if row["unit"] == "USD" else 0.01  # a bound of zero has no per cents
    return float(row["shadow_price_usd"] * max(abs(row["bound"]) * 0.01, least))


def _footer(result: Json, folder: Path | None) -> Text:
    audit, rounded = result["audit"], result["audit"]["rounded"]
    gap, lots = max(audit["duality_gap_usd"], 0.0), max(rounded["gap_usd"], 0.0)
    text = Text("\n")
    text.append("Audit passed. ", style="bold green")
    text.append(
        f"Proven within ${gap:.6f} of the optimum (its terms add up to {dollars(audit['scale_usd'])}); "
    )
    text.append(f"whole lots cost ${lots:,.2f} per {result['decision_hours']:g} h and breach no limit.\n")
    for notice in result["notices"]:
        text.append(f"Note: {notice}\n", style="yellow")
    made = [check for check in result["checks"] if check["outcome"] != "skipped"]
    text.append(f"{len(made)} pre-trade checks passed, {len(result['checks']) - len(made)} not made.\n")
    if folder is not None:
        text.append(f"Run {result['run_id']} in {folder}\n", style="dim")
    return text


def _refused(result: Json, folder: Path | None) -> RenderableType:
    """What the checks say, failures first, then the page that the orders would have led to."""
    head = Text(f"{result['scenario']}  {result['as_of']}  refused by a pre-trade check\n", style="bold red")
    end = Text("\nThe orders are withheld.\n", style="bold")
    if folder is not None:
        end.append(f"Run {result['run_id']} in {folder}\n", style="dim")
    return Group(head, checks_table(result["checks"]), Text(), _coins(result), _venues(result), end)


def checks_table(checks: Sequence[Json]) -> Table:
    """Every pre-trade check with its numbers: those that failed first."""
    table = plain_table("\nPre-trade checks", "check", "", ">value", ">bound", "of", "why")
    styles = {"failed": "bold red", "passed": "green", "skipped": "dim"}
    for check in sorted(checks, key=lambda check: list(styles).index(check["outcome"])):
        outcome, unit = check["outcome"], check["unit"]
        table.add_row(
            check["name"],
            Text(outcome, style=styles[outcome]),
            amount(check["value"], unit),
            amount(check["bound"], unit),
            check["subject"],
            check["reason"],
        )
    return table


def _failed(result: Json, folder: Path | None) -> Text:
    text = Text()
    text.append(f"{result['scenario']}  {result['as_of']}  {result['status']}\n", style="bold red")
    for problem in result.get("errors", []):
        text.append(f"{problem['message']}\n")
    text.append_text(_conflict(result))
    text.append("\nNo orders were written.\n", style="bold")
    if folder is not None:
        text.append(f"Run {result['run_id']} in {folder}\n", style="dim")
    return text


def _conflict(result: Json) -> Text:
    """The limits that cannot hold together, with what each lacks, and the ways out."""
    text = Text()
    if result.get("conflict"):
        text.append(
            "\nThese cannot hold together; any one of them would have to give by its shortfall:\n",
            style="bold",
        )
        for member in result["conflict"]:
            stress = member.get("stress_source")
            text.append(f"  {member['source']}: {member['name']} ({member['subject']})")
            text.append(f", stress at {stress}" if stress else "")
            text.append(f"  {dollars(member.get('shortfall_usd'))}\n")
    if ways := result.get("ways_out"):
        text.append("\nWays out, each solved and audited; the cheapest first:\n", style="bold")
        for way in ways:
            text.append(f"  {way['text']}\n")
            text.append("".join(f"    {c['source']}: {c['name']}\n" for c in way["changes"]), style="dim")
    elif result.get("conflict"):
        text.append("\nNo change of figures that may change suffices: lift a flag, or a hard limit.\n")
    return text
