"""A lower bound on what any decision could cost, from the multipliers alone.

For multipliers y ≥ 0 of the limits, the Lagrangian L(x) = objective + Σ y_j·(value_j − bound_j) is nowhere
above the objective of a permitted decision, so its minimum over the positions' boxes bounds the optimum
from below, whatever the multipliers: wrong ones only make the bound weak. At a decision x* the variance and
the norms are replaced by their tangents plus, per instrument, the curvature of its own basis; everything
else is separable and piecewise linear, and its minimum is found exactly at the kinks. Hence

    gap = Σ y_j·slack_j + Σ_i (h_i(x*_i) − min over box of h_i) + Σ_r (same for transfers)

in USD, and objective(x*) − gap ≤ optimum. Only `models`, arrays and the multipliers are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator import evaluate
from allocator.audit.limits import LimitValues
from allocator.evaluate import VenueState, selected_assets, selected_venues
from allocator.market.boxes import participation_bounds, position_cap, side_bounds
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Market, Matrix
from allocator.scenario import schema
from models.arrays import Vector
from models.covariance import variance_gradient
from models.hedge import currency_exposure

FAR = 1e3  # positions beyond this many books are not considered where no limit bounds them


@dataclass
class _Weights:
    """Coefficients of the Lagrangian: what each function of an instrument, stress or route is worth."""

    linear: Vector
    size: Vector
    order_size: Vector
    turnover: Vector
    cost: Vector
    maintenance: Matrix
    equity: Matrix
    kept: Vector
    route: Vector
    risk: float
    other: float
    gap: float = 0.0

    @classmethod
    def empty(cls, market: Market) -> _Weights:
        n, s = len(market.instruments), len(market.stresses.names)
        risk, other = evaluate.objective_weights(market)
        return cls(
            linear=np.zeros(n),
            size=np.zeros(n),
            order_size=np.zeros(n),
            turnover=np.zeros(n),
            cost=np.zeros(n),
            maintenance=np.zeros((s, n)),
            equity=np.zeros((s, len(market.accounts))),
            kept=np.zeros(len(market.pockets)),
            route=np.zeros(len(market.transfers.routes)),
            risk=risk,
            other=other,
        )


def duality_gap(
    market: Market, decision: Decision, values: Sequence[LimitValues], prices: Mapping[str, Vector]
) -> float:
    """USD by which the decision may miss the optimum, at most. `prices` by limit name, USD per USD."""
    w = _Weights.empty(market)
    state = evaluate.venues(market, decision)
    used: dict[str, int] = {}
    for limit in values:
        # Rows of one name follow each other, in the same order as in the program.
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        y = np.maximum(prices[limit.name][start : used[limit.name]], 0.0)
        slack = limit.slack_usd
        if limit.price is not None:
            y = np.minimum(y, limit.price)
            w.gap += limit.price * float(np.maximum(-slack, 0.0).sum())
        if limit.kind == "volatility" and limit.price is None:
            w.gap += _squared_volatility(w, limit, float(y[0]), market)
        else:
            w.gap += float(y @ slack)
            _SPREAD[limit.kind](market, decision, state, w, limit, y)
    _objective(market, decision, w)
    _expand_equity(market, decision, w)
    return w.gap + _separable_gap(market, decision, w) + _route_gap(market, decision, w)


def _squared_volatility(w: _Weights, limit: LimitValues, y: float, market: Market) -> float:
    """sd ≤ σ is Var ≤ σ², whose multiplier y/2σ is curvature; returns its share of the gap."""
    bound = float(limit.bound[0])
    w.risk += y / bound / market.objective.risk_aversion_per_usd
    return y / (2 * bound) * (bound**2 - float(limit.value[0]) ** 2)


def _objective(market: Market, decision: Decision, w: _Weights) -> None:
    x, goal = decision.positions, market.objective
    w.linear += w.other * market.funding.cost
    w.cost += w.other * market.horizon_share
    w.route += w.other * market.horizon_share * market.transfers.cost
    costless = np.zeros(len(x))
    kept = evaluate.balances(market, decision, costless, in_transit=True)
    w.kept += w.other * market.collateral.charge[market.pocket_venue] * (kept > 0)
    w.linear += w.risk * goal.risk_aversion_per_usd / 2 * _variance_slope(market, x)
    spread = goal.funding_uncertainty_aversion * market.funding.uncertainty
    if (norm := float(np.linalg.norm(spread * x))) > 0:
        w.linear += w.other * spread**2 * x / norm


def _variance_slope(market: Market, x: Vector) -> Vector:
    """Derivative (n,) of the variance in each position: through delta, basis and quote currency."""
    quote = currency_exposure(market.cash, x, market.index_currency_of)
    slope = variance_gradient(market.risk, evaluate.deltas(market, x), x, quote)
    indexed = market.index_currency_of
    by_quote = np.append(slope.currency_exposure, 0.0)[indexed]  # −1, USD, is the appended 0
    return np.asarray(slope.delta[market.asset_of] + slope.positions - by_quote)


def _expand_equity(market: Market, decision: Decision, w: _Weights) -> None:
    """−μ·equity as coefficients: P&L, funding losses, costs paid, transfers; haircuts by their tangent."""
    stress = market.stresses
    x = decision.positions
    cash = evaluate.balances(market, decision, evaluate.trade_costs(market, x - market.positions.usd).total)
    for s in range(len(stress.names)):
        mu = w.equity[s, market.pocket_venue]
        if not mu.any():
            continue
        gain = stress.pnl[s] * x - stress.size_loss[s] * np.abs(x)
        worth = stress.pocket_factor[s] * cash + np.bincount(
            market.pocket_of, weights=gain, minlength=len(cash)
        )
        counted = np.where(worth > 0, 1 - stress.haircut[s], 1.0)
        pull = (mu * counted)[market.pocket_of]
        w.linear -= pull * stress.pnl[s]
        w.size += pull * stress.size_loss[s]
        paid = mu * counted * stress.pocket_factor[s]
        w.cost += paid[market.pocket_of]
        _move(market, w.route, -paid, arrived_only=True)
    _move(market, w.route, w.kept, arrived_only=False)


def _move(market: Market, route: Vector, per_balance: Vector, arrived_only: bool) -> None:
    """Add to each route what a dollar along it changes, at `per_balance` (P,) dollars per dollar there."""
    transfers = market.transfers
    for r, (source, target) in enumerate((q.source, q.target) for q in transfers.routes):
        route[r] -= per_balance[source] * (1 + transfers.cost[r])
        if transfers.arrives[r] or not arrived_only:
            route[r] += per_balance[target]


def _separable_gap(market: Market, decision: Decision, w: _Weights) -> float:
    """Σ_i h_i(x*_i) − min over box of h_i, each minimum exact between and at the kinks."""
    x = decision.positions
    far = FAR * market.book_usd
    lower, upper = np.maximum(market.lower, -far), np.minimum(market.upper, far)
    points = np.sort(
        np.clip(np.column_stack([*_kinks(market), lower, upper, x]), lower[:, None], upper[:, None]), axis=1
    )
    height = _heights(market, decision, w, points) - _heights(market, decision, w, x[:, None])
    curvature = _own_curvature(market, w)
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
    return float(-lowest.sum())


def _kinks(market: Market) -> list[Vector]:
    """Columns (n,) of all points where a piecewise-linear function of a position may bend."""
    n = len(market.instruments)
    slopes, cuts = market.costs.slopes, market.costs.intercepts
    gaps = np.diff(slopes, axis=1)
    bends = np.divide(-np.diff(cuts, axis=1), gaps, out=np.zeros_like(gaps), where=gaps != 0)
    held = market.positions.usd
    columns = [np.zeros(n), held, (market.positions.open_sells_usd - market.positions.open_buys_usd) / 2]
    columns += [held + bends[:, k] for k in range(bends.shape[1])]
    floors = np.where(np.isfinite(market.schedules.floors_usd), market.schedules.floors_usd, 0.0)
    for s in range(len(market.stresses.names)):
        scale = market.stresses.deduction[s] / market.stresses.notional[s]
        for k in range(1, floors.shape[1]):
            columns += [floors[:, k] * scale, -floors[:, k] * scale]
    return columns


def _heights(market: Market, decision: Decision, w: _Weights, points: Matrix) -> Matrix:
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
        height = height + w.maintenance[s][:, None] * evaluate.stressed_maintenance(market, points, int(s))
    return np.asarray(height)


def _own_curvature(market: Market, w: _Weights) -> Vector:
    """Curvature (n,) that instrument i has alone: λσ² of a basis that no other instrument shares."""
    members = np.bincount(market.risk.basis_group, minlength=len(market.risk.basis_sd))
    alone = members[market.risk.basis_group] == 1
    sd = market.risk.basis_sd[market.risk.basis_group]
    return np.where(alone, w.risk * market.objective.risk_aversion_per_usd * sd**2, 0.0)


def _route_gap(market: Market, decision: Decision, w: _Weights) -> float:
    transfers = market.transfers
    if not transfers.routes:
        return 0.0
    source = np.array([route.source for route in transfers.routes])
    most = market.collateral.withdrawable[source] / (1 + transfers.cost)
    return float((w.route * decision.transfers - np.minimum(w.route * most, 0.0)).sum())


def _spec(market: Market, limit: LimitValues) -> schema.Limit:
    return next(s.limit for s in market.limits if limit.name.split(".")[1] == s.key)


def _net_delta(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    sign = -1.0 if limit.name.endswith(".min") else 1.0
    price = dict(zip(limit.subjects, y, strict=True))
    w.linear += sign * np.array([price.get(i.asset, 0.0) for i in m.instruments])


def _hedge_ratio(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    sign = -1.0 if limit.name.endswith(".min") else 1.0
    price = dict(zip(limit.subjects, y, strict=True))
    hedged = -np.sign(m.exposure)[m.asset_of]
    w.linear += sign * hedged * np.array([price.get(i.asset, 0.0) for i in m.instruments])


def _gross(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Gross)
    w.size += float(y[0]) * np.isin(m.venue_of, selected_venues(m, spec.venues))


def _leverage(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.LeverageLimit)
    per_venue = _at_venues(m, spec.venues, y)
    w.size += per_venue[m.venue_of]
    w.equity[0] += spec.max * per_venue


def _turnover(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    w.turnover += float(y[0])


def _venue_share(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.VenueShare)
    w.size += _at_venues(m, spec.venues, y)[m.venue_of]
    if spec.of == "gross":
        w.linear -= spec.max * float(y.sum()) * m.direction


def _collateral_share(
    m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.CollateralShare)
    w.kept += _at_venues(m, spec.venues, y)[m.pocket_venue] - spec.max * float(y.sum())


def _venue_outage(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.VenueOutage)
    assets = selected_assets(m, spec.assets)
    at = iter(y)
    for venue in selected_venues(m, spec.venues):
        for sign in (1.0, -1.0):
            price = np.zeros(len(m.assets))
            for a in assets:
                price[a] = sign * next(at)
            w.linear += np.where(m.venue_of == venue, 0.0, price[m.asset_of])
            coins = [price[m.assets.index(p.currency)] if p.currency in m.assets else 0.0 for p in m.pockets]
            w.kept -= np.where(m.pocket_venue == venue, coins, 0.0)


def _initial_margin(
    m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.InitialMargin)
    per_venue = _at_venues(m, spec.venues, y)
    w.order_size += per_venue[m.venue_of] / m.leverage
    w.equity[0] += spec.use * per_venue


def _maintenance_margin(
    m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.MaintenanceMargin)
    rows = stressed_rows(spec.stresses, m.stresses.names)
    for s, prices in zip(rows, y.reshape(len(rows), -1), strict=True):
        per_venue = _at_venues(m, spec.venues, prices)
        w.maintenance[s] += spec.buffer * per_venue[m.venue_of]
        w.equity[s] += per_venue


def _liquidity(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Liquidity)
    for s, price in zip(stressed_rows(spec.stresses, m.stresses.names), y, strict=True):
        lacks = spec.warning * st.maintenance_margin[s] > st.equity[s]
        w.maintenance[s] += spec.warning * price * lacks[m.venue_of]
        w.equity[s] += price * lacks


def _soft_volatility(
    m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector
) -> None:
    sd = float(limit.value[0])
    if sd > 0:
        w.linear += float(y[0]) * _variance_slope(m, d.positions) / (2 * sd)


def _cost_budget(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    w.other += float(y[0])


def _position(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.PositionCap)
    w.size[np.isfinite(position_cap(spec, m.instruments))] += y


def _participation(
    m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Participation)
    sell, buy = participation_bounds(spec, m.costs)
    sign = 1.0 if limit.subjects and limit.subjects[0].endswith(" buy") else -1.0
    w.linear[np.isfinite(sell) & np.isfinite(buy)] += sign * y


def _hedge_side(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    lower, upper = side_bounds(m.hedged_exposure, m.positions.usd)
    if limit.subjects and limit.subjects[0].endswith(" upper"):
        w.linear[np.isfinite(upper)] += y
    else:
        w.linear[np.isfinite(lower)] -= y


def _transfer(m: Market, d: Decision, st: VenueState, w: _Weights, limit: LimitValues, y: Vector) -> None:
    transfers = m.transfers
    per_pocket = np.zeros(len(m.pockets))
    if limit.name == "transfers.withdrawable":
        per_pocket[np.unique([route.source for route in transfers.routes])] = y
    else:
        stress = limit.subjects[0].partition(" ")[2]
        row = 0 if limit.name == "transfers.initial_margin" else 1 + m.stresses.names.index(stress)
        s = max(row - 1, 0)
        per_venue = np.zeros(len(m.accounts))
        per_venue[np.isfinite(transfers.headroom[row])] = y
        per_pocket = per_venue[m.pocket_venue] * m.stresses.pocket_factor[s] * (1 - m.stresses.haircut[s])
    source = np.array([route.source for route in transfers.routes])
    w.route += per_pocket[source] * (1 + transfers.cost)


def _at_venues(market: Market, names: object, y: Vector) -> Vector:
    """Prices of a limit's venues as an array over all venues (V,)."""
    result = np.zeros(len(market.accounts))
    result[selected_venues(market, names)] = y  # type: ignore[arg-type]
    return result


_SPREAD = {
    "net_delta": _net_delta,
    "hedge_ratio": _hedge_ratio,
    "gross": _gross,
    "leverage": _leverage,
    "turnover": _turnover,
    "venue_share": _venue_share,
    "collateral_share": _collateral_share,
    "venue_outage": _venue_outage,
    "initial_margin": _initial_margin,
    "maintenance_margin": _maintenance_margin,
    "liquidity": _liquidity,
    "volatility": _soft_volatility,
    "cost_budget": _cost_budget,
    "position": _position,
    "participation": _participation,
    "hedge_side": _hedge_side,
    "transfer": _transfer,
}
