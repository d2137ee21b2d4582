"""The convex program of a market, compiled once and updated in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from allocator.evaluate import objective_weights
from allocator.market.types import Market
from allocator.program import requirements
from allocator.program.coefficients import COST, Structure, coefficients, same_structure, structure
from allocator.program.limits import Context, Rows, bounds, limit_rows, needs_turnover, stresses_needed
from allocator.program.parts import AFRESH, Parts
from allocator.program.slots import Slots, StructureChanged
from allocator.program.variables import Variables, declare
from allocator.scenario import schema
from models.arrays import Vector


@dataclass(frozen=True)
class LimitRow:
    """A limit in the compiled program: its constraint, and the breach variable where it is soft."""

    rows: Rows
    constraint: cp.Constraint
    breach: cp.Variable | None


class Program:
    """One market's convex program. `vary` names coefficients (or their prefixes) that `update` may change.

    `shifts` are expressions added to coefficients, for programs that also choose figures of the scenario.
    """

    def __init__(
        self,
        market: Market,
        vary: frozenset[str] = frozenset(),
        shifts: Mapping[str, cp.Expression] | None = None,
    ) -> None:
        self.market = market
        self.shape: Structure = structure(market)
        self.slots = Slots(numbers(market, self.shape), vary, shifts)
        self.variables: Variables = declare(market, self.shape, self.slots, needs_turnover(market))
        margins, tied = {}, list(self.variables.rows)
        required = requirements.Rows(market, self.shape, self.slots, self.variables, tied, {})
        for s in stresses_needed(market):
            margins[s] = requirements.maintenance(required, s)
        self.root = float(np.sqrt(market.objective.risk_aversion_per_usd * market.book_usd / COST))
        context = Context(
            market, self.variables, self.slots, margins, requirements.initial(required), self.root
        )
        self.limits = [self._limit(rows) for rows in limit_rows(context)]
        self.pieces = required.pieces | context.pieces
        self.lower, self.upper = self._box()
        self.limits += [self._limit(rows) for rows in self._norm_limits()]
        named = [row.constraint for row in self.limits]
        self.problem = cp.Problem(
            cp.Minimize(self._objective()),
            [*tied, *context.ties, *(c for c in (self.lower, self.upper) if c is not None), *named],
        )
        if not self.problem.is_dcp(dpp=True):
            raise AssertionError("the program is not DPP; a coefficient enters as a product of parameters")

    def update(self, market: Market) -> None:
        """Put another market's numbers in; raise `StructureChanged` where its shape differs."""
        shape = structure(market)
        if not same_structure(self.shape, shape):
            raise StructureChanged("instruments, limits or bounds are of another shape")
        self.slots.update(numbers(market, shape))
        self.market = market

    def _limit(self, rows: Rows) -> LimitRow:
        if rows.price is None:
            return LimitRow(rows, rows.value <= rows.bound, None)
        breach = cp.Variable(rows.value.shape, name=f"breach {rows.name}", nonneg=True)
        return LimitRow(rows, rows.value <= rows.bound + breach, breach)

    def _box(self) -> tuple[cp.Constraint | None, cp.Constraint | None]:
        """Bounds on positions as rows, not variable attributes, which would lose their duals."""
        below, above, x = self.shape.boxed_below, self.shape.boxed_above, self.variables.positions
        lower = x[below] >= self.slots("box.lower") if len(below) else None
        upper = x[above] <= self.slots("box.upper") if len(above) else None
        return lower, upper

    def _norm_limits(self) -> list[Rows]:
        """Volatility and cost limits, which speak of the objective's own terms."""
        found = []
        volatility = cp.norm(cp.hstack(self.variables.factors), 2) / self.root
        for spec in self.market.limits:
            if isinstance(spec.limit, schema.Volatility):
                name = f"limits.{spec.key}.max"
                found.append(
                    Rows(
                        name,
                        "volatility",
                        spec.source,
                        ("book",),
                        volatility,
                        self.slots(name),
                        spec.limit.soft,
                    )
                )
        mode = self.market.objective.mode
        if mode == "min_cost":
            name = "objective.volatility_limit"
            found.append(Rows(name, "volatility", name, ("book",), volatility, self.slots(name), None))
        elif mode == "min_variance":
            name = "objective.cost_budget"
            cost = COST * self._cost()
            found.append(Rows(name, "cost_budget", name, ("book",), cost, self.slots(name), None))
        return found

    def _risk(self) -> cp.Expression:
        return 0.5 * sum(cp.sum_squares(g) for g in self.variables.factors)

    def _cost(self) -> cp.Expression:
        """All terms but risk, in bp of the book."""
        v, slots = self.variables, self.slots
        terms = [slots("funding.cost") @ v.positions, slots("cost.share") * cp.sum(v.cost)]
        if v.uncertainty is not None:
            terms.append(cp.norm(v.uncertainty, 2))
        if self.market.transfers.routes:
            terms.append(slots("transfer.charged") @ v.transfers)
        if self.shape.has_charge:
            terms.append(slots("collateral.charge") @ v.charged)
        return sum(terms[1:], terms[0])

    def split(self) -> tuple[float, cp.Expression]:
        """The objective as a weight on ½‖factors‖², and all the rest."""
        risk, rest = objective_weights(self.market)
        total = rest * self._cost()
        for row in self.limits:
            if row.breach is not None and row.rows.price is not None:
                total = total + row.rows.price / COST * cp.sum(row.breach)
        return risk, total

    def _objective(self) -> cp.Expression:
        weight, rest = self.split()
        return weight * self._risk() + rest


def numbers(market: Market, shape: Structure, parts: Parts = AFRESH) -> dict[str, Vector]:
    """Every number of the program by name: coefficients, and the bounds of limits."""
    return {**coefficients(market, shape, parts), **bounds(market)}
