"""The figures of a scenario that one may change: each one's value, unit, and the market with another value.

A figure is a number of the scenario or its tables that a limit rests on: a bound, a coefficient, the size of
a stress, a balance of collateral. Prices are derivatives in figures, ways out are changes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from allocator.evaluate import selected_assets
from allocator.market.boxes import participation_bounds, position_cap
from allocator.market.stresses import scaled_tiers, stress_arrays, with_haircuts
from allocator.market.transfers import with_headroom
from allocator.market.types import Box, LimitSpec, Market
from allocator.scenario import schema
from models.arrays import Vector

Unit = Literal["USD", "share", "x", "number"]
Stated = Mapping[str, schema.Stress]


@dataclass(frozen=True)
class Figure:
    """One number. `relaxing` is the direction (+1 or −1) in which it can only help; 0 where that is open.

    It may be set from `least` to `most`. `coefficient` says that it multiplies the decision, so that the
    optimum need not be convex in it. `size` is what counts as a change of order one.
    """

    name: str
    kind: str
    source: str
    unit: Unit
    value: float
    relaxing: float
    least: float
    most: float
    coefficient: bool
    size: float
    move: Callable[[Market, float], Market]

    def relaxed(self, amount: float) -> float:
        """Its value after relaxing it by an amount ≥ 0, within what the scenario allows."""
        return float(np.clip(self.value + (self.relaxing or 1.0) * amount, self.least, self.most))


_INF = float("inf")
# Fields of each limit kind: (field, unit, relaxing direction, least, most, is a coefficient).
_Field = tuple[str, Unit, float, float, float, bool]
_FIELDS: Mapping[type, tuple[_Field, ...]] = {
    schema.NetDelta: (("min", "USD", -1, -_INF, _INF, False), ("max", "USD", 1, -_INF, _INF, False)),
    schema.HedgeRatio: (("min", "share", -1, -_INF, _INF, False), ("max", "share", 1, -_INF, _INF, False)),
    schema.PositionCap: (("max", "USD", 1, 0, _INF, False),),
    schema.Gross: (("max", "USD", 1, 0, _INF, False),),
    schema.LeverageLimit: (("max", "x", 1, 0, _INF, True),),
    schema.Participation: (("max", "share", 1, 0, _INF, False),),
    schema.Turnover: (("max", "USD", 1, 0, _INF, False),),
    schema.CollateralShare: (("max", "share", 1, 0, 1, True),),
    schema.VenueOutage: (("max", "USD", 1, 0, _INF, False),),
    schema.InitialMargin: (("use", "share", 1, 0, 1, True),),
    schema.MaintenanceMargin: (("buffer", "x", -1, 1, _INF, True),),
    schema.Liquidity: (("reserve", "USD", 1, 0, _INF, False), ("warning", "x", -1, 1, _INF, True)),
    schema.Volatility: (("max", "USD", 1, 0, _INF, False),),
}
_MARGIN = (schema.InitialMargin, schema.MaintenanceMargin)


def figures(market: Market, stresses: Stated) -> list[Figure]:
    """Every figure of a market. `stresses` are the scenario's own words, by name."""
    return [*_limits(market), *_objective(market), *_caps(market), *_leverages(market),
            *_stresses(market, stresses), *_collateral(market)]  # fmt: skip


def _limits(market: Market) -> Iterator[Figure]:
    for spec in market.limits:
        fields = _FIELDS.get(type(spec.limit), ())
        if isinstance(spec.limit, schema.VenueShare):
            fields = (("max", "share", 1, 0, _INF, spec.limit.of == "gross"),)
        if isinstance(spec.limit, schema.LiquidationProbability):
            probability: _Field = ("max", "share", 1, 1e-12, 1 - 1e-9, True)
            sigmas: _Field = ("sigmas", "number", -1, 1e-6, _INF, True)
            fields = (probability if spec.limit.sigmas is None else sigmas,)
        for field, unit, relaxing, least, most, coefficient in fields:
            value = float(getattr(spec.limit, field))
            size = market.book_usd if unit == "USD" else abs(value) if coefficient else 1.0
            yield Figure(f"limits.{spec.key}.{field}", spec.limit.kind, spec.source, unit, value, relaxing,
                         least, most, coefficient, size, _limit_mover(spec.key, field))  # fmt: skip


def _limit_mover(key: str, field: str) -> Callable[[Market, float], Market]:
    def move(market: Market, value: float) -> Market:
        limits = tuple(
            replace(spec, limit=spec.limit.model_copy(update={field: value})) if spec.key == key else spec
            for spec in market.limits
        )
        spec = next(spec for spec in limits if spec.key == key)
        moved = replace(market, limits=limits, boxes=_reboxed(market, spec))
        return with_fresh_headroom(moved) if isinstance(spec.limit, _MARGIN) else moved

    return move


def _reboxed(market: Market, spec: LimitSpec) -> tuple[Box, ...]:
    """The boxes with that of one limit on single positions written anew."""
    limit, held = spec.limit, market.positions.usd
    if limit.soft is not None:
        return market.boxes
    if isinstance(limit, schema.PositionCap):
        cap = position_cap(limit, market.instruments)
        lower, upper = -cap, cap
    elif isinstance(limit, schema.Participation):
        sell, buy = participation_bounds(limit, market.costs)
        lower = held - np.where(np.isnan(sell), np.inf, sell)
        upper = held + np.where(np.isnan(buy), np.inf, buy)
    else:
        return market.boxes
    name = f"limits.{spec.key}.max"
    return tuple(replace(box, lower=lower, upper=upper) if box.name == name else box for box in market.boxes)


def _objective(market: Market) -> Iterator[Figure]:
    goal = market.objective
    for mode, field, kind in (
        ("min_cost", "volatility_limit", "volatility"),
        ("min_variance", "cost_budget", "cost_budget"),
    ):
        value = getattr(goal, field)
        if goal.mode != mode or value is None:
            continue

        def move(market: Market, value: float, field: str = field) -> Market:
            return replace(market, objective=market.objective.model_copy(update={field: value}))

        name, least = f"objective.{field}", 0.0 if field == "volatility_limit" else -_INF
        yield Figure(name, kind, name, "USD", float(value), 1.0, least, _INF, False, market.book_usd, move)


def _caps(market: Market) -> Iterator[Figure]:
    """`instruments.<entry>.max_position`: one cap for all that the entry selects."""
    for box in market.boxes:
        finite = box.upper[np.isfinite(box.upper)]
        if (
            not box.name.startswith("instruments.")
            or not box.name.endswith(".max_position")
            or not len(finite)
        ):
            continue

        def move(market: Market, value: float, name: str = box.name) -> Market:
            return replace(
                market, boxes=tuple(_capped(b, value) if b.name == name else b for b in market.boxes)
            )

        yield Figure(box.name, box.kind, box.source, "USD", float(finite[0]), 1.0, 0.0, _INF, False,
                     market.book_usd, move)  # fmt: skip


def _capped(box: Box, cap: float) -> Box:
    """The box with another cap on everything that it caps."""
    lower = np.where(np.isfinite(box.lower), -cap, box.lower)
    return replace(box, lower=lower, upper=np.where(np.isfinite(box.upper), cap, box.upper))


def _leverages(market: Market) -> Iterator[Figure]:
    """`instruments.<entry>.leverage` where it alone sets the initial rate; its bracket stays."""
    sources = {box.name: box.source for box in market.boxes}
    scheme = market.scheme
    for entry in dict.fromkeys(i.selection for i in market.instruments):
        rows = np.array([i.selection == entry for i in market.instruments])
        rates = np.unique(scheme.initial_rate[rows])
        name = f"instruments.{entry}.leverage"
        if len(rates) != 1 or name not in sources or not 0 < rates[0] <= 1:
            continue

        def move(market: Market, value: float, rows: Vector = rows) -> Market:
            rate = np.where(rows, 1 / value, market.scheme.initial_rate)
            return with_fresh_headroom(replace(market, scheme=replace(market.scheme, initial_rate=rate)))

        value = 1 / float(rates[0])
        yield Figure(name, "leverage", sources[name], "x", value, 0.0, 1e-3, _INF, True, value, move)


def _stresses(market: Market, stated: Stated) -> Iterator[Figure]:
    """`stresses.<name>`: its size, 1 as written; all its moves, gaps and haircut steps shrink with it."""
    for name in market.stresses.names[1:]:
        if name not in stated or not _moves(stated[name]):
            continue

        def move(market: Market, value: float, name: str = name) -> Market:
            return with_stress(market, name, resized(stated[name], value))

        yield Figure(f"stresses.{name}", "stress", f"stresses.{name}", "number", 1.0, -1.0, 0.0, _INF, True,
                     1.0, move)  # fmt: skip


def _moves(stress: schema.Stress) -> bool:
    moved = [stress.move, stress.haircut_step, *stress.moves.values(), *stress.basis.values()]
    return any(moved) or any(stress.currencies.values())


def resized(stress: schema.Stress, size: float) -> schema.Stress:
    """The stress with every move, gap and haircut step times `size`."""
    keys = ("moves", "basis", "currencies")
    maps = {key: {k: size * v for k, v in getattr(stress, key).items()} for key in keys}
    update = {"move": size * stress.move, "haircut_step": size * stress.haircut_step, **maps}
    return stress.model_copy(update=update)


def with_stress(market: Market, name: str, stress: schema.Stress) -> Market:
    """The market with one of its stresses restated."""
    row = market.stresses.names.index(name)
    one = stress_arrays(
        {name: stress},
        market.instruments,
        market.pockets,
        market.currencies,
        market.funding.cap,
        market.funding.interval_hours,
    )
    one = scaled_tiers(with_haircuts(one, market.collateral.haircut), market.scheme.whole_position)
    changed = {}
    for key in ("pnl", "size_loss", "notional", "deduction", "bend", "pocket_factor", "haircut"):
        values = getattr(market.stresses, key).copy()
        values[row] = getattr(one, key)[1]
        changed[key] = values
    return with_fresh_headroom(replace(market, stresses=replace(market.stresses, **changed)))


def _collateral(market: Market) -> Iterator[Figure]:
    """`collateral.<venue>.<currency>`: a balance, topped up from what the desk holds outside the venues.

    The book's exposure to the currency therefore stays as it is.
    """
    for p, pocket in enumerate(market.pockets):

        def move(market: Market, value: float, p: int = p) -> Market:
            balance = market.collateral.balance.copy()
            balance[p] = value
            return with_fresh_headroom(
                replace(market, collateral=replace(market.collateral, balance=balance))
            )

        name, held = f"collateral.{pocket.venue}.{pocket.currency}", float(market.collateral.balance[p])
        least = 0.0 if held >= 0 else -_INF  # what is held cannot be made a debt
        yield Figure(name, "collateral", "collateral", "USD", held, 1.0, least, _INF, False,
                     market.book_usd, move)  # fmt: skip


def with_fresh_headroom(market: Market) -> Market:
    """The market with what may leave each venue worked out anew."""
    if not market.transfers.routes:
        return market
    headroom = np.full_like(market.transfers.headroom, np.inf)
    return with_headroom(replace(market, transfers=replace(market.transfers, headroom=headroom)))


def touched(market: Market, figure: Figure) -> frozenset[str]:
    """Names of the program's numbers that a change of the figure changes (`Program(vary=...)`)."""
    part, _, rest = figure.name.partition(".")
    rows = range(len(market.transfers.headroom)) if market.transfers.routes else range(0)
    headroom = {f"transfer.{row}" for row in rows}
    if part == "collateral":
        return frozenset({"collateral.balance", *headroom})
    if part == "stresses":
        return frozenset({f"stress.{market.stresses.names.index(rest)}", *headroom})
    if part == "objective":
        return frozenset({figure.name})
    if figure.name.endswith(".leverage") and part == "instruments":
        return frozenset({"margin.initial", *headroom})
    if part == "instruments":
        return frozenset({"box"})
    margin = headroom if figure.kind in ("initial_margin", "maintenance_margin") else set()
    boxes = {"box"} if figure.kind in ("position", "participation") else set()
    return frozenset({f"limits.{rest.rpartition('.')[0]}", *margin, *boxes})


def usd_per_size(market: Market, figure: Figure) -> float:
    """USD of the book that a change of the figure by one unit counts for, where no weight is stated."""
    if figure.unit == "USD":
        return 1.0
    spec = next((s for s in market.limits if figure.name.startswith(f"limits.{s.key}.")), None)
    if spec is not None and isinstance(spec.limit, schema.HedgeRatio):
        return float(np.abs(market.exposure[selected_assets(market, spec.limit.assets)]).sum())
    return market.book_usd / (figure.value if figure.coefficient and figure.value > 0 else 1.0)
