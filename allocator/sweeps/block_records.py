"""Figures of cells that were judged together, read off the arrays of their audit."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from allocator.audit.block.figures import Figures, unhedged_variance
from allocator.audit.block.stack import Block
from allocator.market.types import Matrix
from allocator.sweeps.fast import Judged
from models.arrays import IntVector, Vector

Field = float | int | str | bool | None
Record = dict[str, Field]
BINDING = 1e-6  # of the objective's scale: what the whole book's size of bound must be worth to be told


def finite(value: float) -> float | None:
    """The value, or None where it is not a number that a table may hold."""
    return float(value) if math.isfinite(value) else None


def block_rows(judged: Judged, places: IntVector) -> Iterator[tuple[Record, list[Record]]]:
    """Figures and binding limits of each of these cells of a block, in their order."""
    columns = {**_objective(judged), **_venues(judged.audit.figures)}
    values = [
        column[places].tolist() if isinstance(column, np.ndarray) else None for column in columns.values()
    ]
    binding = _binding(judged)
    for row, k in enumerate(places.tolist()):
        figures = {
            name: None if column is None else _told(column[row])
            for name, column in zip(columns, values, strict=True)
        }
        yield figures, binding[k]


def _told(value: Field) -> Field:
    return finite(value) if isinstance(value, float) else value


def _objective(judged: Judged) -> dict[str, Vector]:
    """Columns (K,): terms of the objective, risk, size and trust, in USD."""
    audit, figures, solutions = judged.audit, judged.audit.figures, judged.solutions
    return {
        "total_usd": audit.objective_usd,
        **{f"{name}_usd": usd for name, usd in figures.terms.items()},
        "breaches_usd": audit.breaches_usd,
        "volatility_unhedged_usd": np.sqrt(unhedged_variance(figures.block)),
        "volatility_hedged_usd": np.sqrt(figures.risk.variance),
        "gross_usd": figures.size.sum(axis=1),
        "turnover_usd": np.abs(figures.trades).sum(axis=1),
        "transferred_usd": figures.transfers.sum(axis=1),
        "max_violation_usd": audit.max_violation_usd,
        "duality_gap_usd": audit.gap_usd,
        "scale_usd": audit.scale_usd,
        "solver": np.array([point.solver for point in solutions.points], dtype=object),
        "iterations": np.array([point.iterations for point in solutions.points]),
    }


def _venues(figures: Figures) -> dict[str, Vector | None]:
    """Columns (K,): margin of each venue at the optimum, and its worst stress; None where there is none."""
    first = figures.block.first
    surplus = figures.equity - figures.maintenance
    stressed = surplus.shape[1] > 1
    names = np.array(first.stresses.names, dtype=object)
    columns: dict[str, Vector | None] = {}
    for v, account in enumerate(first.accounts):
        equity, required = figures.equity[:, 0, v], figures.maintenance[:, 0, v]
        ratio = np.divide(required, equity, out=np.full(len(equity), np.nan), where=equity > 0)
        worst = 1 + np.argmin(surplus[:, 1:, v], axis=1) if stressed else None
        key = f"venues.{account.name}"
        columns[f"{key}.equity_usd"] = equity
        columns[f"{key}.initial_margin_usd"] = figures.initial[:, v]
        columns[f"{key}.maintenance_margin_usd"] = required
        columns[f"{key}.margin_ratio"] = ratio
        columns[f"{key}.worst_stress"] = None if worst is None else names[worst]
        columns[f"{key}.worst_surplus_usd"] = (
            None if worst is None else surplus[np.arange(len(surplus)), worst, v]
        )
    return columns


def _binding(judged: Judged) -> list[list[Record]]:
    """Of each cell of the block, the limits and boxes whose price is more than rounding."""
    block = judged.audit.figures.block
    least = (BINDING * judged.audit.scale_usd / block.book)[:, None]
    found: list[list[Record]] = [[] for _ in range(len(block))]
    used: dict[str, int] = {}
    for limit in judged.audit.limits:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        price = judged.solutions.prices[limit.name][:, start : used[limit.name]]
        for k, row in np.argwhere(price > least).tolist():
            found[k].append(
                {
                    "name": limit.name,
                    "subject": limit.subjects[row],
                    "kind": limit.kind,
                    "value": finite(float(limit.value[k, row])),
                    "bound": finite(float(limit.bound[k, row])),
                    "unit": limit.unit,
                    "shadow_price_usd": float(price[k, row] * limit.usd_per_unit[k, row]),
                }
            )
    solutions = judged.solutions
    _boxes(found, block, ("lower", solutions.lower > least), solutions.positions, solutions.lower)
    _boxes(found, block, ("upper", solutions.upper > least), solutions.positions, solutions.upper)
    return found


def _boxes(
    found: list[list[Record]], block: Block, binding: tuple[str, Matrix], positions: Matrix, price: Matrix
) -> None:
    side, binds = binding
    sign = -1.0 if side == "lower" else 1.0
    # Row 0 bounds nothing; a position that binds has a bound in some other row.
    boxes = -block.box_lower[:, 1:] if side == "lower" else block.box_upper[:, 1:]
    owner = np.argmin(boxes, axis=1) if boxes.shape[1] else np.zeros(positions.shape, dtype=np.int64)
    for k, i in np.argwhere(binds).tolist():
        box = block.first.boxes[int(owner[k, i])]
        found[k].append(
            {
                "name": box.name,
                "subject": f"{block.first.instruments[i].key} {side}",
                "kind": box.kind,
                "value": sign * float(positions[k, i]),
                "bound": float(boxes[k, owner[k, i], i]),
                "unit": "USD",
                "shadow_price_usd": float(price[k, i]),
            }
        )
