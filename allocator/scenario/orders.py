"""The `orders:` and `explain:` sections: how the orders look, and which ways out are proposed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from allocator.scenario.base import Model, Positive
from allocator.scenario.execution import Execution
from allocator.scenario.order_checks import Checks
from allocator.units import Fraction, Usd


class Orders(Model):
    """How the orders look."""

    type: Literal["limit", "market"] = "limit"
    time_in_force: Literal["gtc", "ioc", "fok"] = "gtc"
    post_only: bool = Field(False, description="Only limit orders that rest: gtc.")
    collar: Annotated[Fraction, Field(ge=0)] = Field(
        0.001, description="How far beyond the mark a limit price may reach."
    )
    min_trade: Annotated[Usd, Field(ge=0)] = Field(0.0, description="Smaller trades are left out.")
    max_orders: Annotated[int, Field(ge=0)] | None = Field(
        None, description="Most orders of a run; a position that turns its sign takes two."
    )
    max_venues: Annotated[int, Field(ge=0)] | None = Field(None, description="Most venues that get orders.")
    cost_per_order: dict[str, Annotated[Usd, Field(ge=0)]] = Field(
        {}, description="Fixed cost of each order (gas), by venue or `all`."
    )
    cost_per_transfer: dict[str, Annotated[Usd, Field(ge=0)]] = Field(
        {}, description="Fixed cost of each transfer (withdrawal fee, gas), by venue it leaves or `all`."
    )
    whole_lots: Literal["rounding", "highs", "scip"] = Field(
        "rounding",
        description="Rounding and repair, or an exact integer program too. `highs` needs a program whose "
        "only curve is the risk, `scip` the extra `scip`.",
    )
    solver_nodes: Annotated[int, Field(gt=0)] = Field(
        20_000, description="Most branch-and-bound nodes of the exact program: a limit that repeats itself."
    )
    execution: Execution = Execution()
    checks: Checks = Checks()


class Explain(Model):
    """Which ways out are proposed where no positions satisfy all limits.

    Names are figures or what holds them: `limits.gross`, `limits.gross.max`, `collateral`, `collateral.okx`,
    `stresses.crash`, `instruments.okx_perps`, `objective.cost_budget`.
    """

    weights: dict[str, Positive] = Field(
        {},
        description="USD that a change by one unit ($1, 100%, 1x, a whole stress) counts for. Default: $1 "
        "for $1; else the share of the book, or of the figure's own value where it is a coefficient.",
    )
    hard: list[str] = Field([], description="What is never proposed.")
