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

import numpy as np

from allocator import evaluate
from allocator.audit.limits import LimitValues
from allocator.audit.requirements import expand_requirements
from allocator.audit.routes import NEAR, moved, route_gap
from allocator.audit.separable import separable_gap
from allocator.audit.weights import Weights
from allocator.cushion import cushion, multiplier
from allocator.evaluate import VenueState, selected_assets, selected_venues, shortfall_name
from allocator.haircuts import piece_shares, share_name, value_pieces
from allocator.market.boxes import participation_bounds, position_cap, side_bounds
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Market
from allocator.scenario import schema
from models.arrays import Vector
from models.covariance import variance_gradient
from models.error_factors import correlated
from models.hedge import currency_exposure


def duality_gap(
    market: Market, decision: Decision, values: Sequence[LimitValues], prices: Mapping[str, Vector]
) -> float:
    """USD by which the decision may miss the optimum, at most. `prices` by limit name, USD per USD."""
    w = Weights.empty(market)
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
            if limit.kind == "liquidity":
                _shared_shortfall(market, state, w, limit, y, prices)
            else:
                _SPREAD[limit.kind](market, decision, state, w, limit, y)
    _objective(market, decision, w)
    expand_requirements(market, decision, w, prices)
    _expand_equity(market, decision, w, prices)
    kept = evaluate.balances(market, decision, np.zeros(len(market.instruments)), in_transit=True)
    charge = w.other * market.collateral.charge[market.pocket_venue]
    return w.gap + separable_gap(market, decision, w) + route_gap(market, decision, w.route, charge, kept)


def _squared_volatility(w: Weights, limit: LimitValues, y: float, market: Market) -> float:
    """sd ≤ σ is Var ≤ σ², whose multiplier y/2sd is curvature; returns its share of the gap."""
    bound, sd = float(limit.bound[0]), float(limit.value[0])
    # Any multiplier will do; y/2sd has the slope of y·sd exactly, also where sd misses σ by a little.
    per_variance = y / (2 * max(sd, 0.5 * bound))
    w.risk += 2 * per_variance / market.objective.risk_aversion_per_usd
    return per_variance * (bound**2 - sd**2)


def _objective(market: Market, decision: Decision, w: Weights) -> None:
    x, goal = decision.positions, market.objective
    w.linear += w.other * market.funding.cost
    w.cost += w.other * market.horizon_share
    w.route += w.other * market.horizon_share * market.transfers.cost
    w.linear += w.risk * goal.risk_aversion_per_usd / 2 * variance_slope(market, x)
    spread = goal.funding_uncertainty_aversion * market.funding.uncertainty
    if (norm := evaluate.funding_uncertainty(market, x)) > 0:
        w.linear += w.other * spread * correlated(market.funding.errors, spread * x) / norm


def variance_slope(market: Market, x: Vector) -> Vector:
    """Derivative (n,) of the variance in each position: through delta, basis and quote currency."""
    quote = currency_exposure(market.cash, x, market.index_currency_of)
    slope = variance_gradient(market.risk, evaluate.deltas(market, x), x, quote)
    indexed = market.index_currency_of
    by_quote = np.append(slope.currency_exposure, 0.0)[indexed]  # −1, USD, is the appended 0
    return np.asarray(slope.delta[market.asset_of] + slope.positions - by_quote)


def spread_limit(market: Market, decision: Decision, w: Weights, limit: LimitValues, prices: Vector) -> None:
    """Add prices · (value − bound) of one limit to `w`, whose kinks and norms are those at the decision.

    `prices` (subjects,) are USD per USD. A limit on volatility enters by its tangent.
    """
    _SPREAD[limit.kind](market, decision, evaluate.venues(market, decision), w, limit, prices)


def _expand_equity(market: Market, decision: Decision, w: Weights, prices: Mapping[str, Vector]) -> None:
    """−μ·equity as coefficients: P&L, funding losses, costs paid, transfers; haircuts by their pieces."""
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
        counted = np.ones(len(cash))
        pieces = value_pieces(market, int(s))
        value = pieces.slope * worth[pieces.pocket] + pieces.intercept
        near = NEAR * market.book_usd
        share = piece_shares(pieces, value, prices.get(share_name(int(s))), near)
        least = np.full(len(cash), np.inf)
        np.minimum.at(least, pieces.pocket, value)
        counted[np.unique(pieces.pocket)] = 0.0
        np.add.at(counted, pieces.pocket, share * pieces.slope)
        w.gap += float((mu[pieces.pocket] * share) @ (value - least[pieces.pocket]))
        pull = (mu * counted)[market.pocket_of]
        w.linear -= pull * stress.pnl[s]
        w.size += pull * stress.size_loss[s]
        paid = mu * counted * stress.pocket_factor[s]
        w.cost += paid[market.pocket_of]
        w.route += moved(market, -paid, arrived_only=True)
    w.route += moved(market, w.kept, arrived_only=False)


def _spec(market: Market, limit: LimitValues) -> schema.Limit:
    return next(s.limit for s in market.limits if limit.name.split(".")[1] == s.key)


def _net_delta(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    sign = -1.0 if limit.name.endswith(".min") else 1.0
    price = dict(zip(limit.subjects, y, strict=True))
    w.linear += sign * np.array([price.get(i.asset, 0.0) for i in m.instruments])


def _hedge_ratio(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    sign = -1.0 if limit.name.endswith(".min") else 1.0
    price = dict(zip(limit.subjects, y, strict=True))
    hedged = -np.sign(m.exposure)[m.asset_of]
    w.linear += sign * hedged * np.array([price.get(i.asset, 0.0) for i in m.instruments])


def _gross(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Gross)
    w.size += float(y[0]) * np.isin(m.venue_of, selected_venues(m, spec.venues))


def _leverage(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.LeverageLimit)
    per_venue = _at_venues(m, spec.venues, y)
    w.size += per_venue[m.venue_of]
    w.equity[0] += spec.max * per_venue


def _turnover(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    w.turnover += float(y[0])


def _venue_share(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.VenueShare)
    w.size += _at_venues(m, spec.venues, y)[m.venue_of]
    if spec.of == "gross":
        w.linear -= spec.max * float(y.sum()) * m.direction


def _collateral_share(
    m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.CollateralShare)
    w.kept += _at_venues(m, spec.venues, y)[m.pocket_venue] - spec.max * float(y.sum())


def _venue_outage(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.VenueOutage)
    if limit.name.endswith(".max_loss"):
        _outage_loss(m, w, spec, y)
        return
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


def _outage_loss(m: Market, w: Weights, spec: schema.VenueOutage, y: Vector) -> None:
    rows = stressed_rows(spec.stresses, m.stresses.names)
    for s, prices in zip(rows, y.reshape(len(rows), -1), strict=True):
        price = (1 - (spec.recovery or 0.0)) * _at_venues(m, spec.venues, prices)
        w.linear += price[m.venue_of] * m.stresses.pnl[s]
        w.kept += price[m.pocket_venue] * m.stresses.pocket_factor[s]


def _initial_margin(
    m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.InitialMargin)
    per_venue = _at_venues(m, spec.venues, y)
    w.initial += per_venue
    w.equity[0] += spec.use * per_venue


def _maintenance_margin(
    m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector
) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.MaintenanceMargin)
    rows = stressed_rows(spec.stresses, m.stresses.names)
    for s, prices in zip(rows, y.reshape(len(rows), -1), strict=True):
        per_venue = _at_venues(m, spec.venues, prices)
        w.required[s] += spec.buffer * per_venue
        w.equity[s] += per_venue


def _liquidity(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    _shared_shortfall(m, st, w, limit, y, {})


def _shared_shortfall(
    m: Market, st: VenueState, w: Weights, limit: LimitValues, y: Vector, prices: Mapping[str, Vector]
) -> None:
    """y·(lacking)⁺ of each venue by f·lacking below it, for any f from 0 to y.

    At the warning level itself the multipliers of the rows of venues say which; elsewhere there is no choice.
    """
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Liquidity)
    near = NEAR * m.book_usd
    for s, price in zip(stressed_rows(spec.stresses, m.stresses.names), y, strict=True):
        lacking = spec.warning * st.maintenance_margin[s] - st.equity[s]
        priced = prices.get(shortfall_name(limit.name, m.stresses.names[s]), np.zeros(0))
        share = np.where(lacking > 0, price, 0.0)
        if len(priced) == len(lacking):
            share = np.where(np.abs(lacking) <= near, np.clip(priced, 0.0, price), share)
        w.gap += float((price * np.maximum(lacking, 0.0) - share * lacking).sum())
        w.required[s] += spec.warning * share
        w.equity[s] += share


def _soft_volatility(
    m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector
) -> None:
    sd = float(limit.value[0])
    if sd > 0:
        w.linear += float(y[0]) * variance_slope(m, d.positions) / (2 * sd)


def _cost_budget(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    w.other += float(y[0])


def _position(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.PositionCap)
    w.size[np.isfinite(position_cap(spec, m.instruments))] += y


def _participation(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    spec = _spec(m, limit)
    assert isinstance(spec, schema.Participation)
    sell, buy = participation_bounds(spec, m.costs)
    sign = 1.0 if limit.subjects and limit.subjects[0].endswith(" buy") else -1.0
    w.linear[np.isfinite(sell) & np.isfinite(buy)] += sign * y


def _hedge_side(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    lower, upper = side_bounds(m.hedged_exposure, m.positions.usd)
    if limit.subjects and limit.subjects[0].endswith(" upper"):
        w.linear[np.isfinite(upper)] += y
    else:
        w.linear[np.isfinite(lower)] -= y


def _transfer(m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector) -> None:
    transfers = m.transfers
    per_pocket = np.zeros(len(m.pockets))
    if limit.name == "transfers.withdrawable":
        per_pocket[np.unique([route.source for route in transfers.routes])] = y
    else:
        stress = limit.subjects[0].partition(" ")[2]
        row = 0 if limit.name == "transfers.initial_margin" else 1 + m.stresses.names.index(stress)
        per_venue = np.zeros(len(m.accounts))
        per_venue[np.isfinite(transfers.headroom[row])] = y
        per_pocket = per_venue[m.pocket_venue] * transfers.leaving[row]
    source = np.array([route.source for route in transfers.routes])
    w.route += per_pocket[source] * (1 + transfers.cost)


def _liquidation_probability(
    m: Market, d: Decision, st: VenueState, w: Weights, limit: LimitValues, y: Vector
) -> None:
    """z·sd by its tangent at the decision, and the cushion itself."""
    spec = _spec(m, limit)
    assert isinstance(spec, schema.LiquidationProbability)
    z = multiplier(spec)
    for venue, price in zip(selected_venues(m, spec.venues), y, strict=True):
        slope = cushion(m, d, int(venue), spec.arrival)
        w.linear += price * z * slope.linear
        w.size += price * z * slope.size
        w.route += moved(m, price * z * slope.balance, arrived_only=True)
        w.equity[0, venue] += price
        w.required[0, venue] += price


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
    "liquidation_probability": _liquidation_probability,
    "cost_budget": _cost_budget,
    "position": _position,
    "participation": _participation,
    "hedge_side": _hedge_side,
    "transfer": _transfer,
}
