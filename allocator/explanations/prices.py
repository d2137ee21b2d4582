"""What each figure costs: dollars per decision horizon that a unit more of it saves, from the multipliers.

By the envelope theorem the optimum changes with a figure as its Lagrangian does at the optimal decision: the
weighted objective plus Σ multiplier·(value − bound), all by plain formulas. For a bound this is its own
multiplier; for a coefficient multiplier × ∂(value − bound)/∂coefficient; for collateral the multipliers of
initial margin and of all stresses, with θ, haircuts and stressed prices (Milgrom and Segal, Econometrica
70(2), 2002). No problem is solved again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from allocator import evaluate
from allocator.audit.limits import limit_values
from allocator.explanations.figures import Figure, Stated, Unit, figures
from allocator.market.boxes import box_owner
from allocator.market.types import Decision, Market
from allocator.report.brief import card, rows
from allocator.report.numbers import plain
from models.arrays import Vector

if TYPE_CHECKING:
    from allocator.program.solve import Multipliers, Solution

_STEP = 1e-5  # of the figure's size: the Lagrangian at a fixed decision is smooth, if not linear, in it
_NONE = 1e-10  # USD per USD: what an interior-point solver leaves of a multiplier that is zero
_SLACK = 1e-6  # USD of risk per USD of budget: a smaller multiplier of the cost budget is none


@dataclass(frozen=True)
class Price:
    """What a figure costs. `saves_usd` is per unit of relaxing it, null where the cost budget is slack.

    `subjects` are the parts of a limit that cost something, each with its own dollars per unit. `charge_usd`
    is the part of a collateral price that is paid for holding it, already deducted.
    """

    name: str
    kind: str
    source: str
    unit: Unit
    value: float
    relaxing: float
    saves_usd: float | None
    subjects: tuple[tuple[str, float], ...] = ()
    charge_usd: float = 0.0

    @property
    def worth_usd(self) -> float:
        """Saved by one per cent more of the figure: by what prices of unlike units are ranked.

        Collateral counts by what its margin saves, without what holding it is charged.
        """
        saves = (self.saves_usd or 0.0) + self.charge_usd
        return 0.01 * abs(saves) * max(abs(self.value), 1.0 if self.unit == "USD" else 1e-6)


class ShadowPrices(Mapping[str, Vector]):
    """Multipliers by limit name, USD per USD for each subject; `figures` and `collateral` are in plain units.

    Both are ranked: the first costs most.
    """

    def __init__(self, multipliers: Mapping[str, Vector], prices: Sequence[Price]) -> None:
        self._multipliers = dict(multipliers)
        ranked = sorted(prices, key=lambda price: -price.worth_usd)
        self.figures = tuple(price for price in ranked if price.kind != "collateral")
        deposits = [price for price in ranked if price.kind == "collateral"]
        self.collateral = tuple(sorted(deposits, key=lambda price: -(price.saves_usd or 0.0)))

    def _repr_html_(self) -> str:
        """As a notebook shows it: what each figure of the scenario costs, the dearest first."""
        found = [
            (price.name, plain(price.value), price.unit, plain(price.saves_usd or 0.0), price.source)
            for price in (*self.collateral, *self.figures)
            if abs(price.saves_usd or 0.0) > _NONE
        ]
        columns = ("figure", ">value", "unit", ">saves per unit, USD", "set in")
        return card(
            "Shadow prices", ["USD per decision horizon of one unit more room."], rows(columns, found)
        )

    def __getitem__(self, name: str) -> Vector:
        return self._multipliers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._multipliers)

    def __len__(self) -> int:
        return len(self._multipliers)

    def of(self, name: str) -> Price:
        """The price of one figure, such as `limits.gross.max` or `collateral.okx.USDT`."""
        return next(price for price in (*self.figures, *self.collateral) if price.name == name)


def shadow_prices(market: Market, solution: Solution, stresses: Stated) -> ShadowPrices:
    """Prices of every figure and of every flag that bounds a position."""
    decision, multipliers = solution.decision, solution.multipliers
    known = figures(market, stresses)
    unit = dollars_per_multiplier(market, multipliers)
    parts, bounds = _subjects(market, decision, multipliers), _bounds(market, multipliers)
    found = []
    for figure in known:
        saves = None if unit is None else unit * derivative(market, solution, figure)
        rows = [*parts.get(figure.name, ()), *(bounds.get(figure.name, ()) if figure.unit == "USD" else ())]
        sizes = tuple((subject, (unit or 0.0) * y) for subject, y in rows)
        charge = 0.0
        if figure.kind == "collateral" and unit is not None:
            charge = unit * _charge(market, decision, figure)
        found.append(Price(figure.name, figure.kind, figure.source, figure.unit, figure.value,
                           figure.relaxing, saves, sizes, charge))  # fmt: skip
    found += _flags(market, bounds, {figure.name for figure in known}, unit)
    return ShadowPrices(multipliers.limits, found)


def dollars_per_multiplier(market: Market, multipliers: Multipliers) -> float | None:
    """Dollars of cost per unit of objective: 1, but in `min_variance` 1 / the budget's multiplier."""
    if market.objective.mode != "min_variance":
        return 1.0
    budget = float(multipliers.limits["objective.cost_budget"][0])
    return 1.0 / budget if budget > _SLACK else None


def derivative(market: Market, solution: Solution, figure: Figure) -> float:
    """Objective saved per unit of relaxing the figure (of raising it, where neither way must help)."""
    if not _may_cost(market, solution.multipliers, figure):
        return 0.0
    step = _STEP * figure.size
    up, down = figure.value + step, figure.value - step
    if down < figure.least and figure.coefficient:
        down = figure.value
    # A figure at the end of what the scenario allows still has a price beyond it.
    slope = (_at(market, solution, figure, up) - _at(market, solution, figure, down)) / (up - down)
    return -slope * (figure.relaxing or 1.0)


def _may_cost(market: Market, multipliers: Multipliers, figure: Figure) -> bool:
    """Whether any limit with a multiplier rests on the figure."""
    if not figure.name.startswith("limits."):
        return True
    names = {figure.name, figure.name.rpartition(".")[0]}
    limits = multipliers.limits
    if figure.kind in ("initial_margin", "maintenance_margin"):
        names |= {name for name in limits if name.startswith("transfers.")}
    if figure.kind == "liquidity":
        names.add(f"{figure.name.rpartition('.')[0]}.reserve")
    if figure.kind in ("position", "participation"):
        return True
    return any(float(np.max(limits[name], initial=0.0)) > _NONE for name in names & limits.keys())


def _binding(market: Market, multipliers: Multipliers) -> Market:
    """The market with those of its limits only that cost something: no other weighs in the Lagrangian."""
    costly = {name for name, y in multipliers.limits.items() if float(np.max(y, initial=0.0)) > _NONE}
    keys = {name.split(".")[1] for name in costly if name.startswith("limits.")}
    return replace(market, limits=tuple(spec for spec in market.limits if spec.key in keys))


def _at(market: Market, solution: Solution, figure: Figure, value: float) -> float:
    return lagrangian(figure.move(market, value), solution.decision, solution.multipliers)


def lagrangian(market: Market, decision: Decision, multipliers: Multipliers) -> float:
    """Weighted objective plus Σ multiplier·(value − bound) over limits and boxes, USD."""
    terms = evaluate.objective_terms(market, decision)
    risk, other = evaluate.objective_weights(market)
    total = risk * terms["risk"] + other * sum(v for k, v in terms.items() if k != "risk")
    used: dict[str, int] = {}
    for limit in limit_values(_binding(market, multipliers), decision, "program"):
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        total -= float(multipliers.limits[limit.name][start : used[limit.name]] @ limit.slack_usd)
    x = decision.positions
    for y, over in ((multipliers.upper, x - market.upper), (multipliers.lower, market.lower - x)):
        held = y > 0
        total += float(y[held] @ over[held])
    return total


def _charge(market: Market, decision: Decision, figure: Figure) -> float:
    """What a dollar kept in a pocket is charged in the objective."""
    keys = [f"collateral.{pocket.venue}.{pocket.currency}" for pocket in market.pockets]
    p = keys.index(figure.name)
    kept = evaluate.balances(market, decision, np.zeros(len(market.instruments)), in_transit=True)
    _, other = evaluate.objective_weights(market)
    return other * float(market.collateral.charge[market.pocket_venue[p]]) if kept[p] > 0 else 0.0


def _subjects(
    market: Market, decision: Decision, multipliers: Multipliers
) -> dict[str, list[tuple[str, float]]]:
    """What each subject of a limit contributes to the price of its bound, by limit name."""
    found: dict[str, list[tuple[str, float]]] = {}
    used: dict[str, int] = {}
    for limit in limit_values(market, decision, "program"):
        start = used.get(limit.name, 0)
        used[limit.name] = start + len(limit.subjects)
        prices = multipliers.limits[limit.name][start : used[limit.name]] * limit.usd_per_unit
        rows = zip(limit.subjects, map(float, prices), strict=True)
        found.setdefault(limit.name, []).extend((s, y) for s, y in rows if y > _NONE)
    return found


def _bounds(market: Market, multipliers: Multipliers) -> dict[str, list[tuple[str, float]]]:
    """Prices of bounds on single positions, USD per USD, by the box that sets each."""
    found: dict[str, list[tuple[str, float]]] = {}
    sides: tuple[tuple[Literal["lower", "upper"], Vector], ...] = (
        ("lower", multipliers.lower),
        ("upper", multipliers.upper),
    )
    for side, prices in sides:
        for i in np.flatnonzero(prices > _NONE):
            box = box_owner(market, int(i), side)
            found.setdefault(box.name, []).append((f"{market.instruments[i].key} {side}", float(prices[i])))
    return found


def _flags(
    market: Market, bounds: Mapping[str, list[tuple[str, float]]], priced: set[str], unit: float | None
) -> list[Price]:
    """Prices of boxes that no figure sets: sides, flags, leverage brackets, depth; per dollar of room."""
    found = []
    for box in market.boxes:
        if box.name in priced and box.kind != "bracket_cap":
            continue
        # An entry's leverage is a figure of its own; its bracket only caps positions.
        name = f"{box.name} (bracket)" if box.kind == "bracket_cap" else box.name
        parts = tuple((subject, (unit or 0.0) * y) for subject, y in bounds.get(box.name, ()))
        total = None if unit is None else sum(y for _, y in parts)
        found.append(Price(name, box.kind, box.source, "USD", 0.0, 1.0, total, parts))
    return found
