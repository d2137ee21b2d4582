"""`hedge sweep`: every cell of a scenario's `sweep`, as tables."""

from __future__ import annotations

import argparse
import json
import sys

from allocator.commands import overlays_of
from allocator.errors import Problem, ScenarioError
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Compute or go on; exit 0, or 7 where some cell is not optimal."""
    if arguments.workers is not None and arguments.workers < 1:
        raise ScenarioError([Problem("--workers", "write a number of processes, at least 1")])
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from allocator.sweeps.executors import check_executor
    from allocator.sweeps.plan import make_plan

    check_executor(arguments.executor, arguments.workers)
    solver = None if arguments.solver is None else arguments.solver.upper()
    plan = make_plan(arguments.scenario, overlays_of(arguments), arguments.sets, arguments.snapshot, solver)
    # The modeller is heavy: a slip in the scenario is told without it.
    from allocator.sweeps.run import run_plan

    columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = arguments.quiet > 0 or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("cells", total=len(plan.cells.cells))
        done = run_plan(
            plan, arguments.out, arguments.workers, lambda n: bar.advance(task, n), arguments.executor
        )
    text = done.run.text("result.json")
    if arguments.json:
        say(text)
        return done.exit_code
    from allocator.sweeps.page import text_of

    say(text_of(json.loads(text), done.cells, done.limits, done.run.folder))
    return done.exit_code
