"""The body of the page: exposures, risk, venues, collateral, carry, orders, transfers."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite

from allocator.report import figures, numbers, svg, table
from allocator.report.html import Content, Html, el, join
from allocator.report.nodes import Node
from allocator.report.numbers import tag
from allocator.report.shell import note, pictures, section
from allocator.report.source import Source
from allocator.report.table import Table

_DUST = 1.0  # USD below which a trade is none
_MOST_PICTURES = 12  # venues, the nearest to liquidation first; the table holds all


def _usd(node: Node) -> Html:
    return tag(node, numbers.dollars)


def exposures(result: Node) -> Html:
    """Net delta per coin before and after, and what is left in each currency."""
    rows = [
        (
            str(coin["asset"]),
            _usd(coin["exposure_usd"]),
            _usd(coin["positions_usd"]),
            _usd(coin["previous_net_delta_usd"]),
            _usd(coin["net_delta_usd"]),
            tag(coin["variance_share"], numbers.percent),
        )
        for coin in result["risk"]["by_asset"]
    ]
    columns = ("coin", ">exposure", ">hedge", ">net before", ">net after", ">share of variance")
    currencies = result["risk"]["currency_exposure"]
    held = Table(
        "currencies",
        "Currency exposure",
        ("currency", ">exposure"),
        [(name, _usd(currencies[name])) for name in currencies.value],
    )
    parts = [pictures(svg.draw(figures.net_delta(result)))]
    parts.append(table.draw(Table("coins", "Coins", columns, rows)))
    return section("exposure", "Net delta", *parts, *([table.draw(held, tools=False)] if currencies else []))


def risk(result: Node) -> Html:
    """Where the risk comes from."""
    drawn = [svg.draw(make(result)) for make in (figures.risk_by_source, figures.risk_by_asset)]
    drawn.append(svg.draw(figures.risk_by_venue(result)))
    hours = f"{result['decision_hours'].value:g} h"
    said = (
        f"One standard deviation over {hours}. The 99 % loss is 2.326 standard deviations of a Gaussian law; "
        "returns of coins have fatter tails, so read it as a yardstick. The stresses below are not Gaussian."
    )
    return section("risk", "Where the risk comes from", pictures(*drawn), note(said))


def venues(result: Node) -> Html:
    """Margin, distance to liquidation, worst stress; and equity against price, a picture per venue."""
    rows = [_venue(row) for row in result["venues"]]
    columns = (
        "venue", ">equity", ">initial margin", ">maintenance margin", ">margin ratio", ">liquidated at",
        ">cushion", ">in sd", "worst stress", ">equity then", ">margin then",
    )  # fmt: skip
    names = [row["name"].value for row in sorted(result["venues"], key=_nearness)][:_MOST_PICTURES]
    drawn = [svg.draw(figures.equity_by_price(result, name)) for name in names]
    said = note(
        "Liquidated at: the nearest common move of all coins at which equity meets maintenance margin. "
        f"In sd: equity above maintenance margin, in standard deviations of its own change over "
        f"{result['decision_hours'].value:g} h (prices, basis and currencies together)."
    )
    return section(
        "venues", "Venues", table.draw(Table("margin", "Margin after the orders", columns, rows)), said,
        pictures(svg.draw(figures.worst_stress(result)), *drawn),
    )  # fmt: skip


def _nearness(row: Node) -> float:
    """How far liquidation is; what cannot be liquidated is far."""
    reached = row["liquidation_move"].number()
    return inf if reached is None else abs(reached)


def _venue(row: Node) -> Sequence[Content]:
    reached = row["liquidation_move"]
    return (
        str(row["name"]),
        _usd(row["equity_usd"]),
        _usd(row["initial_margin_usd"]),
        _usd(row["maintenance_margin_usd"]),
        tag(row["margin_ratio"], numbers.percent),
        "never" if reached.value is None else tag(reached, numbers.move),
        _usd(row["cushion_usd"]),
        tag(row["cushion_sigmas"], numbers.sigmas),
        str(row["worst_stress"]),
        _usd(row["worst_stress_equity_usd"]),
        _usd(row["worst_stress_maintenance_margin_usd"]),
    )


def collateral(result: Node) -> Html:
    """Where the next dollar of collateral goes, and what the scenario's figures cost."""
    title = "Where the next collateral dollar goes"
    explained = result.get("explanation")
    if explained is None:
        said = "This result holds no collateral prices; what each limit costs stands under Limits."
        return section("collateral", title, note(said))
    worth = [row for row in explained["collateral"] if (row["saves_per_step_usd"].number() or 0.0) >= 0.005]
    ranked = sorted(worth, key=lambda row: -(row["saves_per_step_usd"].number() or 0.0))
    parts = [_priced("collateral-prices", "Collateral, ranked", ranked)] if ranked else []
    if not ranked:
        parts.append(note("No venue needs more collateral: another dollar saves nothing on any of them."))
    if explained["prices"]:
        parts.append(_priced("figure-prices", "What the scenario's figures cost", list(explained["prices"])))
    return section("collateral", title, *parts)


def _priced(name: str, caption: str, rows: Sequence[Node]) -> Html:
    columns = ("figure", ">value", "unit", ">step", ">saves per step", "in words", "set in")
    cells = [
        (
            str(row["name"]),
            tag(row["value"], numbers.of_unit(row["unit"].value)),
            str(row["unit"]),
            tag(row["step"], numbers.plain),
            _usd(row["saves_per_step_usd"]),
            str(row["text"]),
            str(row["source"]),
        )
        for row in rows
    ]
    return table.draw(Table(name, caption, columns, cells))


def carry(result: Node) -> Html:
    """Expected funding with its uncertainty."""
    by = result["carry"]
    rows = [(str(row["name"]), str(row["asset"]), *_carried(row)) for row in by["by_venue_and_asset"]]
    whole = el("p", "", "In all ", join(_total(by["total"], result)))
    holding = f"{result['holding_hours'].value:g} h"
    columns = (
        "venue", "coin", ">position", ">next settlement", f">per {result['decision_hours'].value:g} h",
        ">sd of its error", f">over {holding}",
    )  # fmt: skip
    said = note(
        f"Below zero we earn. The figure per {result['decision_hours'].value:g} h is the mean over the "
        f"holding horizon of {holding}; errors that venues and coins share do not cancel in the totals."
    )
    drawn = pictures(svg.draw(figures.carry(result, "venue")), svg.draw(figures.carry(result, "asset")))
    return section(
        "carry", "Carry", whole, drawn, table.draw(Table("funding", "Expected funding", columns, rows)), said
    )


def _carried(row: Node) -> Sequence[Html]:
    keys = (
        "position_usd", "to_next_settlement_usd", "per_decision_horizon_usd", "error_sd_usd",
        "over_holding_horizon_usd",
    )  # fmt: skip
    return [_usd(row[key]) for key in keys]


def _total(row: Node, result: Node) -> list[Content]:
    def verb(node: Node) -> Content:
        word = "earned " if node.value <= 0 else "paid "
        return join([word, numbers.size(node, numbers.dollars)])

    return [
        verb(row["to_next_settlement_usd"]), " to the next settlements, ",
        verb(row["per_decision_horizon_usd"]), " (± ", _usd(row["error_sd_usd"]),
        f") per {result['decision_hours'].value:g} h, ", verb(row["over_holding_horizon_usd"]),
        f" over {result['holding_hours'].value:g} h.",
    ]  # fmt: skip


def orders(source: Source) -> Html:
    """Orders with what each costs, transfers, and what is not traded."""
    parts: list[Html] = []
    if source.status == "refused":
        parts.append(note("The orders are withheld: a pre-trade check failed, see below."))
    elif not source.orders:
        parts.append(note("No orders."))
    else:
        parts.append(_orders(source.orders))
    if source.result.get("sequence", "worst") is not None:
        parts.append(_sequence(source.result["sequence"]["worst"]))
    parts.append(_transfers(source.result))
    if source.schedule and source.status != "refused":
        parts.append(_schedule(source.schedule))
    parts.append(_withheld(source.result))
    return section("orders", "Orders and transfers", *parts)


def _orders(rows: Node) -> Html:
    batched = "batch" in rows[0]
    columns = (
        ">#", *([">batch"] if batched else []), "venue", "account", "symbol", "side", ">contracts",
        ">notional", ">limit price", ">fee", ">slippage", ">funding, next", "reduce-only", "why",
        "client order id",
    )  # fmt: skip
    cells = [
        (
            tag(row["seq"], numbers.count),
            *([tag(row["batch"], numbers.count)] if batched else []),
            str(row["venue"]),
            str(row["account"]),
            str(row["symbol"]),
            el("span", str(row["side"]), str(row["side"])),
            tag(row["contracts"], numbers.exact),
            _usd(row["notional_usd"]),
            tag(row["limit_price"], numbers.exact) if row["limit_price"].value else "market",
            _usd(row["expected_fee_usd"]),
            _usd(row["expected_slippage_usd"]),
            _usd(row["funding_to_next_settlement_usd"]),
            "yes" if row["reduce_only"].value == "true" else "no",
            str(row["reason"]),
            el("code", "", str(row["client_order_id"])),
        )
        for row in rows
    ]
    return table.draw(Table("order-list", "Orders, in the order to send them", columns, cells))


def _transfers(result: Node) -> Html:
    if not result["transfers"]:
        return note("No transfers.")
    rows = [
        (
            str(row["from"]),
            str(row["to"]),
            str(row["currency"]),
            _usd(row["amount_usd"]),
            _usd(row["cost_usd"]),
            "before the orders" if row["arrives_before_orders"].value else "later",
        )
        for row in result["transfers"]
    ]
    columns = ("from", "to", "currency", ">amount", ">cost", "arrives")
    return table.draw(Table("transfer-list", "Transfers", columns, rows))


def _sequence(worst: Node) -> Html:
    """The tightest moment between the first transfer and the last fill."""
    where = f" on {worst['venue']}" if worst.get("venue") else ""
    return note(
        f"On the way there the tightest state is {worst['state']}{where}: slack ",
        _usd(worst["slack_usd"]),
        f" of {worst['limit']}, volatility ",
        _usd(worst["volatility_usd"]),
        ".",
    )


def _schedule(rows: Node) -> Html:
    """When each order is sent in which slices, with the columns of its file."""
    names = [name for name in rows[0].value if name != "run_id"]
    number = [all(_is_number(row[name]) for row in rows) for name in names]
    columns = [f"{'>' if n else ''}{name.replace('_', ' ')}" for name, n in zip(names, number, strict=True)]
    cells = [
        [
            tag(row[name], numbers.exact) if n else str(row[name])
            for name, n in zip(names, number, strict=True)
        ]
        for row in rows
    ]
    return table.draw(Table("schedule", "Schedule of slices", columns, cells))


def _is_number(node: Node) -> bool:
    """Whether a cell of a file is a number, or empty."""
    try:
        return node.number() is None or isfinite(node.number() or 0.0)
    except ValueError:
        return False


def _withheld(result: Node) -> Html:
    """Positions that stay, and why."""
    rows = [
        (
            str(row["venue"]),
            str(row["account"]),
            str(row["symbol"]),
            _usd(row["previous_usd"]),
            _usd(row["target_usd"]),
            _why_not(row),
        )
        for row in result["positions"]
        if row["trade_usd"].value == 0.0
        and (row["previous_usd"].value or abs(row["target_usd"].value) >= _DUST)
    ]
    if not rows:
        return note("No held position is left as it is.")
    columns = ("venue", "account", "symbol", ">held", ">optimum", "why no trade")
    return table.draw(Table("withheld", "Not traded", columns, rows))


def _why_not(row: Node) -> str:
    if abs(row["target_usd"].value - row["previous_usd"].value) < _DUST:
        return "the optimum stays: a trade costs more than it gains, or a limit forbids it"
    return "the trade is below a whole lot or the least trade, or was rounded away to keep a limit"
