"""What every limit says of a decision, by plain formulas: value, bound, and slack in dollars.

Names and subjects are those of the program's rows (`allocator.program.limits`), so that prices meet values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from allocator import evaluate
from allocator.cushion import cushion, multiplier
from allocator.evaluate import VenueState, outage_worth, selected_assets, selected_venues
from allocator.margin import Form
from allocator.market.boxes import participation_bounds, position_cap, side_bounds
from allocator.market.exposures import coin_collateral
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Index, LimitSpec, Market
from allocator.scenario import schema
from models.arrays import Vector

USD = "USD"


@dataclass(frozen=True)
class LimitValues:
    """One limit on each of its subjects: value ≤ bound, in `unit`; a unit is worth `usd_per_unit` dollars.

    `price` is the USD per USD of a soft limit's breach, None for a hard one.
    """

    name: str
    kind: str
    source: str
    subjects: tuple[str, ...]
    value: Vector
    bound: Vector
    unit: str
    usd_per_unit: Vector
    price: float | None

    @property
    def slack_usd(self) -> Vector:
        """Room left in dollars; negative is a breach."""
        return (self.bound - self.value) * self.usd_per_unit


@dataclass(frozen=True)
class _Facts:
    """A decision and what follows from it, computed once for all limits."""

    market: Market
    decision: Decision
    form: Form
    delta: Vector
    kept: Vector

    @cached_property
    def state(self) -> VenueState:
        """Margin and equity of the venues: only limits that speak of them wait for it."""
        return evaluate.venues(self.market, self.decision, self.form)

    @property
    def size(self) -> Vector:
        return np.abs(self.decision.positions)

    @property
    def trade(self) -> Vector:
        return self.decision.positions - self.market.positions.usd


def limit_values(market: Market, decision: Decision, form: Form = "program") -> list[LimitValues]:
    """Every limit that is a row of the program, evaluated with margin as the program or the venue has it."""
    facts = _facts(market, decision, form)
    found: list[LimitValues] = []
    for spec in market.limits:
        rule = _RULES.get(type(spec.limit))
        if rule is not None:
            found += rule(facts, spec)
    return [*found, *_objective_limits(facts), *_transfers(facts)]


def values_of(
    market: Market, decision: Decision, spec: LimitSpec, form: Form = "program"
) -> list[LimitValues]:
    """The rows of one limit of the scenario."""
    rule = _RULES.get(type(spec.limit))
    return [] if rule is None else list(rule(_facts(market, decision, form), spec))


def _facts(market: Market, decision: Decision, form: Form) -> _Facts:
    costless = np.zeros(len(market.instruments))
    return _Facts(
        market=market,
        decision=decision,
        form=form,
        delta=evaluate.deltas(market, decision.positions),
        kept=evaluate.balances(market, decision, costless, in_transit=True),
    )


def _values(
    spec: LimitSpec,
    field: str,
    subjects: list[str],
    value: Vector,
    bound: Vector | float,
    unit: str = USD,
    usd_per_unit: Vector | float = 1.0,
) -> LimitValues:
    n = len(subjects)
    return LimitValues(
        name=f"limits.{spec.key}.{field}" if field else f"limits.{spec.key}",
        kind=spec.limit.kind,
        source=spec.source,
        subjects=tuple(subjects),
        value=np.asarray(value, dtype=float),
        bound=np.broadcast_to(np.asarray(bound, dtype=float), (n,)),
        unit=unit,
        usd_per_unit=np.broadcast_to(np.asarray(usd_per_unit, dtype=float), (n,)),
        price=spec.limit.soft,
    )


def _net_delta(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.NetDelta)
    chosen = selected_assets(f.market, spec.limit.assets)
    names = [f.market.assets[a] for a in chosen]
    yield _values(spec, "min", names, -f.delta[chosen], -spec.limit.min)
    yield _values(spec, "max", names, f.delta[chosen], spec.limit.max)


def _hedge_ratio(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    """−Σx/e against its range; an asset without exposure has no ratio and is left to the other limits."""
    assert isinstance(spec.limit, schema.HedgeRatio)
    chosen = selected_assets(f.market, spec.limit.assets)
    names = [f.market.assets[a] for a in chosen]
    exposure = f.market.exposure[chosen]
    hedged = f.delta[chosen] - exposure
    size = np.abs(exposure)
    ratio = np.where(size > 0, -hedged / np.where(size > 0, exposure, 1.0), 0.0)
    yield _values(spec, "min", names, -ratio, -spec.limit.min, "ratio", size)
    yield _values(spec, "max", names, ratio, spec.limit.max, "ratio", size)


def _gross(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.Gross)
    held = evaluate.by_venue(f.market, f.size)[selected_venues(f.market, spec.limit.venues)]
    yield _values(spec, "max", ["book"], held.sum(keepdims=True), spec.limit.max)


def _leverage(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.LeverageLimit)
    chosen = selected_venues(f.market, spec.limit.venues)
    held = evaluate.by_venue(f.market, f.size)[chosen]
    yield _values(spec, "max", _accounts(f, chosen), held, spec.limit.max * f.state.equity[0, chosen])


def _turnover(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.Turnover)
    yield _values(spec, "max", ["book"], np.array([np.abs(f.trade).sum()]), spec.limit.max)


def _venue_share(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.VenueShare)
    chosen = selected_venues(f.market, spec.limit.venues)
    held = evaluate.by_venue(f.market, f.size)[chosen]
    gross = float(f.market.direction @ f.decision.positions)  # a wrong-side position counts against it
    whole = f.market.book_usd if spec.limit.of == "book" else gross
    yield _values(spec, "max", _accounts(f, chosen), held, spec.limit.max * whole)


def _collateral_share(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.CollateralShare)
    chosen = selected_venues(f.market, spec.limit.venues)
    there = np.bincount(f.market.pocket_venue, weights=f.kept, minlength=len(f.market.accounts)).astype(float)
    yield _values(spec, "max", _accounts(f, chosen), there[chosen], spec.limit.max * f.kept.sum())


def _venue_outage(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    """Delta without a venue, and what its outage costs."""
    assert isinstance(spec.limit, schema.VenueOutage)
    if spec.limit.max is not None:
        yield _naked_delta(f, spec, spec.limit.max)
    if (bound := spec.limit.loss_bound(f.market.book_usd)) is not None:
        yield _outage_loss(f, spec, bound)


def _outage_loss(f: _Facts, spec: LimitSpec, bound: float) -> LimitValues:
    """(1 − recovery) of each venue's collateral and unrealised P&L, now and under each stress."""
    assert isinstance(spec.limit, schema.VenueOutage)
    market, chosen = f.market, selected_venues(f.market, spec.limit.venues)
    subjects: list[str] = []
    lost: list[Vector] = []
    for s in stressed_rows(spec.limit.stresses, market.stresses.names):
        subjects += [f"{a} {market.stresses.names[s]}" for a in _accounts(f, chosen)]
        worth = outage_worth(market, f.decision.positions, f.kept, int(s))
        lost.append((1 - (spec.limit.recovery or 0.0)) * worth[chosen])
    return _values(spec, "max_loss", subjects, np.concatenate(lost), bound)


def _naked_delta(f: _Facts, spec: LimitSpec, bound: float) -> LimitValues:
    """Delta of each asset without a venue's positions and without the coins that would be there."""
    assert isinstance(spec.limit, schema.VenueOutage)
    market = f.market
    chosen = selected_assets(market, spec.limit.assets)
    coins = coin_collateral(market.pockets, f.kept, market.pocket_venue, market.assets, len(market.accounts))
    subjects: list[str] = []
    left: list[Vector] = []
    for venue in selected_venues(market, spec.limit.venues):
        there = np.where(market.venue_of == venue, f.decision.positions, 0.0)
        lost = np.bincount(market.asset_of, weights=there, minlength=len(market.assets)) + coins[venue]
        for sign, side in ((1.0, "long"), (-1.0, "short")):
            subjects += [f"{market.accounts[venue].name} {market.assets[a]} {side}" for a in chosen]
            left.append(sign * (f.delta - lost)[chosen])
    return _values(spec, "max", subjects, np.concatenate(left), bound)


def _initial_margin(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.InitialMargin)
    chosen = selected_venues(f.market, spec.limit.venues)
    bound = spec.limit.use * f.state.equity[0, chosen]
    yield _values(spec, "use", _accounts(f, chosen), f.state.initial_margin[chosen], bound)


def _maintenance_margin(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.MaintenanceMargin)
    chosen = selected_venues(f.market, spec.limit.venues)
    subjects, required, equity = [], [], []
    for s in stressed_rows(spec.limit.stresses, f.market.stresses.names):
        subjects += [f"{a} {f.market.stresses.names[s]}" for a in _accounts(f, chosen)]
        required.append(spec.limit.buffer * f.state.maintenance_margin[s, chosen])
        equity.append(f.state.equity[s, chosen])
    yield _values(spec, "buffer", subjects, np.concatenate(required), np.concatenate(equity))


def _liquidity(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.Liquidity)
    rows = stressed_rows(spec.limit.stresses, f.market.stresses.names)
    lacking = np.maximum(spec.limit.warning * f.state.maintenance_margin - f.state.equity, 0.0).sum(axis=1)
    yield _values(
        spec, "reserve", [f.market.stresses.names[s] for s in rows], lacking[rows], spec.limit.reserve
    )


def _liquidation_probability(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    """z standard deviations of each venue's cushion against the cushion."""
    assert isinstance(spec.limit, schema.LiquidationProbability)
    chosen = selected_venues(f.market, spec.limit.venues)
    field = "max" if spec.limit.sigmas is None else "sigmas"
    sd = [cushion(f.market, f.decision, int(v), spec.limit.arrival).sd for v in chosen]
    left = f.state.equity[0, chosen] - f.state.maintenance_margin[0, chosen]
    yield _values(spec, field, _accounts(f, chosen), multiplier(spec.limit) * np.array(sd), left)


def _volatility(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.Volatility)
    yield _values(spec, "max", ["book"], np.array([_sd(f)]), spec.limit.max)


def _soft_position(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.PositionCap)
    if spec.limit.soft is not None:
        cap = position_cap(spec.limit, f.market.instruments)
        chosen = np.flatnonzero(np.isfinite(cap))
        yield _values(spec, "max", _keys(f, chosen), f.size[chosen], cap[chosen])


def _soft_participation(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.Participation)
    if spec.limit.soft is not None:
        sell, buy = participation_bounds(spec.limit, f.market.costs)
        chosen = np.flatnonzero(np.isfinite(sell) & np.isfinite(buy))
        for side, sign, bound in (("buy", 1.0, buy), ("sell", -1.0, sell)):
            subjects = [f"{key} {side}" for key in _keys(f, chosen)]
            yield _values(spec, "max", subjects, sign * f.trade[chosen], bound[chosen])


def _soft_side(f: _Facts, spec: LimitSpec) -> Iterator[LimitValues]:
    assert isinstance(spec.limit, schema.HedgeSide)
    if spec.limit.soft is not None:
        lower, upper = side_bounds(f.market.hedged_exposure, f.market.positions.usd)
        for field, bound, sign in (("lower", lower, -1.0), ("upper", upper, 1.0)):
            chosen = np.flatnonzero(np.isfinite(bound))
            subjects = [f"{key} {field}" for key in _keys(f, chosen)]
            yield _values(spec, "", subjects, sign * f.decision.positions[chosen], sign * bound[chosen])


def _objective_limits(f: _Facts) -> Iterator[LimitValues]:
    """The limit that the objective's mode optimises under."""
    goal = f.market.objective
    one = np.ones(1)
    if goal.mode == "min_cost" and goal.volatility_limit is not None:
        name, value = "objective.volatility_limit", np.array([_sd(f)])
        yield LimitValues(
            name, "volatility", name, ("book",), value, goal.volatility_limit * one, USD, one, None
        )
    if goal.mode == "min_variance" and goal.cost_budget is not None:
        terms = evaluate.objective_terms(f.market, f.decision)
        value = np.array([sum(usd for term, usd in terms.items() if term != "risk")])
        name = "objective.cost_budget"
        yield LimitValues(name, "cost_budget", name, ("book",), value, goal.cost_budget * one, USD, one, None)


def _transfers(f: _Facts) -> Iterator[LimitValues]:
    """What leaves each pocket and each venue, against what may leave."""
    transfers, market = f.market.transfers, f.market
    if not transfers.routes:
        return
    gross = f.decision.transfers * (1 + transfers.cost)
    source_of = [route.source for route in transfers.routes]
    sent = np.bincount(source_of, weights=gross, minlength=len(market.pockets)).astype(float)
    source = np.unique(source_of)
    keys = tuple(market.pockets[p].key for p in source)
    yield LimitValues(
        "transfers.withdrawable",
        "transfer",
        "collateral",
        keys,
        sent[source],
        market.collateral.withdrawable[source],
        USD,
        np.ones(len(source)),
        None,
    )
    for row, headroom in enumerate(transfers.headroom):
        chosen = np.flatnonzero(np.isfinite(headroom))
        if not len(chosen):
            continue
        s = max(row - 1, 0)
        counted = sent * transfers.leaving[row]
        accounts = len(market.accounts)
        leaving = np.bincount(market.pocket_venue, weights=counted, minlength=accounts).astype(float)
        name = "transfers.initial_margin" if row == 0 else "transfers.maintenance_margin"
        stress = "" if row == 0 else f" {market.stresses.names[s]}"
        subjects = tuple(a + stress for a in _accounts(f, chosen))
        ones = np.ones(len(chosen))
        yield LimitValues(
            name, "transfer", "default", subjects, leaving[chosen], headroom[chosen], USD, ones, None
        )


def _sd(f: _Facts) -> float:
    return float(np.sqrt(sum(evaluate.variances(f.market, f.decision.positions).values())))


def _accounts(f: _Facts, chosen: Index) -> list[str]:
    return [f.market.accounts[k].name for k in chosen]


def _keys(f: _Facts, chosen: Index) -> list[str]:
    return [f.market.instruments[i].key for i in chosen]


_RULES: Mapping[type, Callable[[_Facts, LimitSpec], Iterator[LimitValues]]] = {
    schema.NetDelta: _net_delta,
    schema.HedgeRatio: _hedge_ratio,
    schema.Gross: _gross,
    schema.LeverageLimit: _leverage,
    schema.Turnover: _turnover,
    schema.VenueShare: _venue_share,
    schema.CollateralShare: _collateral_share,
    schema.VenueOutage: _venue_outage,
    schema.InitialMargin: _initial_margin,
    schema.MaintenanceMargin: _maintenance_margin,
    schema.Liquidity: _liquidity,
    schema.Volatility: _volatility,
    schema.LiquidationProbability: _liquidation_probability,
    schema.PositionCap: _soft_position,
    schema.Participation: _soft_participation,
    schema.HedgeSide: _soft_side,
}
