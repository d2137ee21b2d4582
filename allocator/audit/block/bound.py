"""The lower bound of `allocator.audit.bound` for a block of cells: the same Lagrangian, all cells at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.audit.block.figures import Figures, order_size
from allocator.audit.block.limits import BlockLimit
from allocator.audit.block.separable import separable_gap
from allocator.audit.block.stack import Block, Cells
from allocator.audit.bound import spread_limit
from allocator.audit.routes import NEAR, route_gap
from allocator.audit.weights import Weights
from allocator.evaluate import selected_assets, selected_venues, shortfall_name
from allocator.haircuts import cut_pockets, share_name
from allocator.market.boxes import position_cap
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Matrix
from allocator.scenario import schema
from models.arrays import Vector

Prices = Mapping[str, Matrix]


@dataclass
class BlockWeights:
    """`allocator.audit.weights.Weights` of K cells: every array has them as its leading axis."""

    linear: Matrix
    size: Matrix
    order_size: Matrix
    turnover: Matrix
    cost: Matrix
    maintenance: Cells
    required: Cells
    initial: Matrix
    equity: Cells
    kept: Matrix
    route: Matrix
    risk: Vector
    other: Vector
    gap: Vector

    @classmethod
    def empty(cls, block: Block) -> BlockWeights:
        """All zero but the weights of the objective's mode."""
        first, k = block.first, len(block)
        n, s, v = len(first.instruments), len(first.stresses.names), len(first.accounts)
        risk, other = block.weights
        return cls(
            linear=np.zeros((k, n)),
            size=np.zeros((k, n)),
            order_size=np.zeros((k, n)),
            turnover=np.zeros((k, 1)),
            cost=np.zeros((k, n)),
            maintenance=np.zeros((k, s, n)),
            required=np.zeros((k, s, v)),
            initial=np.zeros((k, v)),
            equity=np.zeros((k, s, v)),
            kept=np.zeros((k, len(first.pockets))),
            route=np.zeros((k, len(first.transfers.routes))),
            risk=np.full(k, risk),
            other=np.full(k, other),
            gap=np.zeros(k),
        )


def duality_gaps(figures: Figures, limits: Sequence[BlockLimit], prices: Prices) -> Vector:
    """USD (K,) by which each decision may miss its optimum, at most. `prices` (K, rows) by limit name."""
    block, w = figures.block, BlockWeights.empty(figures.block)
    used: dict[str, int] = {}
    for limit in limits:
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        y = np.maximum(prices[limit.name][:, start : used[limit.name]], 0.0)
        slack = limit.slack_usd
        if limit.price is not None:
            y = np.minimum(y, limit.price)
            w.gap += limit.price * np.maximum(-slack, 0.0).sum(axis=1)
        if limit.kind == "volatility" and limit.price is None:
            w.gap += _squared_volatility(w, limit, y[:, 0], block)
            continue
        w.gap += (y * slack).sum(axis=1)
        if limit.kind == "liquidity":
            _liquidity(figures, w, limit, y, prices)
        elif limit.single:
            _singly(figures, w, limit, y)
        else:
            _SPREAD[limit.kind](figures, w, limit, y)
    _objective(figures, w)
    _requirements(figures, w)
    _expand_equity(figures, w, prices)
    return np.asarray(w.gap + separable_gap(figures, w) + _route_gaps(figures, w))


def _squared_volatility(w: BlockWeights, limit: BlockLimit, y: Vector, block: Block) -> Vector:
    bound, sd = limit.bound[:, 0], limit.value[:, 0]
    per_variance = y / (2 * np.maximum(sd, 0.5 * bound))
    w.risk = w.risk + 2 * per_variance / block.aversion
    return np.asarray(per_variance * (bound**2 - sd**2))


def _singly(figures: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    """Spread by the single audit, cell by cell, into this block's arrays."""
    for k, market in enumerate(figures.block.markets):
        part = Weights(
            linear=w.linear[k],
            size=w.size[k],
            order_size=w.order_size[k],
            turnover=np.zeros(w.linear.shape[1]),
            cost=w.cost[k],
            maintenance=w.maintenance[k],
            required=w.required[k],
            initial=w.initial[k],
            equity=w.equity[k],
            kept=w.kept[k],
            route=w.route[k],
            risk=float(w.risk[k]),
            other=float(w.other[k]),
        )
        decision = Decision(figures.positions[k], figures.transfers[k])
        spread_limit(market, decision, part, limit.cell(k), y[k])
        for name in ("linear", "size", "order_size", "cost", "maintenance", "required", "initial", "equity"):
            getattr(w, name)[k] = getattr(part, name)
        w.kept[k], w.route[k] = part.kept, part.route
        w.risk[k], w.other[k] = part.risk, part.other
        w.gap[k] += part.gap


def _objective(figures: Figures, w: BlockWeights) -> None:
    block = figures.block
    other, share = w.other[:, None], block.horizon_share[:, None]
    w.linear += other * block.funding
    w.cost += other * share
    w.route += other * share * block.transfer_cost
    w.linear += (w.risk * block.aversion / 2)[:, None] * figures.risk.slope
    w.linear += other * figures.uncertainty_slope


def _requirements(figures: Figures, w: BlockWeights) -> None:
    """What venues ask for as weights of instruments: their own schedules, initial margin with open orders."""
    block, size = figures.block, figures.size
    venue_of = block.first.venue_of
    if w.required.any():
        weight = w.required[:, :, venue_of]
        w.maintenance += weight
        scheme_bend = block.take(lambda m: m.scheme.bend)
        if scheme_bend.any():
            bend = block.take(lambda m: m.stresses.bend) * scheme_bend[:, None]
            w.size += (weight * bend).sum(axis=1) * 2 * size
    if w.initial.any():
        rate, bend = block.take(lambda m: m.scheme.initial_rate), block.take(lambda m: m.scheme.initial_bend)
        w.order_size += w.initial[:, venue_of] * (rate + 2 * bend * order_size(block, figures.positions))


def moved(block: Block, per_balance: Matrix, arrived_only: bool) -> Matrix:
    """What a dollar along each route (K, R) changes, at `per_balance` (K, P) dollars per dollar there."""
    source, target = block.route_ends
    counts = block.first.transfers.arrives if arrived_only else np.ones(len(source))
    return np.asarray(per_balance[:, target] * counts - per_balance[:, source] * (1 + block.transfer_cost))


def _expand_equity(figures: Figures, w: BlockWeights, prices: Prices) -> None:
    """−μ·equity as coefficients: P&L, funding losses, costs paid, transfers; haircuts by their pieces."""
    block, first = figures.block, figures.block.first
    priced = np.flatnonzero(w.equity.any(axis=(0, 2)))
    pnl, loss = block.pnl, block.size_loss
    factor, haircut = (
        block.pocket_factor,
        block.haircut,
    )
    cut = cut_pockets(first)
    for s in priced:
        mu = w.equity[:, s][:, first.pocket_venue]
        counted = np.ones(mu.shape)
        if len(cut):
            worth = figures.worth[:, s, cut]
            slope = np.stack(np.broadcast_arrays(np.ones(worth.shape), 1.0 - haircut[:, s, cut]), axis=2)
            value = slope * worth[:, :, None]
            share = _shares(value, prices.get(share_name(int(s))), block.book)
            counted[:, cut] = (share * slope).sum(axis=2)
            lost = (share * (value - value.min(axis=2, keepdims=True))).sum(axis=2)
            w.gap += (mu[:, cut] * lost).sum(axis=1)
        pull = (mu * counted)[:, first.pocket_of]
        w.linear -= pull * pnl[:, s]
        w.size += pull * loss[:, s]
        paid = mu * counted * factor[:, s]
        w.cost += paid[:, first.pocket_of]
        w.route += moved(block, -paid, arrived_only=True)
    w.route += moved(block, w.kept, arrived_only=False)


def _shares(value: Cells, duals: Matrix | None, book: Vector) -> Cells:
    """Weights (K, P, 2) that add up to one per pocket, on pieces whose `value` is the least or near it."""
    least = np.argmin(value, axis=2)
    chosen = np.zeros(value.shape)
    np.put_along_axis(chosen, least[:, :, None], 1.0, axis=2)
    if duals is None or duals.shape[1] != value.shape[1] * value.shape[2]:
        return chosen
    near = value.min(axis=2, keepdims=True) + NEAR * book[:, None, None]
    priced = np.where(value <= near, np.maximum(duals.reshape(value.shape), 0.0), 0.0)
    total = priced.sum(axis=2, keepdims=True)
    return np.where(total > 0, priced / np.where(total > 0, total, 1.0), chosen)


def _route_gaps(figures: Figures, w: BlockWeights) -> Vector:
    """As `allocator.audit.routes.route_gap`; where a balance is at the kink of its charge, cell by cell."""
    block, kept = figures.block, figures.kept
    if not block.first.transfers.routes:
        return np.zeros(len(block))
    charge = w.other[:, None] * block.charge
    source, _ = block.route_ends
    most = block.withdrawable[:, source] / (1 + block.transfer_cost)
    theta = (kept > 0).astype(float)
    worth = w.route + moved(block, theta * charge, arrived_only=False)
    bent = (charge * (np.maximum(kept, 0.0) - theta * kept)).sum(axis=1)
    gaps = bent + (worth * figures.transfers - np.minimum(worth * most, 0.0)).sum(axis=1)
    kinked = (np.abs(kept) <= NEAR * block.book[:, None]) & (charge > 0)
    for k in np.flatnonzero(kinked.any(axis=1)):
        decision = Decision(figures.positions[k], figures.transfers[k])
        gaps[k] = route_gap(block.markets[k], decision, w.route[k], charge[k], kept[k])
    return np.asarray(gaps)


def _at_venues(figures: Figures, names: object, y: Matrix) -> Matrix:
    """Prices of a limit's venues as an array over all venues (K, V)."""
    first = figures.block.first
    result = np.zeros((len(y), len(first.accounts)))
    result[:, selected_venues(first, names)] = y  # type: ignore[arg-type]
    return result


def _limit(figures: Figures, limit: BlockLimit) -> schema.Limit:
    assert limit.place is not None
    return figures.block.first.limits[limit.place].limit


def _figure(figures: Figures, limit: BlockLimit, name: str) -> Matrix:
    """A figure of the limit as a column (K, 1)."""
    assert limit.place is not None
    return figures.block.figure(limit.place, name)[:, None]


def _by_asset(figures: Figures, names: object, y: Matrix) -> Matrix:
    """Prices of a limit's assets at each instrument (K, n)."""
    first = figures.block.first
    price = np.zeros((len(y), len(first.assets)))
    price[:, selected_assets(first, names)] = y  # type: ignore[arg-type]
    return price[:, first.asset_of]


def _net_delta(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.NetDelta)
    w.linear += (-1.0 if limit.name.endswith(".min") else 1.0) * _by_asset(f, spec.assets, y)


def _hedge_ratio(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.HedgeRatio)
    sign = -1.0 if limit.name.endswith(".min") else 1.0
    hedged = -np.sign(f.block.exposure)[:, f.block.first.asset_of]
    w.linear += sign * hedged * _by_asset(f, spec.assets, y)


def _gross(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec, first = _limit(f, limit), f.block.first
    assert isinstance(spec, schema.Gross)
    w.size += y * np.isin(first.venue_of, selected_venues(first, spec.venues))


def _leverage(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.LeverageLimit)
    per_venue = _at_venues(f, spec.venues, y)
    w.size += per_venue[:, f.block.first.venue_of]
    w.equity[:, 0] += _figure(f, limit, "max") * per_venue


def _turnover(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    w.turnover += y


def _venue_share(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.VenueShare)
    w.size += _at_venues(f, spec.venues, y)[:, f.block.first.venue_of]
    if spec.of == "gross":
        total = _figure(f, limit, "max") * y.sum(axis=1, keepdims=True)
        w.linear -= total * f.block.take(lambda m: m.direction)


def _collateral_share(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.CollateralShare)
    total = _figure(f, limit, "max") * y.sum(axis=1, keepdims=True)
    w.kept += _at_venues(f, spec.venues, y)[:, f.block.first.pocket_venue] - total


def _initial_margin(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.InitialMargin)
    per_venue = _at_venues(f, spec.venues, y)
    w.initial += per_venue
    w.equity[:, 0] += _figure(f, limit, "use") * per_venue


def _maintenance_margin(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.MaintenanceMargin)
    rows = stressed_rows(spec.stresses, f.block.first.stresses.names)
    buffer = _figure(f, limit, "buffer")
    prices = y.reshape(len(y), len(rows), -1)
    for k, s in enumerate(rows):
        per_venue = _at_venues(f, spec.venues, prices[:, k])
        w.required[:, s] += buffer * per_venue
        w.equity[:, s] += per_venue


def _liquidity(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix, prices: Prices) -> None:
    """As `allocator.audit.bound` shares a reserve among venues: by their rows' multipliers at the kink."""
    spec, names = _limit(f, limit), f.block.first.stresses.names
    assert isinstance(spec, schema.Liquidity)
    warning, near = _figure(f, limit, "warning"), NEAR * f.block.book[:, None]
    for k, s in enumerate(stressed_rows(spec.stresses, names)):
        price = y[:, k : k + 1]
        lacking = warning * f.maintenance[:, s] - f.equity[:, s]
        share = np.where(lacking > 0, price, 0.0)
        priced = prices.get(shortfall_name(limit.name, names[s]))
        if priced is not None and priced.shape[1] == lacking.shape[1]:
            share = np.where(np.abs(lacking) <= near, np.clip(priced, 0.0, price), share)
        w.gap += (price * np.maximum(lacking, 0.0) - share * lacking).sum(axis=1)
        w.required[:, s] += warning * share
        w.equity[:, s] += share


def _soft_volatility(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    sd = limit.value[:, :1]
    inverse = np.divide(y[:, :1], 2 * sd, out=np.zeros(sd.shape), where=sd > 0)
    w.linear += inverse * f.risk.slope


def _cost_budget(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    w.other = w.other + y[:, 0]


def _position(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    spec = _limit(f, limit)
    assert isinstance(spec, schema.PositionCap)
    w.size[:, np.isfinite(position_cap(spec, f.block.first.instruments))] += y


def _transfer(f: Figures, w: BlockWeights, limit: BlockLimit, y: Matrix) -> None:
    block, first = f.block, f.block.first
    source, _ = block.route_ends
    per_pocket = np.zeros((len(y), len(first.pockets)))
    if limit.name == "transfers.withdrawable":
        per_pocket[:, np.unique(source)] = y
    else:
        stress = limit.subjects[0].partition(" ")[2]
        row = 0 if limit.name == "transfers.initial_margin" else 1 + first.stresses.names.index(stress)
        per_venue = np.zeros((len(y), len(first.accounts)))
        per_venue[:, np.isfinite(first.transfers.headroom[row])] = y
        leaving = block.take(lambda m: m.transfers.leaving)
        per_pocket = per_venue[:, first.pocket_venue] * leaving[:, row]
    w.route += per_pocket[:, source] * (1 + block.transfer_cost)


_SPREAD: Mapping[str, Callable[[Figures, BlockWeights, BlockLimit, Matrix], None]] = {
    "net_delta": _net_delta,
    "hedge_ratio": _hedge_ratio,
    "gross": _gross,
    "leverage": _leverage,
    "turnover": _turnover,
    "venue_share": _venue_share,
    "collateral_share": _collateral_share,
    "initial_margin": _initial_margin,
    "maintenance_margin": _maintenance_margin,
    "volatility": _soft_volatility,
    "cost_budget": _cost_budget,
    "position": _position,
    "transfer": _transfer,
}
