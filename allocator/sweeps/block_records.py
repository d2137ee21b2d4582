"""Figures of cells that were judged together, read off the arrays of their audit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from allocator.audit.block.figures import Figures, unhedged_variance
from allocator.market.types import Matrix
from allocator.sweeps.fast import Judged
from models.arrays import IntVector, Vector

Field = float | int | str | bool | None
Record = dict[str, Field]
BINDING = 1e-6  # of the objective's scale: what the whole book's size of bound must be worth to be told


def finite(value: float) -> float | None:
    """The value, or None where it is not a number that a table may hold."""
    return float(value) if math.isfinite(value) else None


class Binding(NamedTuple):
    """A limit that binds in a cell: what the table says of it, but for the cell."""

    name: str
    subject: str
    kind: str
    value: float | None
    bound: float | None
    unit: str
    shadow_price_usd: float


def block_rows(judged: Judged, places: IntVector) -> Iterator[tuple[Record, list[Binding]]]:
    """Figures and binding limits of each of these cells of a block, in their order."""
    columns = {**_objective(judged), **_venues(judged.audit.checked.figures)}
    rows = zip(*(_values(column, places) for column in columns.values()), strict=True)
    binding = _binding(judged)
    for k, row in zip(places.tolist(), rows, strict=True):
        yield dict(zip(columns, row, strict=True)), binding[k]


def _values(column: Vector | None, places: IntVector) -> list[Field]:
    if column is None:
        return [None] * len(places)
    chosen = column[places]
    if column.dtype.kind == "f" and not np.isfinite(chosen).all():
        return [finite(value) for value in chosen.tolist()]
    return list(chosen.tolist())


def _objective(judged: Judged) -> dict[str, Vector]:
    """Columns (K,): terms of the objective, risk, size and trust, in USD."""
    checked, solutions = judged.audit.checked, judged.solutions
    figures = checked.figures
    return {
        "total_usd": checked.objective_usd,
        **{f"{name}_usd": usd for name, usd in figures.terms.items()},
        "breaches_usd": checked.breaches_usd,
        "volatility_unhedged_usd": np.sqrt(unhedged_variance(figures.block)),
        "volatility_hedged_usd": np.sqrt(figures.risk.variance),
        "gross_usd": figures.size.sum(axis=1),
        "turnover_usd": np.abs(figures.trades).sum(axis=1),
        "transferred_usd": figures.transfers.sum(axis=1),
        "max_violation_usd": checked.max_violation_usd,
        "duality_gap_usd": judged.audit.gap_usd,
        "scale_usd": checked.scale_usd,
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


def _binding(judged: Judged) -> list[list[Binding]]:
    """Of each cell of the block, the limits and boxes whose price is more than rounding."""
    block, solutions = judged.audit.checked.figures.block, judged.solutions
    least = (BINDING * judged.audit.checked.scale_usd / block.book)[:, None]
    found: list[list[Binding]] = [[] for _ in range(len(block))]
    used: dict[str, int] = {}
    for limit in judged.audit.checked.limits:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        price = solutions.prices[limit.name][:, start : used[limit.name]]
        at = np.nonzero(price > least)
        columns = (limit.value, limit.bound, price * limit.usd_per_unit)
        for k, row, value, bound, usd in zip(*at, *(c[at].tolist() for c in columns), strict=True):
            subject = limit.subjects[row]
            found[k].append(
                Binding(limit.name, subject, limit.kind, finite(value), finite(bound), limit.unit, usd)
            )
    for side, prices in (("lower", solutions.lower), ("upper", solutions.upper)):
        _boxes(found, judged, side, np.where(prices > least, prices, 0.0))
    return found


def _boxes(found: list[list[Binding]], judged: Judged, side: str, price: Matrix) -> None:
    """Bounds of positions on one side where they have a price (K, n)."""
    block, sign = judged.audit.checked.figures.block, -1.0 if side == "lower" else 1.0
    # Row 0 bounds nothing; a position with a price has a bound in some other row.
    boxes = -block.box_lower[:, 1:] if side == "lower" else block.box_upper[:, 1:]
    at = np.nonzero(price)
    if not len(at[0]):
        return
    owner = np.argmin(boxes, axis=1)[at]
    keys = [f"{instrument.key} {side}" for instrument in block.first.instruments]
    columns = (owner, sign * judged.solutions.positions[at], boxes[at[0], owner, at[1]], price[at])
    for k, i, b, value, bound, usd in zip(*at, *(c.tolist() for c in columns), strict=True):
        box = block.first.boxes[b]
        found[k].append(Binding(box.name, keys[i], box.kind, value, bound, "USD", usd))
