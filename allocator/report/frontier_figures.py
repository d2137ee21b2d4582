"""The picture of a frontier: what one quantity costs in another, and named points beside the curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan

from allocator.report.charts import Curve, Curves, Spot, Tone
from allocator.report.frames import plain
from allocator.report.nodes import Node
from allocator.report.numbers import Form, dollars, percent

_CHOSEN = ("scenario", "chosen")
_FAR = 4.0  # spans of the curve: points farther away are named in the note instead of drawn


def form_of(name: str) -> Form:
    """How a quantity of this name or unit is shown."""
    return percent if name in ("margin", "share", "fraction") else dollars


def frontier(
    points: Sequence[Mapping[str, float]],
    references: Mapping[str, Mapping[str, float]],
    x: str,
    y: str,
    names: tuple[str, str] | None = None,
) -> Curves:
    """Points in order along the curve, and single ones beside it by name; `names` are titles of the axes.

    A point that lies so far off that the curve would vanish is named in the note. Raises `KeyError` where a
    point lacks `x` or `y`.
    """
    places = [(float(point[x]), float(point[y])) for point in points]
    spots: list[Spot] = []
    far: list[Spot] = []
    for name, values in references.items():
        spot = _spot(name, values, (x, y))
        if spot is None:
            continue
        (far if _is_far(spot, places) else spots).append(spot)
    across, up = names or tuple(name.removesuffix("_usd").replace("_", " ") for name in (x, y))
    note = f"{len(places)} points; lower and further left is better."
    if far:
        told = ", ".join(
            f"{s.name} ({form_of(x)(float(s.x.value))}, {form_of(y)(float(s.y.value))})" for s in far
        )
        note += f" Far outside: {told}."
    xs, ys = [p[0] for p in places], [p[1] for p in places]
    return Curves(
        title=f"{up} against {across}".capitalize(),
        note=note,
        x_title=across,
        y_title=up,
        curves=[Curve("frontier", xs, ys, "main"), Curve("", xs, ys, "main", shape="dots")],
        x_form=form_of(x),
        form=form_of(y),
        spots=spots,
    )


def of_data(data: Node) -> Curves:
    """The picture of what ``frontier.json`` holds: axes, points, and plans beside the curve."""
    points = [{"x": point["x"].value, "y": point["y"].value} for point in data["points"]]
    beside = {
        str(row["label"]) if str(row["name"]) != _CHOSEN[0] else _CHOSEN[0]: {
            "x": _number(row["x"]),
            "y": _number(row["y"]),
        }
        for row in data["references"]
    }
    drawn = frontier(points, beside, "x", "y", (str(data["x"]["name"]), str(data["y"]["name"])))
    across, up = (form_of(str(data[axis]["unit"])) for axis in ("x", "y"))
    return replace(drawn, x_form=across, form=up)


def _number(node: Node) -> float:
    value = node.number()
    return nan if value is None else value


def _spot(name: str, values: Mapping[str, float], axes: tuple[str, str]) -> Spot | None:
    at = [plain(values[axis]) for axis in axes]
    if None in at:
        return None
    tone: Tone = "warn" if name in _CHOSEN else "second"
    return Spot(name.replace("_", " "), Node(at[0], ""), Node(at[1], ""), tone)


def _is_far(spot: Spot, places: Sequence[tuple[float, float]]) -> bool:
    """Whether a point lies beyond the curve by several times its own reach, in either direction."""
    for value, along in (
        (spot.x.number(), [p[0] for p in places]),
        (spot.y.number(), [p[1] for p in places]),
    ):
        if value is None or not along:
            continue
        low, high = min(along), max(along)
        span = max(high - low, 1e-9 * max(abs(low), abs(high)))
        if value > high + _FAR * span or value < low - _FAR * span:
            return True
    return False
