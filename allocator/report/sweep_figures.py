"""Pictures of a sweep's table of cells: what a swept key, or two of them, do to cost and risk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from allocator.report.charts import AxisKind, Curve, Curves, HeatMap, Tile
from allocator.report.figures import Bars, Series
from allocator.report.frames import Frame, query
from allocator.report.nodes import Node
from allocator.report.numbers import Form, brief, count, dollars

NAMES = {
    "total_usd": "Objective",
    "volatility_hedged_usd": "Volatility",
    "funding_usd": "Expected funding",
    "trading_usd": "Trading cost",
    "turnover_usd": "Turnover",
    "gross_usd": "Gross position",
    "transferred_usd": "Transfers",
}
MOST = 32  # values of a key along an axis of a heat map; neighbours share a tile beyond
_STEPS = 48  # likewise along the axis of a curve
_LEAST_STEPS, _PER_STEP = 8, 16  # where values are shared: cells a step, so that a median is not one draw
_FULL, _PER_TILE = 0.75, 4  # share of tiles with a cell, below which wider ones hold this many on average
_POWERS = 30.0  # largest over smallest value from which an axis is of powers


@dataclass(frozen=True)
class Groups:
    """Values of a key in order, neighbours together where there are too many; `of` is each cell's group."""

    key: str
    labels: Sequence[str]
    places: Sequence[float]
    of: np.ndarray
    numeric: bool
    single: Sequence[Any | None]
    distinct: int


def label(value: Any) -> str:  # noqa: ANN401
    """A swept value as a person reads it; what a cell does not set is `base`."""
    if value is None or value != value:
        return "base"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return brief(float(value)) if isinstance(value, int | float | np.number) else str(value)


def varied(cells: pd.DataFrame, swept: Sequence[str]) -> list[str]:
    """Swept keys of at least two values."""
    return [key for key in swept if key in cells and cells[key].map(str).nunique() > 1]


def groups(cells: pd.DataFrame, key: str, most: int) -> Groups:
    """At most `most` groups of the values of a key, numbers in order, texts as they first come."""
    values = cells[key]
    numeric = bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)
    numeric = numeric and not values.isna().any()
    if not numeric:
        return _named_groups(values, key, most)
    distinct = np.sort(values.unique())
    ends = np.linspace(0, len(distinct), min(most, len(distinct)) + 1).astype(int)
    of = np.searchsorted(distinct[ends[1:-1]], values.to_numpy(), side="right")
    parts = [distinct[start:end] for start, end in pairwise(ends)]
    labels_ = [brief(p[0]) if len(p) == 1 else f"{brief(p[0])}–{brief(p[-1])}" for p in parts]
    if len(set(labels_)) < len(labels_):  # values that four digits do not tell apart
        labels_ = [f"{p[0]:.12g}" for p in parts]
    single = [float(p[0]) if len(p) == 1 else None for p in parts]
    return Groups(key, labels_, [float(np.median(p)) for p in parts], of, True, single, len(distinct))


def _named_groups(values: pd.Series, key: str, most: int) -> Groups:
    """Texts and yes or no; the rarest last ones together as `others`."""
    labels = values.map(label)
    raw = dict(zip(labels, values, strict=True))
    names = list(raw) if len(raw) <= most else list(raw)[: most - 1]
    every = names if len(raw) == len(names) else [*names, "others"]
    of = labels.map({name: k for k, name in enumerate(names)}).fillna(len(names)).to_numpy(int)
    single = [raw[name] if isinstance(raw.get(name), str | bool | np.bool_) else None for name in every]
    return Groups(key, every, list(map(float, range(len(every)))), of, False, single, len(raw))


def heat_map(cells: pd.DataFrame, x: str, y: str, value: str = "total_usd") -> HeatMap:
    """Mean of a column of cells over two swept keys: x across, y upwards.

    Raises `KeyError` for a column that there is not. A tile that stands for several cells (other keys vary,
    or neighbouring values share it) is their mean, and says of how many; × where no cell is optimal, empty
    where there is no cell.
    """
    across, up = _axes(cells, x, y)
    known = pd.DataFrame({"x": across.of, "y": up.of, "value": cells[value], "all": 1})
    table = known.groupby(["y", "x"]).agg(
        mean=("value", "mean"), found=("value", "count"), all=("all", "sum")
    )
    found: dict[Any, Any] = table.to_dict("index")
    single_cell = {
        place: int(row) for row, place in enumerate(zip(up.of.tolist(), across.of.tolist(), strict=True))
    }
    tiles = []
    for j in reversed(range(len(up.labels))):
        line = []
        for k in range(len(across.labels)):
            place = found.get((j, k))
            line.append(_tile(cells, value, place, single_cell.get((j, k)), (across, up), (k, j)))
        tiles.append(line)
    most = max((int(place["all"]) for place in found.values()), default=1)
    empty = len(found) < len(across.labels) * len(up.labels)
    return HeatMap(
        title=name_of(value),
        note=_heat_note(most, (across, up), empty),
        x_title=x,
        y_title=y,
        columns=across.labels,
        rows=list(reversed(up.labels)),
        tiles=tiles,
        form=form_of(value),
    )


def _axes(cells: pd.DataFrame, x: str, y: str) -> tuple[Groups, Groups]:
    """Both axes in groups: where values were drawn, few enough that most tiles have a cell."""
    across, up = groups(cells, x, MOST), groups(cells, y, MOST)
    occupied = len(set(zip(across.of.tolist(), up.of.tolist(), strict=True)))
    if occupied >= _FULL * len(across.labels) * len(up.labels):
        return across, up
    few = min(max(int((len(cells) / _PER_TILE) ** 0.5), 2), MOST)
    wide = [groups(cells, g.key, few) if g.numeric and g.distinct > MOST else g for g in (across, up)]
    return wide[0], wide[1]


def _heat_note(most: int, axes: tuple[Groups, Groups], empty: bool) -> str:
    said = (
        "Each tile is one cell." if most == 1 else f"A tile is the mean of its optimal cells, up to {most:,}."
    )
    shared = [axis.key for axis in axes if axis.distinct > len(axis.labels)]
    if shared:
        said += f" Neighbouring values of {' and '.join(shared)} share a tile."
    return said + " × is where no cell is optimal" + (", blank where there is no cell." if empty else ".")


def _tile(
    cells: pd.DataFrame,
    value: str,
    place: Mapping[str, float] | None,
    row: int | None,
    axes: tuple[Groups, Groups],
    at: tuple[int, int],
) -> Tile:
    where = {axis.key: axis.labels[k] for axis, k in zip(axes, at, strict=True)}
    said = ", ".join(f"{key} {text}" for key, text in where.items())
    if place is None:
        return Tile(None, f"{said}: no cell", "")
    found, every = int(place["found"]), int(place["all"])
    if not found or row is None:
        return Tile(None, f"{said}: none of {every:,} optimal")
    shown = form_of(value)(place["mean"])
    if every == 1:
        node = Node(float(place["mean"]), f"cells.parquet#/{row}/{value}")
        return Tile(node, f"{said}: {shown}, {cells['name'].iat[row]}")
    single = {axis.key: axis.single[k] for axis, k in zip(axes, at, strict=True)}
    exact = {key: number for key, number in single.items() if number is not None}
    pointer = f"cells.parquet#mean({value}){query(exact)}" if len(exact) == len(axes) else ""
    return Tile(Node(float(place["mean"]), pointer), f"{said}: {shown}, mean of {found:,} of {every:,} cells")


def curve(cells: pd.DataFrame, key: str, value: str = "total_usd") -> Curves:
    """Median of a column of cells over one swept key, with the lowest and highest as envelope."""
    axis = groups(cells, key, _STEPS)
    if axis.numeric and axis.distinct > _STEPS:
        axis = groups(cells, key, min(max(len(cells) // _PER_STEP, _LEAST_STEPS), _STEPS))
    by_place = pd.DataFrame({"x": axis.of, "value": cells[value]}).groupby("x")["value"]
    table = by_place.agg(["median", "min", "max"]).reindex(range(len(axis.labels)))
    several = bool((table["max"] > table["min"]).any())
    shared = " Neighbouring values share a step." if axis.distinct > len(axis.labels) else ""
    note = "Median over all other keys; shaded: lowest to highest." if several else "One cell at each value."
    line = Curve(
        "",
        axis.places,
        table["median"].tolist(),
        "main",
        table["min"].tolist() if several else (),
        table["max"].tolist() if several else (),
        "line" if axis.numeric else "dots",
    )
    kind: AxisKind = "label"
    if axis.numeric:
        powers = axis.places[0] > 0 and axis.places[-1] > _POWERS * axis.places[0]
        kind = "log" if powers else "number"
    return Curves(
        title=f"{name_of(value)} over {key}",
        note=note + shared,
        x_title=key,
        y_title="",
        curves=[line],
        kind=kind,
        x_form=brief,
        form=form_of(value),
        labels=() if axis.numeric else axis.labels,
    )


def cloud(cells: pd.DataFrame) -> Curves:
    """Every optimal cell: what it costs without its risk against its volatility, with those none beats."""
    found = cells[cells["status"] == "optimal"]
    risk = found["volatility_hedged_usd"].to_numpy(float)
    cost = (found["total_usd"] - found["risk_usd"]).to_numpy(float)
    order = np.lexsort((cost, risk))
    best = np.minimum.accumulate(cost[order]) if len(order) else cost
    kept = order[np.r_[True, best[1:] < best[:-1]]] if len(order) else order
    return Curves(
        title="Cost against volatility",
        note=f"{len(found):,} optimal cells; equal dots are one. Cost: the objective without its risk.",
        x_title="volatility",
        y_title="cost",
        curves=[
            Curve("cells", risk.tolist(), cost.tolist(), "before", shape="dots"),
            Curve("none is better in both", risk[kept].tolist(), cost[kept].tolist(), "main"),
        ],
        x_form=dollars,
    )


def binding(limits: pd.DataFrame, most: int = 14) -> Bars:
    """In how many cells each limit binds."""
    frame = Frame(limits, "limits.parquet")
    names: list[str] = []
    if len(limits):
        names = limits.groupby("name")["cell"].nunique().nlargest(most).index.astype(str).tolist()
    nodes = [frame.of("nunique", "cell", {"name": name}) for name in names]
    return Bars(
        title="What binds",
        note="Cells in which the limit has a price.",
        categories=names,
        series=[Series("cells", nodes)],
        form=count,
    )


def name_of(value: str) -> str:
    """A column of cells as a title."""
    return NAMES.get(value, value.removesuffix("_usd").replace("_", " "))


def form_of(value: str) -> Form:
    """How a column of cells is shown."""
    return dollars if value.endswith("_usd") else brief
