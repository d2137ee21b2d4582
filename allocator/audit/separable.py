"""The least of the Lagrangian over all positions: separable, piecewise linear, curved by each own basis.

The variance enters by its tangent. Where the solver's multipliers miss stationarity a little, the tangent
at a point nearby fits them better: ½λ|g|² ≥ λ ĝ·g − ½λ|ĝ|² for every ĝ, so ĝ = g* + τ costs ½λ|τ|² and
tilts the Lagrangian by λFᵀτ. That matters for positions that have no curvature of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from allocator.audit.reach import reach
from allocator.audit.weights import Weights
from allocator.margin import Shock, bracket_maintenance
from allocator.market.types import Decision, Market, Matrix
from models.arrays import BoolVector, Vector

TINY = 1e-7  # of the book: two kinks nearer than this are one
SMOOTH = 1e-9  # slopes left and right that differ by less (USD per USD) are one slope


@dataclass(frozen=True)
class _Minimum:
    """Σ_i of value at the decision − least value; its slope there (n,), 0 at a least kink; smooth there."""

    gap: float
    residual: Vector
    smooth: BoolVector


def separable_gap(market: Market, decision: Decision, w: Weights) -> float:
    """Σ_i h_i(x*_i) − min over box of h_i, each minimum exact at and between kinks; or less, by a tilt."""
    curvature = _own_curvature(market, w)
    plain = _minimise(market, decision, w, curvature, np.zeros(len(curvature)))
    loose = plain.smooth & (curvature == 0)
    if not np.any(plain.residual[loose]) or w.risk <= 0:
        return plain.gap
    weight = w.risk * market.objective.risk_aversion_per_usd
    factors = shared_factors(market)
    shift = np.linalg.lstsq(factors[:, loose].T, -plain.residual[loose] / weight, rcond=1e-9)[0]
    tilted = _minimise(market, decision, w, curvature, weight * (shift @ factors))
    return min(plain.gap, weight / 2 * float(shift @ shift) + tilted.gap)


def _minimise(market: Market, decision: Decision, w: Weights, curvature: Vector, tilt: Vector) -> _Minimum:
    x = decision.positions
    lower, upper = reach(market, x)
    points = np.sort(
        np.clip(np.column_stack([*_kinks(market), lower, upper, x]), lower[:, None], upper[:, None]), axis=1
    )
    height = _heights(market, decision, w, points) - _heights(market, decision, w, x[:, None])
    height += tilt[:, None] * (points - x[:, None])
    at_points = height + curvature[:, None] / 2 * (points - x[:, None]) ** 2
    width = np.diff(points, axis=1)
    slope = np.divide(np.diff(height, axis=1), width, out=np.zeros_like(width), where=width > 0)
    # Inside a piece: linear slope plus curvature, lowest where both cancel, if that lies in the piece.
    bend = np.where(curvature > 0, curvature, np.inf)[:, None]
    inside = np.clip(x[:, None] - slope / bend, points[:, :-1], points[:, 1:])
    within = (
        height[:, :-1]
        + slope * (inside - points[:, :-1])
        + curvature[:, None] / 2 * (inside - x[:, None]) ** 2
    )
    lowest = np.minimum(at_points.min(axis=1), within.min(axis=1))
    left, right = _slopes_at(x, points, slope, TINY * market.book_usd)
    return _Minimum(float(-lowest.sum()), np.clip(0.0, left, right), right - left <= SMOOTH)


def _slopes_at(x: Vector, points: Matrix, slope: Matrix, tiny: float) -> tuple[Vector, Vector]:
    """Slopes (n,) of the last proper piece left of x and the first right of it; infinite beyond the box."""
    proper = np.diff(points, axis=1) > tiny
    middle = (points[:, :-1] + points[:, 1:]) / 2 - x[:, None]
    left = np.max(np.where(proper & (middle < 0), slope, -np.inf), axis=1, initial=-np.inf)
    right = np.min(np.where(proper & (middle > 0), slope, np.inf), axis=1, initial=np.inf)
    # Convexity orders the slopes; rounding may not.
    return np.minimum(left, right), np.maximum(left, right)


def shared_factors(market: Market) -> Matrix:
    """Rows of F (K, n) by which positions share risk: factors, shocks of one asset, bases, currencies."""
    risk = market.risk
    n = len(market.instruments)
    own = np.zeros((len(market.assets), n))
    like_coin = 1.0 + risk.beta_of
    own[market.asset_of, np.arange(n)] = risk.asset_idiosyncratic[market.asset_of] * like_coin
    members = np.bincount(risk.basis_group, minlength=len(risk.basis_sd))
    groups = np.flatnonzero(members > 1)
    shared = (risk.basis_group[None, :] == groups[:, None]) * risk.basis_sd[groups][:, None]
    indexed = np.zeros((len(market.currencies), n))
    quoted = np.flatnonzero(market.index_currency_of >= 0)
    indexed[market.index_currency_of[quoted], quoted] = -1.0
    common = risk.basis_loadings[:, risk.basis_group]
    by_asset, by_currency = risk.asset_loadings[:, market.asset_of], risk.currency_loadings @ indexed
    return np.vstack([by_asset * like_coin, own, shared, common, by_currency])


def _kinks(market: Market) -> list[Vector]:
    """Columns (n,) of all points where a piecewise-linear function of a position may bend."""
    n = len(market.instruments)
    slopes, cuts = market.costs.slopes, market.costs.intercepts
    gaps = np.diff(slopes, axis=1)
    bends = np.divide(-np.diff(cuts, axis=1), gaps, out=np.zeros_like(gaps), where=gaps != 0)
    held = market.positions.usd
    columns = [np.zeros(n), held, (market.positions.open_sells_usd - market.positions.open_buys_usd) / 2]
    columns += [held + bends[:, k] for k in range(bends.shape[1])]
    floors = market.scheme.schedules.floors_usd
    floors = np.where(np.isfinite(floors), floors, 0.0)
    for s in range(len(market.stresses.names)):
        scale = market.stresses.deduction[s] / market.stresses.notional[s]
        for k in range(1, floors.shape[1]):
            columns += [floors[:, k] * scale, -floors[:, k] * scale]
    return columns


def _heights(market: Market, decision: Decision, w: Weights, points: Matrix) -> Matrix:
    """Separable part of the Lagrangian at `points` (n, M); the 3/2 impact is its tangent at the decision."""
    held = market.positions.usd[:, None]
    trade, size = points - held, np.abs(points)
    taken = decision.positions - market.positions.usd
    impact = 1.5 * market.costs.impact * np.sqrt(np.abs(taken)) * np.sign(taken)
    curve = np.max(
        trade[:, :, None] * market.costs.slopes[:, None, :] + market.costs.intercepts[:, None, :], axis=2
    )
    buys, sells = market.positions.open_buys_usd[:, None], market.positions.open_sells_usd[:, None]
    ordered = np.maximum(np.abs(points + buys), np.abs(points - sells))
    height = (
        w.linear[:, None] * points
        + w.size[:, None] * size
        + w.order_size[:, None] * ordered
        + w.turnover[:, None] * np.abs(trade)
        + w.cost[:, None] * (curve + impact[:, None] * trade)
    )
    for s in np.flatnonzero(w.maintenance.any(axis=1)):
        required = bracket_maintenance(market.scheme, points, Shock.of(market, int(s)))
        height = height + w.maintenance[s][:, None] * required
    return np.asarray(height)


def _own_curvature(market: Market, w: Weights) -> Vector:
    """Curvature (n,) that instrument i has alone: λσ² of a basis's own part that no other shares."""
    members = np.bincount(market.risk.basis_group, minlength=len(market.risk.basis_sd))
    alone = members[market.risk.basis_group] == 1
    sd = market.risk.basis_sd[market.risk.basis_group]
    return np.where(alone, w.risk * market.objective.risk_aversion_per_usd * sd**2, 0.0)
