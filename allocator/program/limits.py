"""Limits as rows ``value ≤ bound``, in units of the book, each with its name, subject and source.

Every limit kind of the scenario is one function here; its plain twin is in `allocator.audit.limits`. Bounds
on a single position are not rows: the tightest of them are the box of the position
(`allocator.market.boxes`), unless they are soft.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from allocator.cushion import multiplier, time_scales
from allocator.evaluate import selected_assets, selected_venues, shortfall_name
from allocator.market.boxes import participation_bounds, position_cap, side_bounds
from allocator.market.stresses import stressed_rows
from allocator.market.types import Index, LimitSpec, Market
from allocator.program.coefficients import incidence, transfer_matrices
from allocator.program.outage import outage_rows
from allocator.program.requirements import Margin
from allocator.program.slots import Slots
from allocator.program.variables import Variables
from allocator.scenario import schema
from models.arrays import Vector


@dataclass(frozen=True)
class Rows:
    """``value ≤ bound`` for each subject. A soft one may be breached at `price` USD per USD."""

    name: str
    kind: str
    source: str
    subjects: tuple[str, ...]
    value: cp.Expression
    bound: cp.Expression
    price: float | None


@dataclass(frozen=True)
class Context:
    """What a limit may speak of. `margins` holds the stresses that some limit needs.

    `root` is √λ in the program's units, by which its risk factors are scaled; limits add rows that define
    variables of their own to `ties`, and to `pieces` those whose multipliers the audit asks for.
    """

    market: Market
    v: Variables
    slots: Slots
    margins: Mapping[int, Margin]
    initial: cp.Expression
    root: float
    ties: list[cp.Constraint] = field(default_factory=list)
    pieces: dict[str, list[cp.Constraint]] = field(default_factory=dict)

    def venue_sum(self, chosen: Index) -> sp.csr_array:
        """(len(chosen), n): sums instruments over each chosen venue."""
        return incidence(self.market.venue_of, len(self.market.accounts))[chosen]

    def pocket_sum(self, chosen: Index) -> sp.csr_array:
        """(len(chosen), P): sums pockets over each chosen venue."""
        return incidence(self.market.pocket_venue, len(self.market.accounts))[chosen]

    def asset_sum(self, chosen: Index) -> sp.csr_array:
        """(len(chosen), n): sums instruments over each chosen asset."""
        return incidence(self.market.asset_of, len(self.market.assets))[chosen]

    def equity(self, s: int, chosen: Index) -> cp.Expression:
        """Margin equity of the chosen venues under stress s."""
        return self.pocket_sum(chosen) @ self.margins[s].counted


def bounds(market: Market) -> dict[str, Vector]:
    """The numbers that limits put into the program, by name, scaled; the other half of `coefficients`."""
    found: dict[str, Vector] = {}
    book = market.book_usd
    exposure = market.exposure / book
    for spec in market.limits:
        limit, key = spec.limit, f"limits.{spec.key}"
        match limit:
            case schema.NetDelta():
                chosen = np.ones(len(selected_assets(market, limit.assets)))
                found[f"{key}.min"], found[f"{key}.max"] = (
                    chosen * -limit.min / book,
                    chosen * limit.max / book,
                )
            case schema.HedgeRatio():
                size = np.abs(exposure[selected_assets(market, limit.assets)])
                found[f"{key}.min"], found[f"{key}.max"] = -limit.min * size, limit.max * size
            case schema.Gross() | schema.Turnover() | schema.Volatility():
                found[f"{key}.max"] = np.array(limit.max / book)
            case schema.VenueOutage():
                if limit.max is not None:
                    found[f"{key}.max"] = np.array(limit.max / book)
                if (loss := limit.loss_bound(book)) is not None:
                    found[f"{key}.max_loss"] = np.array(loss / book)
            case schema.Liquidity():
                found[f"{key}.reserve"] = np.array(limit.reserve / book)
            case schema.LeverageLimit() | schema.VenueShare() | schema.CollateralShare():
                found[f"{key}.max"] = np.array(limit.max)
            case schema.InitialMargin():
                found[f"{key}.use"] = np.array(limit.use)
            case schema.MaintenanceMargin():
                found[f"{key}.buffer"] = np.array(limit.buffer)
            case schema.PositionCap():
                cap = position_cap(limit, market.instruments) / book
                found[f"{key}.max"] = cap[np.isfinite(cap)]
            case schema.Participation():
                sell, buy = participation_bounds(limit, market.costs)
                known = np.isfinite(sell) & np.isfinite(buy)
                found[f"{key}.sell"], found[f"{key}.buy"] = sell[known] / book, buy[known] / book
            case schema.HedgeSide():
                lower, upper = side_bounds(market.hedged_exposure, market.positions.usd)
                below, above = np.isfinite(lower), np.isfinite(upper)
                found[f"{key}.lower"], found[f"{key}.upper"] = -lower[below] / book, upper[above] / book
    if market.objective.mode == "min_cost" and market.objective.volatility_limit is not None:
        found["objective.volatility_limit"] = np.array(market.objective.volatility_limit / book)
    if market.objective.mode == "min_variance" and market.objective.cost_budget is not None:
        found["objective.cost_budget"] = np.array(market.objective.cost_budget / book)
    return found


def stresses_needed(market: Market) -> list[int]:
    """Stress rows whose margin some limit looks at; the present for equity-based limits."""
    needed: set[int] = set()
    for spec in market.limits:
        if isinstance(spec.limit, schema.MaintenanceMargin | schema.Liquidity):
            needed.update(stressed_rows(spec.limit.stresses, market.stresses.names).tolist())
        elif isinstance(
            spec.limit, schema.InitialMargin | schema.LeverageLimit | schema.LiquidationProbability
        ):
            needed.add(0)
    return sorted(needed)


def needs_turnover(market: Market) -> bool:
    """Whether some limit speaks of Σ|trade|."""
    return any(isinstance(spec.limit, schema.Turnover) for spec in market.limits)


def limit_rows(context: Context) -> Iterator[Rows]:
    """The rows of every limit of the scenario, and of transfers."""
    for spec in context.market.limits:
        write = _WRITERS.get(type(spec.limit))
        if write is not None:
            yield from write(context, spec)
    yield from _transfer_rows(context)


def _rows(
    spec: LimitSpec, field: str, subjects: tuple[str, ...], value: cp.Expression, bound: cp.Expression
) -> Rows:
    name = f"limits.{spec.key}.{field}" if field else f"limits.{spec.key}"
    return Rows(name, spec.limit.kind, spec.source, subjects, value, bound, spec.limit.soft)


def _net_delta(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.NetDelta)
    chosen = selected_assets(c.market, spec.limit.assets)
    subjects = tuple(c.market.assets[a] for a in chosen)
    for edge, sign in (("min", -1.0), ("max", 1.0)):
        bound = c.slots(f"limits.{spec.key}.{edge}")
        yield _rows(spec, edge, subjects, sign * c.v.delta[chosen], bound)


def _hedge_ratio(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.HedgeRatio)
    chosen = selected_assets(c.market, spec.limit.assets)
    subjects = tuple(c.market.assets[a] for a in chosen)
    hedged = cp.multiply(-np.sign(c.market.exposure[chosen]), c.asset_sum(chosen) @ c.v.positions)
    for edge, sign in (("min", -1.0), ("max", 1.0)):
        yield _rows(spec, edge, subjects, sign * hedged, c.slots(f"limits.{spec.key}.{edge}"))


def _gross(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.Gross)
    chosen = selected_venues(c.market, spec.limit.venues)
    value = cp.sum(c.venue_sum(chosen) @ c.v.size)
    yield _rows(spec, "max", ("book",), value, c.slots(f"limits.{spec.key}.max"))


def _leverage(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.LeverageLimit)
    chosen = selected_venues(c.market, spec.limit.venues)
    value = c.venue_sum(chosen) @ c.v.size - c.slots(f"limits.{spec.key}.max") * c.equity(0, chosen)
    yield _rows(spec, "max", _accounts(c, chosen), value, _zero(chosen))


def _turnover(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    yield _rows(spec, "max", ("book",), cp.sum(c.v.turnover), c.slots(f"limits.{spec.key}.max"))


def _venue_share(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.VenueShare)
    chosen = selected_venues(c.market, spec.limit.venues)
    share, held = c.slots(f"limits.{spec.key}.max"), c.venue_sum(chosen) @ c.v.size
    if spec.limit.of == "book":
        yield _rows(spec, "max", _accounts(c, chosen), held, share * np.ones(len(chosen)))
    else:
        # |x| bounded below by what lies on the right side: exact where sides are fixed, else convex and safe.
        every = np.ones((len(chosen), 1)) @ c.market.direction[None, :]
        value = held - share * (every @ c.v.positions)
        yield _rows(spec, "max", _accounts(c, chosen), value, _zero(chosen))


def _collateral_share(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.CollateralShare)
    chosen = selected_venues(c.market, spec.limit.venues)
    kept = c.v.kept
    every = np.ones((len(chosen), len(c.market.pockets)))
    value = c.pocket_sum(chosen) @ kept - c.slots(f"limits.{spec.key}.max") * (every @ kept)
    yield _rows(spec, "max", _accounts(c, chosen), value, _zero(chosen))


def _venue_outage(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.VenueOutage)
    for edge, subjects, value, bound in outage_rows(c, spec.limit, f"limits.{spec.key}"):
        yield _rows(spec, edge, subjects, value, bound)


def _initial_margin(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.InitialMargin)
    chosen = selected_venues(c.market, spec.limit.venues)
    value = c.initial[chosen] - c.slots(f"limits.{spec.key}.use") * c.equity(0, chosen)
    yield _rows(spec, "use", _accounts(c, chosen), value, _zero(chosen))


def _maintenance_margin(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.MaintenanceMargin)
    chosen = selected_venues(c.market, spec.limit.venues)
    for s in stressed_rows(spec.limit.stresses, c.market.stresses.names):
        required = c.slots(f"limits.{spec.key}.buffer") * (c.margins[s].required[chosen])
        subjects = tuple(f"{a} {c.market.stresses.names[s]}" for a in _accounts(c, chosen))
        yield _rows(spec, "buffer", subjects, required - c.equity(int(s), chosen), _zero(chosen))


def _liquidity(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.Liquidity)
    everywhere = np.arange(len(c.market.accounts))
    for s in stressed_rows(spec.limit.stresses, c.market.stresses.names):
        wanted = spec.limit.warning * c.margins[s].required
        stress, name = c.market.stresses.names[s], f"limits.{spec.key}.reserve"
        lacking = cp.Variable(len(everywhere), nonneg=True, name=f"lacking {name} {stress}")
        row = wanted - c.equity(int(s), everywhere) <= lacking
        c.ties.append(row)
        c.pieces[shortfall_name(name, stress)] = [row]
        yield _rows(spec, "reserve", (stress,), cp.sum(lacking), c.slots(name))


def _liquidation_probability(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    """z standard deviations of each venue's cushion within the cushion: a second-order cone each."""
    assert isinstance(spec.limit, schema.LiquidationProbability)
    z = multiplier(spec.limit)
    field = "max" if spec.limit.sigmas is None else "sigmas"
    for venue in selected_venues(c.market, spec.limit.venues):
        chosen = np.array([venue])
        cushion = c.equity(0, chosen) - c.margins[0].required[chosen]
        sd = cp.norm(cp.hstack(_cushion_factors(c, int(venue), spec.limit.arrival)), 2)
        value = cp.reshape(z / c.root * sd, (1,), order="C") - cushion
        yield _rows(spec, field, _accounts(c, chosen), value, _zero(chosen))


def _cushion_factors(c: Context, venue: int, hours: float) -> list[cp.Expression]:
    """√λ times the factors of a venue's cushion over `hours`, in blocks as those of the book's risk."""
    market, v, slots = c.market, c.v, c.slots
    scale, basis_scale = time_scales(market, hours)
    here, there = market.venue_of == venue, market.pocket_venue == venue
    coin = np.array(
        [market.assets.index(p.currency) if p.currency in market.assets else -1 for p in market.pockets]
    )
    money = np.array(
        [
            market.currencies.index(p.currency) if p.currency in market.currencies else -1
            for p in market.pockets
        ]
    )
    exposed, quote = cp.Variable(len(market.assets)), cp.Variable(len(market.currencies))
    owner = incidence(np.where(here, market.asset_of, -1), len(market.assets))
    collateral = incidence(np.where(there, coin, -1), len(market.assets))
    cash = incidence(np.where(there, money, -1), len(market.currencies))
    indexed = incidence(np.where(here, market.index_currency_of, -1), len(market.currencies))
    counted = cp.multiply(slots("cushion.counted"), v.arrived)
    required = cp.multiply(slots("cushion.rate"), v.size)
    earned = cp.multiply(slots("cushion.share"), v.positions)
    c.ties.append(exposed == owner @ (earned - required) + collateral @ counted)
    groups = incidence(np.where(here, market.risk.basis_group, -1), len(market.risk.basis_sd))
    blocks = [
        scale * (slots("risk.asset") @ exposed),
        scale * cp.multiply(slots("risk.idiosyncratic"), exposed),
        basis_scale * cp.multiply(slots("risk.basis"), groups @ v.positions),
    ]
    if len(market.risk.basis_loadings):
        blocks.append(basis_scale * (slots("risk.basis_factors") @ (groups @ v.positions)))
    if len(market.currencies):
        c.ties.append(quote == cash @ counted - indexed @ v.positions)
        blocks.append(scale * (slots("risk.currency") @ quote))
    return blocks


def _soft_position(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.PositionCap)
    if spec.limit.soft is not None:
        chosen = np.flatnonzero(np.isfinite(position_cap(spec.limit, c.market.instruments)))
        yield _rows(spec, "max", _keys(c, chosen), c.v.size[chosen], c.slots(f"limits.{spec.key}.max"))


def _soft_participation(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.Participation)
    if spec.limit.soft is not None:
        sell, buy = participation_bounds(spec.limit, c.market.costs)
        chosen = np.flatnonzero(np.isfinite(sell) & np.isfinite(buy))
        for side, sign in (("buy", 1.0), ("sell", -1.0)):
            subjects = tuple(f"{key} {side}" for key in _keys(c, chosen))
            yield _rows(
                spec, "max", subjects, sign * c.v.trades[chosen], c.slots(f"limits.{spec.key}.{side}")
            )


def _soft_side(c: Context, spec: LimitSpec) -> Iterator[Rows]:
    assert isinstance(spec.limit, schema.HedgeSide)
    if spec.limit.soft is not None:
        lower, upper = side_bounds(c.market.hedged_exposure, c.market.positions.usd)
        for field, bound, sign in (("lower", lower, -1.0), ("upper", upper, 1.0)):
            chosen = np.flatnonzero(np.isfinite(bound))
            subjects = tuple(f"{key} {field}" for key in _keys(c, chosen))
            yield _rows(
                spec, "", subjects, sign * c.v.positions[chosen], c.slots(f"limits.{spec.key}.{field}")
            )


def _transfer_rows(c: Context) -> Iterator[Rows]:
    """What leaves a pocket is there to leave, and leaves today's positions margined."""
    transfers, market = c.market.transfers, c.market
    if not transfers.routes:
        return
    out, _, _ = transfer_matrices(market)
    sent = cp.Variable(len(market.pockets), name="sent")
    c.ties.append(sent == out @ cp.multiply(c.slots("transfer.gross"), c.v.transfers))
    source = np.unique([route.source for route in transfers.routes])
    keys = tuple(market.pockets[p].key for p in source)
    origin = "collateral"
    yield Rows(
        "transfers.withdrawable",
        "transfer",
        origin,
        keys,
        sent[source],
        c.slots("transfer.withdrawable"),
        None,
    )
    for row, headroom in enumerate(transfers.headroom):
        chosen = np.flatnonzero(np.isfinite(headroom))
        if not len(chosen):
            continue
        leaving = c.pocket_sum(chosen) @ cp.multiply(c.slots(f"transfer.{row}.counted"), sent)
        name = "transfers.initial_margin" if row == 0 else "transfers.maintenance_margin"
        stress = "" if row == 0 else f" {market.stresses.names[row - 1]}"
        subjects = tuple(a + stress for a in _accounts(c, chosen))
        yield Rows(name, "transfer", "default", subjects, leaving, c.slots(f"transfer.{row}.headroom"), None)


def _accounts(c: Context, chosen: Index) -> tuple[str, ...]:
    return tuple(c.market.accounts[k].name for k in chosen)


def _keys(c: Context, chosen: Index) -> tuple[str, ...]:
    return tuple(c.market.instruments[i].key for i in chosen)


def _zero(chosen: Index) -> cp.Expression:
    return cp.Constant(np.zeros(len(chosen)))


_WRITERS: Mapping[type, Callable[[Context, LimitSpec], Iterator[Rows]]] = {
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
    schema.PositionCap: _soft_position,
    schema.Participation: _soft_participation,
    schema.HedgeSide: _soft_side,
    schema.LiquidationProbability: _liquidation_probability,
}
