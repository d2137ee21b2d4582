"""Limits of a block of cells: the plain twins of `allocator.audit.limits`, all cells at once.

A kind of limit that has no rule here is evaluated cell by cell with the rule of the single audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from allocator.audit.block.figures import Figures
from allocator.audit.block.stack import Cells
from allocator.audit.limits import USD, LimitValues, values_of
from allocator.evaluate import selected_assets, selected_venues
from allocator.market.boxes import position_cap
from allocator.market.stresses import stressed_rows
from allocator.market.types import Decision, Index, Matrix
from allocator.scenario import schema
from models.arrays import Vector


class DifferentRows(Exception):
    """Cells cannot be evaluated together: a limit has other rows in some of them."""


@dataclass(frozen=True)
class BlockLimit:
    """One limit on each of its subjects in every cell: value ≤ bound (K, m), as `LimitValues` has it.

    `place` is where the limit stands among the markets' limits, None for one that the objective or the
    transfers imply; `single` marks one that was evaluated cell by cell.
    """

    name: str
    kind: str
    place: int | None
    sources: tuple[str, ...]
    subjects: tuple[str, ...]
    value: Matrix
    bound: Matrix
    unit: str
    usd_per_unit: Matrix
    price: float | None
    single: bool = False

    @cached_property
    def slack_usd(self) -> Matrix:
        """Room left in dollars (K, m); negative is a breach."""
        return np.asarray((self.bound - self.value) * self.usd_per_unit)

    def cell(self, k: int) -> LimitValues:
        """The limit in one cell."""
        return LimitValues(
            self.name,
            self.kind,
            self.sources[k],
            self.subjects,
            self.value[k],
            self.bound[k],
            self.unit,
            self.usd_per_unit[k],
            self.price,
        )


@dataclass(frozen=True)
class _Rows:
    """A limit of the scenario being evaluated: its place, and the helper that makes rows of it."""

    figures: Figures
    place: int

    @property
    def limit(self) -> schema.Limit:
        return self.figures.block.first.limits[self.place].limit

    def number(self, name: str) -> Matrix:
        """A figure of the limit, as a column (K, 1)."""
        return self.figures.block.figure(self.place, name)[:, None]

    def make(
        self,
        field: str,
        subjects: Sequence[str],
        value: Cells,
        bound: Cells,
        unit: str = USD,
        usd_per_unit: Cells | float = 1.0,
    ) -> BlockLimit:
        """Rows of one field; `value`, `bound` (K, m) or what broadcasts to it."""
        block = self.figures.block
        spec, shape = block.first.limits[self.place], (len(block), len(subjects))
        return BlockLimit(
            name=f"limits.{spec.key}.{field}",
            kind=spec.limit.kind,
            place=self.place,
            sources=tuple(market.limits[self.place].source for market in block.markets),
            subjects=tuple(subjects),
            value=np.broadcast_to(value, shape),
            bound=np.broadcast_to(bound, shape),
            unit=unit,
            usd_per_unit=np.broadcast_to(np.asarray(usd_per_unit, dtype=float), shape),
            price=spec.limit.soft,
        )

    def venues(self, names: object) -> tuple[Index, list[str]]:
        """Chosen venues and their names."""
        first = self.figures.block.first
        chosen = selected_venues(first, names)  # type: ignore[arg-type]
        return chosen, [first.accounts[v].name for v in chosen]

    def held(self) -> Matrix:
        """Gross of each venue (K, V)."""
        return self.figures.block.by_venue(self.figures.size)


def limit_rows(figures: Figures) -> list[BlockLimit]:
    """Every limit that is a row of the program, in the order of `audit.limits.limit_values`."""
    found: list[BlockLimit] = []
    for place, spec in enumerate(figures.block.first.limits):
        if spec.limit.soft is None and isinstance(spec.limit, _BOXES):
            continue
        rule = _RULES.get(type(spec.limit))
        found += _singly(figures, place) if rule is None else rule(_Rows(figures, place))
    return [*found, *_objective_limits(figures), *_transfers(figures)]


def _singly(figures: Figures, place: int) -> Iterator[BlockLimit]:
    """Rows of a limit by the single audit's rule, cell by cell."""
    block = figures.block
    cells = [
        values_of(market, Decision(x, t), market.limits[place])
        for market, x, t in zip(block.markets, figures.positions, figures.transfers, strict=True)
    ]
    for rows in zip(*cells, strict=True):
        one = rows[0]
        if any(row.subjects != one.subjects for row in rows):
            raise DifferentRows(f"{one.name} speaks of other subjects in some cells")
        yield BlockLimit(
            name=one.name,
            kind=one.kind,
            place=place,
            sources=tuple(row.source for row in rows),
            subjects=one.subjects,
            value=np.array([row.value for row in rows]),
            bound=np.array([row.bound for row in rows]),
            unit=one.unit,
            usd_per_unit=np.array([row.usd_per_unit for row in rows]),
            price=one.price,
            single=True,
        )


def _net_delta(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.NetDelta)
    chosen = selected_assets(r.figures.block.first, r.limit.assets)
    names = [r.figures.block.first.assets[a] for a in chosen]
    delta = r.figures.delta[:, chosen]
    yield r.make("min", names, -delta, -r.number("min"))
    yield r.make("max", names, delta, r.number("max"))


def _hedge_ratio(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.HedgeRatio)
    block = r.figures.block
    chosen = selected_assets(block.first, r.limit.assets)
    names = [block.first.assets[a] for a in chosen]
    exposure = block.exposure[:, chosen]
    size = np.abs(exposure)
    hedged = r.figures.delta[:, chosen] - exposure
    ratio = np.where(size > 0, -hedged / np.where(size > 0, exposure, 1.0), 0.0)
    yield r.make("min", names, -ratio, -r.number("min"), "ratio", size)
    yield r.make("max", names, ratio, r.number("max"), "ratio", size)


def _gross(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.Gross)
    chosen, _ = r.venues(r.limit.venues)
    yield r.make("max", ["book"], r.held()[:, chosen].sum(axis=1, keepdims=True), r.number("max"))


def _leverage(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.LeverageLimit)
    chosen, names = r.venues(r.limit.venues)
    yield r.make("max", names, r.held()[:, chosen], r.number("max") * r.figures.equity[:, 0, chosen])


def _turnover(r: _Rows) -> Iterator[BlockLimit]:
    yield r.make("max", ["book"], np.abs(r.figures.trades).sum(axis=1, keepdims=True), r.number("max"))


def _venue_share(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.VenueShare)
    chosen, names = r.venues(r.limit.venues)
    block = r.figures.block
    gross = (block.take(lambda m: m.direction) * r.figures.positions).sum(axis=1)
    whole = block.book if r.limit.of == "book" else gross
    yield r.make("max", names, r.held()[:, chosen], r.number("max") * whole[:, None])


def _collateral_share(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.CollateralShare)
    chosen, names = r.venues(r.limit.venues)
    kept = r.figures.kept
    there = r.figures.block.pockets_by_venue(kept)[:, chosen]
    yield r.make("max", names, there, r.number("max") * kept.sum(axis=1, keepdims=True))


def _initial_margin(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.InitialMargin)
    chosen, names = r.venues(r.limit.venues)
    yield r.make("use", names, r.figures.initial[:, chosen], r.number("use") * r.figures.equity[:, 0, chosen])


def _maintenance_margin(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.MaintenanceMargin)
    chosen, names = r.venues(r.limit.venues)
    stresses = r.figures.block.first.stresses.names
    rows = stressed_rows(r.limit.stresses, stresses)
    subjects = [f"{name} {stresses[s]}" for s in rows for name in names]
    where = (slice(None), rows[:, None], chosen)
    count = (len(r.figures.block), len(subjects))
    required = (r.number("buffer")[:, :, None] * r.figures.maintenance[where]).reshape(count)
    yield r.make("buffer", subjects, required, r.figures.equity[where].reshape(count))


def _liquidity(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.Liquidity)
    stresses = r.figures.block.first.stresses.names
    rows = stressed_rows(r.limit.stresses, stresses)
    lacking = np.maximum(r.number("warning")[:, :, None] * r.figures.maintenance - r.figures.equity, 0.0)
    yield r.make("reserve", [stresses[s] for s in rows], lacking.sum(axis=2)[:, rows], r.number("reserve"))


def _volatility(r: _Rows) -> Iterator[BlockLimit]:
    yield r.make("max", ["book"], np.sqrt(r.figures.risk.variance)[:, None], r.number("max"))


def _position(r: _Rows) -> Iterator[BlockLimit]:
    assert isinstance(r.limit, schema.PositionCap)
    first = r.figures.block.first
    chosen = np.flatnonzero(np.isfinite(position_cap(r.limit, first.instruments)))
    keys = [first.instruments[i].key for i in chosen]
    yield r.make("max", keys, r.figures.size[:, chosen], r.number("max"))


def _implied(
    figures: Figures, texts: tuple[str, str, str], subjects: tuple[str, ...], value: Cells, bound: Cells
) -> BlockLimit:
    """Rows that no limit of the scenario states; `texts` are name, kind and source."""
    shape = (len(figures.block), len(subjects))
    name, kind, source = texts
    return BlockLimit(
        name=name,
        kind=kind,
        place=None,
        sources=(source,) * len(figures.block),
        subjects=subjects,
        value=np.broadcast_to(value, shape),
        bound=np.broadcast_to(bound, shape),
        unit=USD,
        usd_per_unit=np.broadcast_to(1.0, shape),
        price=None,
    )


def _objective_limits(figures: Figures) -> Iterator[BlockLimit]:
    """The limit that the objective's mode optimises under."""
    block, goal = figures.block, figures.block.first.objective
    if goal.mode == "min_cost" and goal.volatility_limit is not None:
        name = "objective.volatility_limit"
        bound: Vector = block.scalars(lambda m: float(m.objective.volatility_limit or 0.0))
        sd = np.sqrt(figures.risk.variance)
        yield _implied(figures, (name, "volatility", name), ("book",), sd[:, None], bound[:, None])
    if goal.mode == "min_variance" and goal.cost_budget is not None:
        name = "objective.cost_budget"
        bound = block.scalars(lambda m: float(m.objective.cost_budget or 0.0))
        cost = sum((usd for term, usd in figures.terms.items() if term != "risk"), np.zeros(len(block)))
        yield _implied(figures, (name, "cost_budget", name), ("book",), cost[:, None], bound[:, None])


def _transfers(figures: Figures) -> Iterator[BlockLimit]:
    """What leaves each pocket and each venue, against what may leave."""
    block, first = figures.block, figures.block.first
    if not first.transfers.routes:
        return
    sent = block.leaving_pocket(figures.transfers * (1 + block.transfer_cost))
    source = np.unique(block.route_ends[0])
    keys = tuple(first.pockets[p].key for p in source)
    may_leave = block.withdrawable[:, source]
    texts = ("transfers.withdrawable", "transfer", "collateral")
    yield _implied(figures, texts, keys, sent[:, source], may_leave)
    headroom, leaving = block.take(lambda m: m.transfers.headroom), block.take(lambda m: m.transfers.leaving)
    for row in range(headroom.shape[1]):
        chosen = np.flatnonzero(np.isfinite(headroom[0, row]))
        if not len(chosen):
            continue
        counted = block.pockets_by_venue(sent * leaving[:, row])
        name = "transfers.initial_margin" if row == 0 else "transfers.maintenance_margin"
        stress = "" if row == 0 else f" {first.stresses.names[max(row - 1, 0)]}"
        subjects = tuple(first.accounts[v].name + stress for v in chosen)
        texts = (name, "transfer", "default")
        yield _implied(figures, texts, subjects, counted[:, chosen], headroom[:, row, chosen])


# Bounds on single positions: unless soft, they are boxes and no rows.
_BOXES = (schema.PositionCap, schema.Participation, schema.HedgeSide)
_RULES: Mapping[type, Callable[[_Rows], Iterator[BlockLimit]]] = {
    schema.NetDelta: _net_delta,
    schema.HedgeRatio: _hedge_ratio,
    schema.Gross: _gross,
    schema.LeverageLimit: _leverage,
    schema.Turnover: _turnover,
    schema.VenueShare: _venue_share,
    schema.CollateralShare: _collateral_share,
    schema.InitialMargin: _initial_margin,
    schema.MaintenanceMargin: _maintenance_margin,
    schema.Liquidity: _liquidity,
    schema.Volatility: _volatility,
    schema.PositionCap: _position,
}
