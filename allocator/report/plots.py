"""The pages' pictures as Plotly figures, for notebooks; Plotly is loaded only where one is made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocator.report import figures
from allocator.report.charts import Curve, Curves, HeatMap, Intervals
from allocator.report.figures import Bars, Lines
from allocator.report.nodes import Node
from allocator.report.numbers import Form, dollars, move, percent, percent2
from allocator.report.svg import Picture

if TYPE_CHECKING:
    import plotly.graph_objects as go  # type: ignore[import-untyped, unused-ignore]

_COLOURS = {
    "before": "#a9b6c4",
    "main": "#1f5fa8",
    "second": "#0f766e",
    "warn": "#b3401f",
    "fifth": "#7546a1",
}
_BAND = "rgba(29, 107, 53, 0.15)"
_SHADE = 0.22


def of_result(result: Mapping[str, Any]) -> dict[str, go.Figure]:
    """All figures of an optimal result by name: net delta, risk, carry, and equity by price per venue."""
    node = Node(dict(result), "result.json#")
    found: dict[str, Picture] = {
        "net_delta": figures.net_delta(node),
        "risk_by_source": figures.risk_by_source(node),
        "risk_by_asset": figures.risk_by_asset(node),
        "risk_by_venue": figures.risk_by_venue(node),
        "carry_by_venue": figures.carry(node, "venue"),
        "carry_by_asset": figures.carry(node, "asset"),
        "worst_stress": figures.worst_stress(node),
    }
    for venue in result["equity_by_price"]["venues"]:
        found[f"equity_by_price {venue['name']}"] = figures.equity_by_price(node, venue["name"])
    return {name: plotly_figure(figure) for name, figure in found.items()}


def plotly_figure(figure: Picture) -> go.Figure:
    """One picture. Raises `ImportError` naming what to install where Plotly is absent."""
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ImportError("pictures need Plotly: pip install 'hedge-allocator[plots]'") from error

    drawn = go.Figure()
    drawn.update_layout(
        template="plotly_white",
        title={"text": figure.title, "subtitle": {"text": figure.note}},
        margin={"t": 90},
        height=430,
    )
    if isinstance(figure, Bars):
        _draw_bars(figure, drawn)
    elif isinstance(figure, Lines):
        _draw_lines(figure, drawn)
    elif isinstance(figure, Curves):
        _draw_curves(figure, drawn)
    elif isinstance(figure, HeatMap):
        _draw_heat_map(figure, drawn)
    else:
        _draw_intervals(figure, drawn)
    return drawn


def _axis(form: Form) -> dict[str, str]:
    """How the ticks of an axis are written."""
    if form is dollars:
        return {"tickprefix": "$"}
    return {"tickformat": ".0%"} if form in (percent, percent2, move) else {}


def _draw_bars(figure: Bars, drawn: go.Figure) -> None:
    drawn.add_traces(_bars(figure))
    _bands(figure, drawn)
    drawn.update_layout(barmode="group", yaxis_autorange="reversed", xaxis=_axis(figure.form))


def _draw_lines(figure: Lines, drawn: go.Figure) -> None:
    drawn.add_traces(_lines(figure))
    for mark in figure.marks:
        drawn.add_vline(x=mark.x.number(), line_dash="dot", annotation_text=mark.label)
    drawn.update_layout(xaxis_title=figure.x_title, xaxis=_axis(figure.x_form), yaxis=_axis(figure.form))


def _draw_curves(figure: Curves, drawn: go.Figure) -> None:
    for curve in figure.curves:
        drawn.add_traces(_curve(figure, curve))
    for spot in figure.spots:
        drawn.add_scatter(
            name=spot.name, mode="markers", x=[spot.x.number()], y=[spot.y.number()],
            marker={"size": 11, "color": _COLOURS[spot.tone]},
        )  # fmt: skip
    for moment in figure.moments:
        x = _places(figure, [moment.x])[0]
        drawn.add_vline(x=x, line={"dash": "dot", "color": _COLOURS["warn"]})
        drawn.add_annotation(x=x, yref="paper", y=1, text=moment.name, showarrow=False, xanchor="left")
    across = {} if figure.kind == "time" else _axis(figure.x_form)
    drawn.update_layout(xaxis_title=figure.x_title, xaxis=across, yaxis=_axis(figure.form))
    drawn.update_layout(yaxis_title=figure.y_title or None, showlegend=any(c.name for c in figure.curves))
    if figure.kind == "log":
        drawn.update_xaxes(type="log", dtick=1, exponentformat="power")
    if figure.zero:
        drawn.update_yaxes(rangemode="tozero")


def _places(figure: Curves, x: Any) -> list[Any]:  # noqa: ANN401
    """x as Plotly wants it: times as dates, labels as texts."""
    if figure.kind == "time":
        return [datetime.fromtimestamp(value, UTC) for value in x]
    return [figure.labels[int(value)] for value in x] if figure.kind == "label" else list(x)


def _curve(figure: Curves, curve: Curve) -> list[Any]:
    """The line or dots, and its envelope as an area or as bars."""
    import plotly.graph_objects as go

    colour, x = _COLOURS[curve.tone], _places(figure, curve.x)
    style: dict[str, Any] = {"mode": "markers", "marker": {"color": colour, "size": 6}}
    found = []
    if curve.shape == "line":
        style = {"mode": "lines", "line": {"color": colour}}
        if len(curve.low):
            edges = [*curve.high, *reversed(curve.low)]
            area = {"fill": "toself", "fillcolor": colour, "opacity": _SHADE, "line": {"width": 0}}
            found.append(
                go.Scatter(
                    x=[*x, *reversed(x)], y=edges, showlegend=False, hoverinfo="skip", mode="lines", **area
                )
            )
    elif len(curve.low):
        above = [high - y for high, y in zip(curve.high, curve.y, strict=True)]
        below = [y - low for low, y in zip(curve.low, curve.y, strict=True)]
        style["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    line = go.Scatter(name=curve.name, x=x, y=list(curve.y), showlegend=bool(curve.name), **style)
    return [*found, line]


def _draw_heat_map(figure: HeatMap, drawn: go.Figure) -> None:
    values = [[None if tile.node is None else tile.node.number() for tile in row] for row in figure.tiles]
    known = [value for row in values for value in row if value is not None and math.isfinite(value)]
    mixed = bool(known) and min(known) < 0 < max(known)
    style: dict[str, Any] = {"colorscale": "Tealrose", "zmid": 0.0} if mixed else {"colorscale": "Blues"}
    style |= {"hoverinfo": "text", "xgap": 1, "ygap": 1}
    told = [[tile.told for tile in row] for row in figure.tiles]
    drawn.add_heatmap(
        z=values,
        x=list(figure.columns),
        y=list(figure.rows),
        text=told,
        **style,
    )
    drawn.update_layout(xaxis_title=figure.x_title, yaxis_title=figure.y_title)
    drawn.update_layout(xaxis_type="category", yaxis={"type": "category", "autorange": "reversed"})


def _draw_intervals(figure: Intervals, drawn: go.Figure) -> None:
    values = [row.value.number() for row in figure.rows]
    above, below = [], []
    for row, value in zip(figure.rows, values, strict=True):
        low = None if row.low is None else row.low.number()
        high = None if row.high is None else row.high.number()
        known = value is not None and low is not None and high is not None
        above.append(high - value if known else None)  # type: ignore[operator]
        below.append(value - low if known else None)  # type: ignore[operator]
    error = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    names = [row.name for row in figure.rows]
    marker = {"size": 9, "color": _COLOURS["main"]}
    drawn.add_scatter(x=values, y=names, error_x=error, mode="markers", marker=marker)
    drawn.add_vline(x=figure.reference, line_color="grey")
    drawn.update_layout(yaxis_autorange="reversed", xaxis=_axis(figure.form))


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
