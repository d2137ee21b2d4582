"""The daily allocation: market, program, audit, orders, in that order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocator.audit import Audit
from allocator.errors import Infeasible, Refused
from allocator.market.build import build_market
from allocator.market.instruments import tiers_held
from allocator.market.observed import known, newest_tiers
from allocator.market.types import Market
from allocator.orders.checks import Proposal, pre_trade, settings
from allocator.orders.lots import Rounded
from allocator.orders.order_list import Order, order_list
from allocator.orders.outcome import Outcome, refusals
from allocator.orders.quotes import best_prices
from allocator.orders.release import check_clock, terms
from allocator.orders.schedule import Slice, schedule
from allocator.orders.settle import Lots
from allocator.orders.stated import stated
from allocator.result import Json
from allocator.runs import run_id
from allocator.scenario.load import LoadedScenario, load_scenario
from allocator.snapshot.columns import TABLES
from allocator.snapshot.read import SnapshotData, read_snapshot
from allocator.trading import TradingRules

if TYPE_CHECKING:
    import pandas as pd

    from allocator.explanations.prices import ShadowPrices
    from allocator.order_stage import Placed
    from allocator.program.solve import Solution
    from allocator.venues.fill import VenueTables
    from allocator.venues.table import VenueTable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Allocation:
    """An audited allocation: the convex optimum, whole-lot orders, and all that led to them.

    `checks` are the pre-trade checks that need no clock; where one failed, there are no orders.
    """

    run_id: str
    scenario: LoadedScenario
    market: Market
    solution: Solution
    audit: Audit
    placed: Placed
    orders: tuple[Order, ...]
    slices: tuple[Slice, ...] = ()
    checks: tuple[Outcome, ...] = ()

    @property
    def status(self) -> str:
        """`optimal`, or `refused` where a pre-trade check withheld the orders."""
        return "refused" if refusals(self.checks) else "optimal"

    @cached_property
    def shadow_prices(self) -> ShadowPrices:
        """By limit name, USD per decision horizon that one more USD of each subject's bound saves.

        `.figures` and `.collateral` rank the prices of the scenario's own figures, in their own units.
        """
        from allocator.explanations.prices import shadow_prices

        return shadow_prices(self.market, self.solution, self.scenario.scenario.stresses)

    @property
    def rounded(self) -> Rounded:
        """The whole-lot trades and the decision they lead to."""
        return self.placed.rounded

    @property
    def rounding_gap_usd(self) -> float:
        """USD by which the whole-lot objective may miss the best one, against an audited bound below it."""
        return self.placed.gap_usd

    @cached_property
    def result(self) -> Json:
        """What `result.json` holds."""
        return _result(self)

    def __repr__(self) -> str:
        """In a line: a market and its arrays would fill pages."""
        name = self.scenario.scenario.name
        return f"Allocation({name!r}, {self.status}, {len(self.orders)} orders, run_id={self.run_id!r})"

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from allocator.report.brief import of_allocation

        return of_allocation(self.result, [vars(order) for order in self.orders])

    @property
    def positions(self) -> pd.DataFrame:
        """The positions of `result` as a table."""
        return _table(self.result["positions"])

    @property
    def venues(self) -> pd.DataFrame:
        """The venues of `result` as a table."""
        return _table(self.result["venues"])

    @property
    def limits(self) -> pd.DataFrame:
        """The limits of `result` as a table."""
        return _table(self.result["limits"])


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows)


def read_tables(loaded: LoadedScenario) -> SnapshotData:
    """The scenario's tables, checked at the door. Raises `DataError`."""
    optional = () if loaded.scenario.objective.impact.model == "book" else ("books",)
    inline = loaded.scenario.snapshot.tables
    required = [name for name in TABLES if name not in optional]
    return read_snapshot(loaded.snapshot_folder, inline, required, venue_tables(loaded))


def venue_tables(loaded: LoadedScenario) -> VenueTables | None:
    """The scenario's venue tables by exchange; None without any."""
    if not loaded.tables:
        return None
    from allocator.venues.fill import VenueTables  # only where a scenario names a table

    found: dict[str, dict[str, VenueTable]] = {}
    for name, table in loaded.tables.items():
        exchange = loaded.scenario.venues[name].exchange or name
        found.setdefault(exchange, {})[table.label] = table
    by_exchange = {exchange: tuple(tables.values()) for exchange, tables in found.items()}
    return VenueTables(by_exchange, loaded.scenario.as_of)


def allocate(
    scenario: LoadedScenario | Path | str,
    snapshot: SnapshotData | None = None,
    market: Market | None = None,
    at: datetime | None = None,
) -> Allocation:
    """Allocate the hedge of a scenario; `snapshot` and `market` save reading them again.

    Data are stale against the scenario's `as_of`, never against the clock, unless `at` says when the orders
    would go out: then `orders.checks.max_age` and `funding_window` are asked at that time too. Give it,
    `datetime.now(UTC)`, where orders are sent from here. What lies beside a run folder (kill switch, ids sent
    already, an earlier handover) only the commands look at.

    Raises `DataError`, `Infeasible` (with `.conflict` and `.ways_out`), `SolverFailed`, or `AuditFailed`
    where the optimum or its whole-lot rounding breaches a limit, or is not proven to be the optimum;
    `Refused` (with `.allocation`) where a pre-trade check fails; ValueError for an `at` without a time zone.
    """
    if at is not None and at.tzinfo is None:
        raise ValueError(f"at is {at.isoformat()}, without a time zone: give one such as datetime.now(UTC)")
    loaded = scenario if isinstance(scenario, LoadedScenario) else load_scenario(scenario)
    tables = read_tables(loaded) if snapshot is None else snapshot
    found = build_market(loaded, tables) if market is None else market
    solution, confirmed = optimum(found, loaded)
    # The modeller is heavy: nothing before the optimum, and no other command, waits for it.
    from allocator.order_stage import place

    placed = place(found, solution, confirmed, loaded.scenario.orders)
    for state in placed.sequence.failures:
        log.warning(
            "%s: %s at %s has $%s of slack; the book is less hedged by $%s",
            state.name,
            state.limit or "no margin limit",
            state.venue or "no venue",
            f"{state.slack_usd:,.2f}",
            f"{state.unhedged_usd:,.2f}",
        )
    run = run_id(loaded, tables)
    books = tables.tables.get("books") if loaded.scenario.objective.impact.model == "book" else None
    orders = order_list(
        found, placed.rounded, placed.sequence, loaded.scenario.orders, best_prices(found, books), run
    )
    lots = Lots.of(found, TradingRules.of(found, loaded.scenario.orders))
    start = found.as_of + timedelta(hours=loaded.scenario.horizons.execution)
    slices = schedule(found, lots, orders, loaded.scenario.orders.execution, start)
    checks = _checked(loaded, tables, found, placed.rounded, orders)
    if at is not None and orders:
        checks += check_clock(terms(loaded.scenario.orders.checks, found, orders, loaded.origin), at)
    allocation = Allocation(
        run, loaded, found, solution, confirmed, placed, tuple(orders), tuple(slices), checks
    )
    if allocation.status == "refused":
        raise Refused(refusals(checks), replace(allocation, orders=(), slices=()))
    return allocation


def optimum(market: Market, scenario: LoadedScenario) -> tuple[Solution, Audit]:
    """The audited optimum of a scenario's market, before lots and orders.

    Raises `Infeasible` (with `.conflict` and `.ways_out`), `SolverFailed`, or `AuditFailed`.
    """
    from allocator.audited import audited
    from allocator.program.build import Program

    try:
        solution, confirmed = audited(Program(market))
    except Infeasible as error:
        from allocator.explanations.explanation import explained

        raise explained(error, market, scenario) from error
    log.info("solved by %s in %d iterations", solution.solver, solution.iterations)
    return solution, confirmed


def _checked(
    loaded: LoadedScenario, tables: SnapshotData, market: Market, rounded: Rounded, orders: list[Order]
) -> tuple[Outcome, ...]:
    """The pre-trade checks that need no clock."""
    seen = dict(tables.tables)
    proposal = Proposal(
        market=market,
        rounded=rounded,
        orders=orders,
        rules=loaded.scenario.orders.checks,
        stated=stated(market, seen),
        leverage=settings(loaded, market),
        tiers=tiers_held(
            market, newest_tiers(known({"margin_tiers": seen["margin_tiers"]}, market.as_of)["margin_tiers"])
        ),
    )
    return pre_trade(proposal, loaded.origin)


def _result(a: Allocation) -> Json:
    from allocator import result, result_tables
    from allocator.explanations.alternatives import doing_nothing
    from allocator.explanations.explanation import price_rows

    multipliers = a.solution.multipliers
    prices = result.Prices(multipliers.limits, multipliers.lower, multipliers.upper)
    found = {
        **result.header(a.run_id, a.scenario.scenario.name, a.market, a.status),
        "solver": {"name": a.solution.solver, "iterations": a.solution.iterations, "fallback": None},
        "objective": result.objective(a.market, a.audit, a.solution.decision),
        "cash": result.cash(a.market, a.rounded),
        "risk": result.risk(a.market, a.rounded.decision.positions),
        "positions": result.positions(a.market, a.solution.decision, a.rounded),
        "transfers": result.transfers(a.market, a.rounded.decision),
        "venues": result.venues(a.market, a.rounded.decision),
        "limits": result.limits(a.market, a.solution.decision, a.audit.values, prices),
        "audit": result.audit(a.audit, a.rounded, a.rounding_gap_usd, a.placed.method),
        "holdings": result_tables.holdings(a.market),
        "alternatives": {"doing_nothing": doing_nothing(a.market, a.solution.decision).to_json()},
        "explanation": price_rows(a.shadow_prices, a.market, a.scenario),
        "orders": len(a.orders),
        "sequence": result_tables.sequence(a.placed.sequence),
        "instruments": result_tables.instruments(a.market),
        "checks": [check.as_json() for check in a.checks],
        "release": terms(a.scenario.scenario.orders.checks, a.market, a.orders, a.scenario.origin),
        "carry": result_tables.carry(a.market, a.rounded.decision.positions),
        "data": result_tables.data(a.market),
        "notices": list(a.market.notices),
    }
    curve = result_tables.equity_by_price(a.market, a.rounded.decision, found["venues"])
    return {**found, "summary": result_tables.summary(found), "equity_by_price": curve}
