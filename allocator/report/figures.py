"""Pictures as data, made from a result: drawn as SVG on the page, and as Plotly figures in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from allocator.report.nodes import Node
from allocator.report.numbers import Form, dollars, percent

Tone = Literal["before", "main", "second", "warn"]


@dataclass(frozen=True)
class Series:
    """Bars or a line: a value per category or per x; `errors` are ± of each."""

    name: str
    values: Sequence[Node]
    tone: Tone = "main"
    errors: Sequence[Node] = ()


@dataclass(frozen=True)
class Bars:
    """Horizontal bars by category; `bands` are allowed ranges per category, None where there is none."""

    title: str
    note: str
    categories: Sequence[str]
    series: Sequence[Series]
    form: Form = dollars
    bands: Sequence[tuple[float, float] | None] = ()


def largest(figure: Bars, most: int) -> Bars:
    """The bars of the categories with the largest values, in their order; the note says what is left out."""
    count = len(figure.categories)
    if count <= most:
        return figure

    def reach(k: int) -> float:
        return max(abs(series.values[k].number() or 0.0) for series in figure.series)

    kept = sorted(sorted(range(count), key=reach, reverse=True)[:most])
    return replace(
        figure,
        note=f"{figure.note} The {most} largest of {count}.",
        categories=[figure.categories[k] for k in kept],
        series=[
            replace(
                series,
                values=[series.values[k] for k in kept],
                errors=[series.errors[k] for k in kept] if series.errors else (),
            )
            for series in figure.series
        ],
        bands=[figure.bands[k] for k in kept] if figure.bands else (),
    )


@dataclass(frozen=True)
class Mark:
    """A vertical line at x."""

    x: Node
    label: str


@dataclass(frozen=True)
class Lines:
    """Lines over a common x."""

    title: str
    note: str
    x: Sequence[Node]
    x_title: str
    series: Sequence[Series]
    marks: Sequence[Mark] = ()
    x_form: Form = percent
    form: Form = dollars


def net_delta(result: Node) -> Bars:
    """Net delta per coin before and after, on the band that limits state."""
    coins = list(result["risk"]["by_asset"])
    bands = [_band(result, str(coin["asset"])) for coin in coins]
    before = [coin["previous_net_delta_usd"] for coin in coins]
    after = [coin["net_delta_usd"] for coin in coins]
    note = "Exposure plus hedges; shaded: the band allowed." if any(bands) else "Exposure plus hedges."
    return Bars(
        title="Net delta by coin",
        note=note,
        categories=[str(coin["asset"]) for coin in coins],
        series=[Series("before", before, "before"), Series("after", after, "main")],
        bands=bands,
    )


def _band(result: Node, asset: str) -> tuple[float, float] | None:
    """The tightest net-delta band of a coin in USD; None unless both of its ends are limits."""
    rows = [row for row in result.value["limits"] if row["kind"] == "net_delta" and row["subject"] == asset]
    lows = [-row["bound"] for row in rows if row["name"].endswith(".min") and row["bound"] is not None]
    highs = [row["bound"] for row in rows if row["name"].endswith(".max") and row["bound"] is not None]
    return (max(lows), min(highs)) if lows and highs else None


def risk_by_source(result: Node) -> Bars:
    """Volatility of each source alone, USD per decision horizon."""
    sources = result["risk"]["by_source"]
    names = list(sources.value)
    return Bars(
        title="Volatility by source",
        note="Each source alone; together they add in squares.",
        categories=names,
        series=[Series("volatility", [sources[name] for name in names])],
    )


def risk_by_asset(result: Node) -> Bars:
    """Share of the hedged variance that each coin carries (Euler)."""
    coins = list(result["risk"]["by_asset"])
    return Bars(
        title="Share of variance by coin",
        note="Coin moves and basis; below zero it diversifies the rest.",
        categories=[str(coin["asset"]) for coin in coins],
        series=[Series("share", [coin["variance_share"] for coin in coins])],
        form=percent,
    )


def risk_by_venue(result: Node) -> Bars:
    """Share of the hedged variance that the basis on each venue carries (Euler)."""
    venues = list(result["risk"]["by_venue"])
    return Bars(
        title="Share of variance by venue",
        note="Basis of the positions there; coin moves are not a venue's.",
        categories=[str(venue["name"]) for venue in venues],
        series=[Series("share", [venue["variance_share"] for venue in venues])],
        form=percent,
    )


def equity_by_price(result: Node, venue: str) -> Lines:
    """Equity and maintenance margin of a venue against a common move of all coins."""
    curve = result["equity_by_price"]
    (own,) = (row for row in curve["venues"] if row["name"].value == venue)
    (state,) = (row for row in result["venues"] if row["name"].value == venue)
    reached = state.get("liquidation_move")
    return Lines(
        title=venue,
        note="Equity if all coins move alike, nothing is transferred and no order is sent.",
        x=list(curve["move"]),
        x_title="common move of all coins",
        series=[
            Series("equity", list(own["equity_usd"]), "main"),
            Series("maintenance margin", list(own["maintenance_margin_usd"]), "warn"),
        ],
        marks=[Mark(reached, "liquidation")] if reached is not None else [],
    )


def worst_stress(result: Node) -> Bars:
    """Equity of each venue now and in its worst stress, with the margin it then needs."""
    rows = list(result["venues"])
    return Bars(
        title="Worst stress by venue",
        note="Equity now and in the venue's own worst stress, with the maintenance margin then.",
        categories=[str(row["name"]) for row in rows],
        series=[
            Series("now", [row["equity_usd"] for row in rows], "before"),
            Series("in the stress", [row["worst_stress_equity_usd"] for row in rows], "main"),
            Series("margin then", [row["worst_stress_maintenance_margin_usd"] for row in rows], "warn"),
        ],
    )


def carry(result: Node, by: Literal["venue", "asset"]) -> Bars:
    """Expected funding per decision horizon, ± one standard deviation of its forecast error."""
    rows = list(result["carry"][f"by_{by}"])
    key = "name" if by == "venue" else "asset"
    return Bars(
        title=f"Funding by {'venue' if by == 'venue' else 'coin'}",
        note="Below zero we earn; whiskers: one standard deviation of the forecast's error.",
        categories=[str(row[key]) for row in rows],
        series=[
            Series(
                "funding",
                [row["per_decision_horizon_usd"] for row in rows],
                errors=[row["error_sd_usd"] for row in rows],
            )
        ],
    )
