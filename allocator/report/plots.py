"""The page's figures as Plotly figures, for notebooks; Plotly is loaded only where one is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from allocator.report import figures
from allocator.report.figures import Bars, Figure, Lines
from allocator.report.nodes import Node
from allocator.report.numbers import dollars

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_COLOURS = {"before": "#a9b6c4", "main": "#1f5fa8", "second": "#0f766e", "warn": "#b3401f"}
_BAND = "rgba(29, 107, 53, 0.15)"


def of_result(result: Mapping[str, Any]) -> dict[str, go.Figure]:
    """All figures of an optimal result by name: net delta, risk, carry, and equity by price per venue."""
    node = Node(dict(result), "result.json#")
    found: dict[str, Figure] = {
        "net_delta": figures.net_delta(node),
        "risk_by_source": figures.risk_by_source(node),
        "risk_by_asset": figures.risk_by_asset(node),
        "risk_by_venue": figures.risk_by_venue(node),
        "carry_by_venue": figures.carry(node, "venue"),
        "carry_by_asset": figures.carry(node, "asset"),
    }
    for venue in result["equity_by_price"]["venues"]:
        found[f"equity_by_price {venue['name']}"] = figures.equity_by_price(node, venue["name"])
    return {name: plotly_figure(figure) for name, figure in found.items()}


def plotly_figure(figure: Figure) -> go.Figure:
    """One figure. Raises `ImportError` naming what to install where Plotly is absent."""
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError("pictures in notebooks need Plotly: pip install plotly") from error

    drawn = go.Figure()
    for trace in _bars(figure) if isinstance(figure, Bars) else _lines(figure):
        drawn.add_trace(trace)
    if isinstance(figure, Lines):
        for mark in figure.marks:
            drawn.add_vline(x=mark.x.number(), line_dash="dot", annotation_text=mark.label)
        drawn.update_layout(xaxis_title=figure.x_title, xaxis_tickformat=".0%", yaxis_tickprefix="$")
    else:
        _bands(figure, drawn)
        axis = {"xaxis_tickformat": ".0%"} if figure.form is not dollars else {"xaxis_tickprefix": "$"}
        drawn.update_layout(barmode="group", yaxis_autorange="reversed", **axis)
    drawn.update_layout(title={"text": figure.title, "subtitle": {"text": figure.note}})
    return drawn


def _bars(figure: Bars) -> list[Any]:
    import plotly.graph_objects as go

    return [
        go.Bar(
            name=series.name,
            orientation="h",
            x=[node.number() for node in series.values],
            y=list(figure.categories),
            marker_color=_COLOURS[series.tone],
            error_x={"type": "data", "array": [node.number() for node in series.errors]}
            if series.errors
            else None,
        )
        for series in figure.series
    ]


def _bands(figure: Bars, drawn: go.Figure) -> None:
    for k, band in enumerate(figure.bands):
        if band is not None:
            places = {"x0": band[0], "x1": band[1], "y0": k - 0.45, "y1": k + 0.45}
            drawn.add_shape(type="rect", layer="below", line_width=0, fillcolor=_BAND, **places)


def _lines(figure: Lines) -> list[Any]:
    import plotly.graph_objects as go

    return [
        go.Scatter(
            name=series.name,
            mode="lines",
            x=[node.number() for node in figure.x],
            y=[node.number() for node in series.values],
            line_color=_COLOURS[series.tone],
        )
        for series in figure.series
    ]
