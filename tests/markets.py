"""Markets built directly from numbers, without files: `build` makes a `Market` of a `Spec`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from specs import Balance, Perp, Spec

from allocator.market.boxes import fixed_sides, participation_bounds, position_cap, side_bounds
from allocator.market.scheme import bracket_scheme
from allocator.market.stresses import stress_arrays, with_haircuts
from allocator.market.transfers import with_headroom
from allocator.market.types import (
    Account,
    Box,
    Collateral,
    Costs,
    Funding,
    Instrument,
    LimitSpec,
    Market,
    Pocket,
    Positions,
    Prices,
    Route,
    Transfers,
)
from allocator.scenario import schema
from models.arrays import Vector
from models.contracts import Contract
from models.costs import trade_cost_segments
from models.covariance import RiskModel, factor_form
from models.error_factors import ErrorSorts, shared_errors
from models.margin import Schedules, leverage_cap_usd, marginal_rates

AS_OF = datetime(2026, 11, 20, tzinfo=UTC)
MARK = 100.0


def build(spec: Spec) -> Market:
    """The market of a spec."""
    accounts = tuple(Account(name, name, "main") for name in spec.venues)
    place = {name: k for k, name in enumerate(spec.venues)}
    instruments = tuple(_instrument(p) for p in spec.perps)
    balances = _balances(spec)
    pockets = tuple(Pocket(b.venue, b.currency) for b in balances)
    currencies = tuple(spec.currency_sd)
    coins = {b.currency for b in balances} - set(currencies)
    assets = tuple(sorted({p.asset for p in spec.perps} | set(spec.exposure) | coins))
    usd = np.array([b.usd for b in balances])
    pocket_venue = _index([place[b.venue] for b in balances])
    held = np.zeros((len(accounts), len(assets)))
    for b in balances:
        if b.currency in assets:
            held[place[b.venue], assets.index(b.currency)] += b.usd
    exposure = np.array([spec.exposure.get(a, 0.0) for a in assets]) + held.sum(axis=0)
    target = exposure.copy()
    for asset, betas in spec.cross_hedges.items():
        for other, beta in betas.items():
            target[assets.index(other)] += beta * exposure[assets.index(asset)]
    asset_of = _index([assets.index(p.asset) for p in spec.perps])
    schedules = Schedules.of([p.brackets for p in spec.perps])
    funding, costs = _funding(spec), _costs(spec)
    tiers = {p: b.tiers for p, b in enumerate(balances) if b.tiers is not None}
    haircut = np.array([b.haircut if b.tiers is None else b.tiers.haircuts[0] for b in balances])
    limits = tuple(LimitSpec(key, value, f"test:{key}") for key, value in spec.limits.items())
    boxes = _boxes(spec, instruments, limits, target[asset_of], costs)
    pocket = {p.key: k for k, p in enumerate(pockets)}
    stresses = with_haircuts(
        stress_arrays(spec.stresses, instruments, pockets, currencies, funding.cap, funding.interval_hours),
        haircut,
    )
    market = Market(
        as_of=AS_OF,
        decision_hours=24.0,
        holding_hours=spec.holding_hours,
        book_usd=spec.book_usd,
        accounts=accounts,
        instruments=instruments,
        assets=assets,
        currencies=currencies,
        pockets=pockets,
        venue_of=_index([place[p.venue] for p in spec.perps]),
        asset_of=asset_of,
        index_currency_of=_index(
            [currencies.index(p.quote) if p.quote in currencies else -1 for p in spec.perps]
        ),
        pocket_of=_index([pocket[f"{p.venue} {p.settlement}"] for p in spec.perps]),
        pocket_venue=pocket_venue,
        exposure=exposure,
        hedged_exposure=target[asset_of],
        coin_collateral=held,
        cash=np.array(
            [spec.cash.get(c, 0.0) + sum(b.usd for b in balances if b.currency == c) for c in currencies]
        ),
        scheme=bracket_scheme([p.brackets for p in spec.perps], np.array([p.leverage for p in spec.perps])),
        cushion_rate=marginal_rates(
            2 * np.maximum(np.abs(_positions(spec).usd), np.abs(target[asset_of])), schedules
        ),
        side=fixed_sides(boxes, len(instruments)),
        positions=_positions(spec),
        prices=Prices(
            np.full(len(instruments), MARK), np.ones(len(instruments)), np.ones(len(instruments)), ()
        ),
        funding=funding,
        costs=costs,
        collateral=Collateral(
            usd,
            np.zeros(len(balances)),
            haircut,
            np.array([b.withdrawable for b in balances]),
            np.array([spec.charges.get(name, 0.0) for name in spec.venues]),
            np.zeros(len(balances)),
            tiers,
        ),
        transfers=_transfers(spec, balances, len(stresses.names)),
        stresses=stresses,
        risk=_risk(spec, assets),
        objective=spec.objective,
        boxes=boxes,
        limits=limits,
        notices=(),
    )
    return with_headroom(market)


def _index(values: list[int]) -> Any:
    return np.array(values, dtype=np.int64)


def _instrument(p: Perp) -> Instrument:
    one = Decimal(1)
    contract = Contract("inverse" if p.inverse else "linear", one, one, Decimal("0.01"), one, one)
    return Instrument(
        venue=p.venue,
        exchange=p.venue,
        account="main",
        symbol=p.symbol,
        venue_symbol=p.symbol,
        asset=p.asset,
        index_currency=p.quote,
        settlement_currency=p.settlement,
        contract=contract,
        brackets=p.brackets,
        selection=p.venue,
        largest_usd=leverage_cap_usd(p.brackets, p.leverage),
    )


def _balances(spec: Spec) -> tuple[Balance, ...]:
    """Those of the spec, and an empty (or by default an ample) one wherever a perp settles."""
    there = {(b.venue, b.currency) for b in spec.balances}
    wanted = dict.fromkeys((p.venue, p.settlement) for p in spec.perps)
    ample = 0.0 if spec.balances else 1e3 * spec.book_usd
    missing = [
        Balance(v, c, ample if c in spec.currency_sd else 0.0) for v, c in wanted if (v, c) not in there
    ]
    return (*spec.balances, *missing)


def _positions(spec: Spec) -> Positions:
    held = np.array([p.previous for p in spec.perps])
    buys, sells = (np.array([getattr(p, f"open_{s}") for p in spec.perps]) for s in ("buys", "sells"))
    return Positions(held / MARK, held, buys, sells)


def _funding(spec: Spec) -> Funding:
    def column(name: str) -> Vector:
        return np.array([getattr(p, name) for p in spec.perps], dtype=float)

    cost = column("funding")
    hours = column("funding_hours")
    times = tuple(AS_OF + timedelta(hours=h) for h in hours)
    total = cost * spec.holding_hours / 24.0
    coins, venues, perps = (
        np.unique(names, return_inverse=True)[1]
        for names in ([p.asset for p in spec.perps], [p.venue for p in spec.perps], _bases(spec))
    )
    errors = shared_errors(ErrorSorts(coins, venues, perps), *spec.error_shares)
    return Funding(
        cost, total, column("funding_sd"), cost * hours / 24.0, times, hours, column("funding_cap"), errors
    )


def _bases(spec: Spec) -> list[str]:
    return [p.basis or p.key for p in spec.perps]


def _costs(spec: Spec) -> Costs:
    n = len(spec.perps)
    fee, spread = (np.array([getattr(p, f) for p in spec.perps], dtype=float) for f in ("fee", "spread"))
    unit = np.maximum(fee + spread, 0.0)
    segments = [
        trade_cost_segments(float(u), p.bids and p.bids.curve, p.asks and p.asks.curve, p.taker_share)
        for u, p in zip(unit, spec.perps, strict=True)
    ]
    width = max(len(slopes) for slopes, _ in segments)
    buy, sell, depth_buy, depth_sell = (
        np.full(n, np.inf),
        np.full(n, np.inf),
        np.full(n, np.nan),
        np.full(n, np.nan),
    )
    for i, p in enumerate(spec.perps):
        if p.asks is not None and p.bids is not None:
            depth_buy[i], depth_sell[i] = p.asks.curve.capacity_usd, p.bids.curve.capacity_usd
            if p.taker_share > 0:
                buy[i], sell[i] = depth_buy[i] / p.taker_share, depth_sell[i] / p.taker_share
    return Costs(
        fee=fee,
        half_spread=spread,
        spread=spread,
        unit=unit,
        slopes=np.array([np.pad(s, (0, width - len(s)), mode="edge") for s, _ in segments]),
        intercepts=np.array([np.pad(c, (0, width - len(c)), mode="edge") for _, c in segments]),
        capacity_buy=buy,
        capacity_sell=sell,
        impact=np.array([p.impact for p in spec.perps]),
        adv_usd=np.array([p.adv for p in spec.perps]),
        depth_buy=depth_buy,
        depth_sell=depth_sell,
    )


def _transfers(spec: Spec, balances: tuple[Balance, ...], stresses: int) -> Transfers:
    routes, cost, arrives = [], [], []
    for s, source in enumerate(balances):
        if source.delay is None or source.withdrawable <= 0:
            continue
        for t, target in enumerate(balances):
            if t != s and target.currency == source.currency:
                routes.append(Route(s, t))
                cost.append(source.cost)
                arrives.append(source.delay <= spec.execution_hours)
    headroom = np.full((1 + stresses, len(spec.venues)), np.inf)
    leaving = np.ones((len(headroom), len(balances)))
    return Transfers(tuple(routes), np.array(cost), np.array(arrives, dtype=bool), headroom, leaving)


def _risk(spec: Spec, assets: tuple[str, ...]) -> RiskModel:
    sd = np.array([spec.asset_sd[a] for a in assets])
    correlation = np.full((len(assets), len(assets)), spec.correlation)
    np.fill_diagonal(correlation, 1.0)
    rank = len(assets) if spec.factors is None else min(spec.factors, len(assets))
    loadings, own = factor_form(correlation * np.outer(sd, sd), rank)
    _, first, group = np.unique(_bases(spec), return_index=True, return_inverse=True)
    basis = np.array([p.basis_sd for p in spec.perps])[first]
    shared = spec.basis_correlation
    common = np.sqrt(shared) * basis[None, :] if shared else np.zeros((0, len(basis)))
    currencies = np.diag(list(spec.currency_sd.values()))
    beta = np.full(len(first), spec.basis_beta)
    owner = np.array([assets.index(spec.perps[i].asset) for i in first])
    return RiskModel(loadings, own, np.sqrt(1 - shared) * basis, group, currencies, common, beta, owner)


def _boxes(
    spec: Spec,
    instruments: tuple[Instrument, ...],
    limits: tuple[LimitSpec, ...],
    target: Vector,
    costs: Costs,
) -> tuple[Box, ...]:
    held = _positions(spec).usd
    cap = np.array([leverage_cap_usd(p.brackets, p.leverage) for p in spec.perps])
    frozen, shrinking = (np.array([getattr(p, f) for p in spec.perps]) for f in ("no_trade", "reduce_only"))
    low, high = np.minimum(held, 0.0), np.maximum(held, 0.0)
    bounds = [
        ("instruments.all.leverage", "bracket_cap", -cap, cap),
        (
            "instruments.all.no_trade",
            "no_trade",
            np.where(frozen, held, -np.inf),
            np.where(frozen, held, np.inf),
        ),
        (
            "instruments.all.reduce_only",
            "reduce_only",
            np.where(shrinking, low, -np.inf),
            np.where(shrinking, high, np.inf),
        ),
        ("objective.impact.depth_share", "depth", held - costs.capacity_sell, held + costs.capacity_buy),
    ]
    for entry in limits:
        bound, name = entry.limit, f"limits.{entry.key}"
        if bound.soft is not None:
            continue
        if isinstance(bound, schema.HedgeSide):
            bounds.append((name, "hedge_side", *side_bounds(target, held)))
        elif isinstance(bound, schema.PositionCap):
            most = position_cap(bound, instruments)
            bounds.append((f"{name}.max", "position", -most, most))
        elif isinstance(bound, schema.Participation):
            sell, buy = participation_bounds(bound, costs)
            sell, buy = np.where(np.isnan(sell), np.inf, sell), np.where(np.isnan(buy), np.inf, buy)
            bounds.append((f"{name}.max", "participation", held - sell, held + buy))
    return tuple(Box(name, kind, "test", lower, upper) for name, kind, lower, upper in bounds)
