"""A frontier as data: what a picture of it needs, and its tables.

`frontier.json`: `x`, `y` {name, label, unit}; `minimised` and `bounded`, what programs made least and
what they bounded; `points` from the least of the bounded quantity to the least of the minimised one, each
with `x`, `y`, `arc` (0 to 1, share of the curve's length), `quantities`, `audit` and `set` (what `--set`
takes to allocate it; null where it cannot be said so); `references` with `name`, `label`, `x`, `y`, `excess`
(what it has of the minimised quantity beyond the least there is at its bounded one; null where no plan has
so little), `quantities`, `permitted`, `breaches`; `spacing` {least, most} of neighbours along the curve, as
shares of the mean; `failed_bounds` at which no answer was proven. Amounts are USD per decision horizon.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from allocator.frontiers.curve import Curve, arc
from allocator.frontiers.programs import Ask, Found
from allocator.frontiers.quantities import QUANTITIES, Axes
from allocator.frontiers.references import Reference
from allocator.market.types import Market
from allocator.result import Json, header, number, usd
from models.arrays import Vector

_MOST_BREACHES = 5


@dataclass(frozen=True)
class Drawn:
    """All that a picture is made from."""

    market: Market
    axes: Axes
    curve: Curve
    references: tuple[Reference, ...]
    wanted: int
    settings: Callable[[Ask], list[str] | None]
    attempt: Callable[[Ask], Found | None]

    def least(self, bound: float) -> float | None:
        """The curve's height at a bound, solved for; beyond its cheap end that end's, before it None."""
        first, last = self.curve.points[0].values, self.curve.points[-1].values
        q, y = self.axes.bounded, self.axes.minimised
        if bound >= last[q]:
            return last[y]
        found = self.attempt(Ask(y, bound)) if first[q] <= bound else None
        return None if found is None else found.values[y]


def picture(drawn: Drawn, name: str, scenario: str) -> Json:
    """What `frontier.json` holds."""
    curve, axes = drawn.curve, drawn.axes
    along = _along(drawn)
    whole = len(curve.points) in (1, drawn.wanted)
    steps = np.diff(along) * (len(along) - 1)
    return {
        **header(name, scenario, drawn.market, "optimal" if whole else "some_failed"),
        "kind": "frontier",
        **{axis: _axis(quantity) for axis, quantity in (("x", axes.x), ("y", axes.y))},
        "minimised": axes.minimised,
        "bounded": axes.bounded,
        "points_wanted": drawn.wanted,
        "failed_bounds": [number(bound) for bound in curve.failed],
        "spacing": {"least": number(steps.min()), "most": number(steps.max())} if len(steps) else None,
        "points": [
            {
                "point": k,
                "x": number(found.values[axes.x]),
                "y": number(found.values[axes.y]),
                "arc": number(float(along[k])),
                "quantities": {key: number(value) for key, value in found.values.items()},
                "audit": {
                    "passed": True,
                    "max_violation_usd": usd(found.max_violation_usd),
                    "duality_gap_usd": usd(found.duality_gap_usd),
                    "scale_usd": usd(found.scale_usd),
                },
                "set": drawn.settings(found.ask),
            }
            for k, found in enumerate(curve.points)
        ],
        "references": [_reference(drawn, reference) for reference in drawn.references],
    }


def _along(drawn: Drawn) -> Vector:
    """Where each point lies, as a share of the curve's length (k,)."""
    points, names = drawn.curve.points, (drawn.axes.bounded, drawn.axes.minimised)
    if len(points) < 2:
        return np.zeros(len(points))
    span = np.array([points[-1].values[n] - points[0].values[n] for n in names])
    lengths = arc(drawn.axes, points, span)
    return np.asarray(lengths / lengths[-1])


def _axis(name: str) -> Json:
    quantity = QUANTITIES[name]
    return {"name": name, "label": quantity.label, "unit": quantity.unit}


def _reference(drawn: Drawn, reference: Reference) -> Json:
    values = reference.values
    return {
        "name": reference.name,
        "label": reference.label,
        "x": number(values[drawn.axes.x]),
        "y": number(values[drawn.axes.y]),
        "excess": _excess(drawn, reference),
        "quantities": {key: number(value) for key, value in values.items()},
        "permitted": not reference.breaches,
        "breaches": [breach.to_json() for breach in reference.breaches[:_MOST_BREACHES]],
        "breaches_in_all": len(reference.breaches),
    }


def _excess(drawn: Drawn, reference: Reference) -> float | None:
    """What a reference has of the minimised quantity beyond the least at its own bounded quantity."""
    least = drawn.least(reference.values[drawn.axes.bounded])
    return None if least is None else number(reference.values[drawn.axes.minimised] - least)


def tables(drawn: Drawn) -> dict[str, bytes]:
    """`points.parquet`, a row a point, and `positions.parquet`, a row a position of each point."""
    axes, along = drawn.axes, _along(drawn)
    rows = [
        {
            "point": k,
            "x": found.values[axes.x],
            "y": found.values[axes.y],
            "arc": along[k],
            **{key: value for key, value in found.values.items() if key not in ("x", "y")},
            "max_violation_usd": found.max_violation_usd,
            "duality_gap_usd": found.duality_gap_usd,
            "scale_usd": found.scale_usd,
        }
        for k, found in enumerate(drawn.curve.points)
    ]
    held = drawn.market.positions.usd.tolist()
    positions = [
        {
            "point": k,
            "venue": i.exchange,
            "account": i.account,
            "symbol": i.symbol,
            "asset": i.asset,
            "previous_usd": previous,
            "target_usd": target,
            "trade_usd": target - previous,
        }
        for k, found in enumerate(drawn.curve.points)
        for i, target, previous in zip(
            drawn.market.instruments, found.decision.positions.tolist(), held, strict=True
        )
    ]
    frames = {"points": rows, "positions": positions}
    return {f"{name}.parquet": _parquet(pd.DataFrame(frame)) for name, frame in frames.items()}


def _parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()
