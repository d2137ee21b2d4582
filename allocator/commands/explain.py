"""`hedge explain`: what limits cost and over which range, why nothing is possible, or what changed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from allocator.commands import loaded as load_arguments
from allocator.errors import AuditFailed, Infeasible, Problem, ScenarioError, SolverFailed
from allocator.runs import Run, find, run_id
from allocator.stdout import say

Json = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """Explain a scenario, a run, or the change from one run to another; the exit code is what it explains."""
    if arguments.other is not None:
        return _compare(arguments)
    if arguments.scenario.is_dir():
        result, code = _of_run(arguments)
    else:
        result, code = _of_scenario(arguments)
    if arguments.json:
        from allocator.result import to_text

        say(to_text(result))
        return code
    from allocator.explanations.page import text_of

    say(text_of(result))
    return code


def _of_scenario(arguments: argparse.Namespace) -> tuple[Json, int]:
    from allocator.allocation import allocate, read_tables
    from allocator.explanations.explanation import price_rows, ranges_of
    from allocator.explanations.reasons import reasons
    from allocator.market.build import build_market
    from allocator.result import failure, header

    scenario = load_arguments(arguments)
    tables = read_tables(scenario)
    market = build_market(scenario, tables)
    head = header(run_id(scenario, tables), scenario.scenario.name, market, "optimal")
    try:
        allocation = allocate(scenario, tables, market)
    except (Infeasible, SolverFailed, AuditFailed) as error:
        return {**head, "status": error.status, **failure(error)}, error.exit_code
    prices = allocation.shadow_prices
    ranges = ranges_of(prices, market, scenario)
    explanation = price_rows(prices, market, scenario, ranges)
    return {**head, "explanation": explanation, **reasons(market, allocation.solution)}, 0


_KEPT = ("schema_version", "run_id", "scenario", "as_of", "decision_hours", "holding_hours", "status",
         "errors", "conflict", "background", "ways_out", "explanation", "alternatives")  # fmt: skip


def _of_run(arguments: argparse.Namespace) -> tuple[Json, int]:
    """What a finished run says of itself, verified; nothing is solved again, so there are no ranges."""
    done = _finished(arguments.scenario)
    result = json.loads(done.text("result.json"))
    return {key: result[key] for key in _KEPT if key in result}, done.exit_code


def _finished(folder: Path) -> Run:
    done = find(folder.resolve().parent, folder.resolve().name)
    if done is None:
        raise ScenarioError(
            [Problem(str(folder), "is no finished run; name a scenario file or a run folder")]
        )
    return done


def _compare(arguments: argparse.Namespace) -> int:
    for folder in (arguments.scenario, arguments.other):
        _finished(folder)
    from allocator.explanations.changes import compare

    changed = compare(arguments.scenario, arguments.other)
    if arguments.json:
        from allocator.result import to_text

        say(to_text(changed.to_json()))
    else:
        say("\n".join(changed.lines()) + "\n")
    return 0
