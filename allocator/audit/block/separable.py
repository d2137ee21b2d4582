"""The least of the Lagrangian over all positions: `allocator.audit.separable` for a block of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from allocator.audit.block.figures import Figures, bracket_margin, trade_curve
from allocator.audit.block.stack import Block, Cells
from allocator.audit.reach import FAR
from allocator.audit.separable import SMOOTH, TINY, shared_factors
from allocator.evaluate import selected_venues
from allocator.market.types import Index, Matrix
from allocator.scenario import schema
from models.arrays import BoolVector, Vector

if TYPE_CHECKING:
    from allocator.audit.block.bound import BlockWeights


@dataclass(frozen=True)
class _Minimum:
    """Per cell Σ_i of value at the decision − least value (K,); its slope there (K, n); smooth there."""

    gap: Vector
    residual: Matrix
    smooth: BoolVector


def separable_gap(figures: Figures, w: BlockWeights) -> Vector:
    """Σ_i h_i(x*_i) − min over box of h_i (K,), each minimum exact; or less, by a tilt."""
    block = figures.block
    curvature, active = _own_curvature(block, w), np.flatnonzero(w.maintenance.any(axis=(0, 2)))
    points = _points(figures, w, active)
    plain = _minimise(figures, w, points, active, curvature)
    loose = plain.smooth & (curvature == 0)
    tilted = np.flatnonzero(np.any(np.where(loose, plain.residual, 0.0), axis=1) & (w.risk > 0))
    if not len(tilted):
        return plain.gap
    tilt, cost = np.zeros(curvature.shape), np.full(len(block), np.inf)
    for k in tilted:
        weight = float(w.risk[k] * block.aversion[k])
        factors = shared_factors(block.markets[k])
        wanted = -plain.residual[k, loose[k]] / weight
        shift = np.linalg.lstsq(factors[:, loose[k]].T, wanted, rcond=1e-9)[0]
        tilt[k] = weight * (shift @ factors)
        cost[k] = weight / 2 * float(shift @ shift)
    again = _minimise(figures, w, points, active, curvature, tilt)
    return np.minimum(plain.gap, cost + again.gap)


def _minimise(
    figures: Figures,
    w: BlockWeights,
    points: Cells,
    active: Index,
    curvature: Matrix,
    tilt: Matrix | None = None,
) -> _Minimum:
    x = figures.positions[:, :, None]
    height = _heights(figures, w, points, active)
    height -= _heights(figures, w, x, active)
    offset = points - x
    if tilt is not None:
        height += tilt[:, :, None] * offset
    bent = curvature[:, :, None] / 2
    lowest = (height + bent * offset**2).min(axis=2)
    width = np.diff(points, axis=2)
    slope = np.divide(np.diff(height, axis=2), width, out=np.zeros(width.shape), where=width > 0)
    # Inside a piece: linear slope plus curvature, lowest where both cancel, if that lies in the piece.
    inverse = np.divide(1.0, curvature, out=np.zeros(curvature.shape), where=curvature > 0)
    inside = np.clip(-slope * inverse[:, :, None], offset[:, :, :-1], offset[:, :, 1:])
    within = height[:, :, :-1] + slope * (inside - offset[:, :, :-1]) + bent * inside**2
    lowest = np.minimum(lowest, within.min(axis=2))
    left, right = _slopes_at(offset, width, slope, TINY * figures.block.book)
    return _Minimum(-lowest.sum(axis=1), np.clip(0.0, left, right), right - left <= SMOOTH)


def _slopes_at(offset: Cells, width: Cells, slope: Cells, tiny: Vector) -> tuple[Matrix, Matrix]:
    """Slopes (K, n) of the last proper piece left of x and the first right of it; infinite beyond the box."""
    proper = width > tiny[:, None, None]
    middle = offset[:, :, :-1] + offset[:, :, 1:]
    left = np.max(np.where(proper & (middle < 0), slope, -np.inf), axis=2)
    right = np.min(np.where(proper & (middle > 0), slope, np.inf), axis=2)
    # Convexity orders the slopes; rounding may not.
    return np.minimum(left, right), np.maximum(left, right)


def _points(figures: Figures, w: BlockWeights, active: Index) -> Cells:
    """Every kink within reach, its ends and the decision (K, n, M), in order."""
    block, x = figures.block, figures.positions
    lower, upper = reach(figures)
    columns = [*_kinks(block, w, active, lower, upper), lower, upper, x]
    points = np.empty((*x.shape, len(columns)))
    for k, column in enumerate(columns):
        points[:, :, k] = column
    np.clip(points, lower[:, :, None], upper[:, :, None], out=points)
    points.sort(axis=2)
    return points


def _kinks(block: Block, w: BlockWeights, active: Index, lower: Matrix, upper: Matrix) -> list[Cells]:
    """Columns (K, n) where a function of a position that has a weight may bend."""
    slopes, cuts = block.slopes, block.intercepts
    gaps = np.diff(slopes, axis=2)
    bends = np.divide(-np.diff(cuts, axis=2), gaps, out=np.zeros(gaps.shape), where=gaps != 0)
    held = block.previous
    columns = [np.zeros((1, lower.shape[1])), held]
    if block.ordered:
        columns.append((block.open_sells - block.open_buys) / 2)
    columns += [held + bends[:, :, k] for k in range(bends.shape[2])]
    floors = np.where(np.isfinite(block.floors), block.floors, 0.0)
    notional, scale = block.notional, block.deduction
    # Where only one side can be reached, the kinks of the other need no columns of their own.
    sides = [np.where(upper <= 0, -1.0, 1.0)]
    if np.any((lower < 0) & (upper > 0)):
        sides = [np.ones(lower.shape), -np.ones(lower.shape)]
    for s in active:
        at = scale[:, s] / notional[:, s]
        columns += [side * (floors[:, :, b] * at) for b in range(1, floors.shape[2]) for side in sides]
    return columns


def _heights(figures: Figures, w: BlockWeights, points: Cells, active: Index) -> Cells:
    """Separable part of the Lagrangian at `points` (K, n, M); 3/2 impact is its tangent at the decision."""
    block = figures.block
    trade, size = points - block.previous[:, :, None], np.abs(points)
    height = trade_curve(block, trade)
    height *= w.cost[:, :, None]
    impact = block.impact
    linear = w.linear
    if impact.any():
        taken = figures.trades
        tangent = w.cost * 1.5 * impact * np.sqrt(np.abs(taken)) * np.sign(taken)
        linear = linear + tangent
        height -= (tangent * block.previous)[:, :, None]
    height += linear[:, :, None] * points
    ordered = block.ordered
    # Without open orders the size with them is the size itself.
    height += (w.size if ordered else w.size + w.order_size)[:, :, None] * size
    if ordered:
        buys, sells = block.open_buys[:, :, None], block.open_sells[:, :, None]
        height += w.order_size[:, :, None] * np.maximum(np.abs(points + buys), np.abs(points - sells))
    if w.turnover.any():
        height += w.turnover[:, :, None] * np.abs(trade)
    notional, scale = block.notional, block.deduction
    for s in active:
        required = bracket_margin(block, size, notional[:, s], scale[:, s])
        required *= w.maintenance[:, s][:, :, None]
        height += required
    return height


def _own_curvature(block: Block, w: BlockWeights) -> Matrix:
    """Curvature (K, n) that instrument i has alone: λσ² of a basis's own part that no other shares."""
    group = block.first.risk.basis_group
    sd = block.take(lambda m: m.risk.basis_sd)
    alone = np.bincount(group, minlength=sd.shape[1])[group] == 1
    return np.where(alone, (w.risk * block.aversion)[:, None] * sd[:, group] ** 2, 0.0)


def reach(figures: Figures) -> tuple[Matrix, Matrix]:
    """As `allocator.audit.reach.reach`: lowest and highest value (K, n) of any permitted position."""
    block = figures.block
    size = np.maximum(_largest_size(block), figures.size)
    return np.maximum(block.lower, -size), np.minimum(block.upper, size)


def _largest_size(block: Block) -> Matrix:
    """|x| (K, n) that gross, leverage and initial margin limits allow where nothing else is held."""
    first = block.first
    largest = np.repeat((FAR * block.book)[:, None], len(first.instruments), axis=1)
    equity: Matrix | None = None
    for place, spec in enumerate(first.limits):
        limit = spec.limit
        if limit.soft is not None or not isinstance(
            limit, schema.Gross | schema.LeverageLimit | schema.InitialMargin
        ):
            continue
        if isinstance(limit, schema.Gross):
            allowed = np.broadcast_to(block.figure(place, "max")[:, None], largest.shape)
        else:
            equity = _most_equity(block)[:, first.venue_of] if equity is None else equity
            if isinstance(limit, schema.LeverageLimit):
                allowed = block.figure(place, "max")[:, None] * equity
            else:
                rate = np.broadcast_to(block.take(lambda m: m.scheme.initial_rate), largest.shape)
                share = block.figure(place, "use")[:, None] * equity
                allowed = np.divide(share, rate, out=np.full(largest.shape, np.inf), where=rate > 0)
        chosen = np.isin(first.venue_of, selected_venues(first, limit.venues))
        largest = np.where(chosen, np.minimum(largest, allowed), largest)
    return largest


def _most_equity(block: Block) -> Matrix:
    """Margin equity (K, V) with nothing paid, nothing sent, and everything received that could arrive."""
    balance = np.maximum(block.balance, 0.0)
    source, _ = block.route_ends
    coming = block.withdrawable[:, source] * block.first.transfers.arrives
    return np.asarray(block.pockets_by_venue(balance + block.reaching_pocket(coming)))
