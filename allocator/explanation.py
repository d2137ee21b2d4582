"""What an optimum means, or why there is none, in one value: of a scenario, an allocation, or a finished run.

Explained is the convex optimum: whole lots, orders and pre-trade checks come after it and have no say in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from allocator.allocation import Allocation, optimum, read_tables
from allocator.errors import AuditFailed, HedgeError, Infeasible, SolverFailed
from allocator.explanations.changes import Comparison, compare
from allocator.explanations.finished import read_finished
from allocator.explanations.page import text_of
from allocator.market.build import build_market
from allocator.market.types import Market
from allocator.result import Json, failure, header
from allocator.runs import run_id
from allocator.scenario.load import LoadedScenario, load_scenario

if TYPE_CHECKING:
    from allocator.explanations.prices import ShadowPrices
    from allocator.explanations.ranges import PriceRange
    from allocator.explanations.reasons import Reasons
    from allocator.program.solve import Solution

# What a finished run says of itself; nothing of it is solved again, so that it has no ranges.
_STORED = ("schema_version", "run_id", "scenario", "as_of", "decision_hours", "holding_hours", "status",
           "errors", "conflict", "background", "ways_out", "explanation", "alternatives")  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """What limits cost, why this order, and what else could be done; or why nothing is possible.

    `prices` are USD per decision horizon that a unit more of each figure saves, ranked: the first costs most;
    `ranges` say over which values the largest of them hold. `reasons` hold what pushed each trade, what was
    not traded, and the alternatives priced. Where there is no optimum, `error` says why (`Infeasible` with
    `.conflict` and `.ways_out`) and the rest is empty. Of a finished run only `to_json` and the text tell.
    """

    said: Json
    exit_code: int = 0
    prices: ShadowPrices | None = None
    ranges: tuple[PriceRange, ...] = ()
    reasons: Reasons | None = None
    error: HedgeError | None = None

    @property
    def status(self) -> str:
        """`optimal`, or what came instead of an optimum."""
        return str(self.said["status"])

    def to_json(self) -> Json:
        """Plain data, as `hedge explain --json` prints it."""
        return dict(self.said)

    def __str__(self) -> str:
        """The page of `hedge explain`."""
        return text_of(self.said)

    def __repr__(self) -> str:
        """In a line; `print` shows the page."""
        return f"Explanation({self.said['scenario']!r}, {self.status}, run_id={self.said['run_id']!r})"

    def _repr_html_(self) -> str:
        """As a notebook shows it: the page."""
        from allocator.report.html import el

        return str(el("pre", "", str(self)))


@overload
def explain(subject: Allocation | LoadedScenario | Path | str) -> Explanation: ...
@overload
def explain(subject: Path | str, later: Path | str) -> Comparison: ...
def explain(
    subject: Allocation | LoadedScenario | Path | str, later: Path | str | None = None
) -> Explanation | Comparison:
    """Explain an allocation, a scenario (or its file) or the folder of a finished run; or compare two runs.

    A scenario is solved first; ranges and venues switched off are solved again (some forty times, at solver
    speed). A scenario without an optimum is explained too: the error is in `.error`, not raised. Raises
    `ScenarioError` or `DataError` where there is nothing to explain: a slip in the scenario, a bad table, a
    folder that is no finished run or was changed.
    """
    if later is not None:
        if isinstance(subject, Allocation | LoadedScenario):
            raise TypeError("two runs are compared by their folders; name both")
        return compare(Path(subject), Path(later))
    if isinstance(subject, Allocation):
        head = header(subject.run_id, subject.scenario.scenario.name, subject.market, "optimal")
        return _of_optimum(head, subject.market, subject.scenario, subject.solution)
    if isinstance(subject, LoadedScenario):
        return _of_scenario(subject)
    return _of_run(Path(subject)) if Path(subject).is_dir() else _of_scenario(load_scenario(Path(subject)))


def _of_scenario(scenario: LoadedScenario) -> Explanation:
    tables = read_tables(scenario)
    market = build_market(scenario, tables)
    head = header(run_id(scenario, tables), scenario.scenario.name, market, "optimal")
    try:
        solution, _ = optimum(market, scenario)
    except (Infeasible, SolverFailed, AuditFailed) as error:
        said = {**head, "status": error.status, **failure(error)}
        return Explanation(said, error.exit_code, error=error)
    return _of_optimum(head, market, scenario, solution)


def _of_optimum(head: Json, market: Market, scenario: LoadedScenario, solution: Solution) -> Explanation:
    # The modeller is heavy: what a finished run says, and what changed, does not wait for it.
    from allocator.explanations.explanation import dearest, price_rows
    from allocator.explanations.figures import figures
    from allocator.explanations.prices import shadow_prices
    from allocator.explanations.ranges import concerned, price_ranges
    from allocator.explanations.reasons import reasons
    from allocator.explanations.venue_off import switching_resolver

    stresses = scenario.scenario.stresses
    known, prices = figures(market, stresses), shadow_prices(market, solution, stresses)
    chosen = dearest(prices, known)
    # One program, compiled once, for ranges and venues alike.
    resolver = switching_resolver(market, concerned(market, chosen, known))
    ranges = tuple(price_ranges(resolver, solution, chosen, known))
    why = reasons(market, solution, resolver)
    said = {**head, "explanation": price_rows(prices, market, scenario, ranges), **why.to_json()}
    return Explanation(said, prices=prices, ranges=ranges, reasons=why)


def _of_run(folder: Path) -> Explanation:
    done = read_finished(folder)
    said = {key: done.result[key] for key in _STORED if key in done.result}
    return Explanation(said, int(done.manifest["exit_code"]))
