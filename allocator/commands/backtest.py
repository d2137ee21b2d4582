"""`hedge backtest`: the walk of a scenario and its rivals, as a folder of tables and a page."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from allocator.commands import loaded as load_arguments
from allocator.commands.journal import Journal
from allocator.locking import only_one
from allocator.runs import LOG, Run, find, make_parent, run_id, write
from allocator.scenario.load import LoadedScenario, resolved_yaml
from allocator.stdout import say

if TYPE_CHECKING:
    from rich.progress import Progress

_SOME_FAILED = 7
log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Walk, write the folder, print the page; a finished backtest of the same inputs is found again."""
    from allocator.allocation import read_tables

    scenario = load_arguments(arguments)
    name = f"backtest-{run_id(scenario, read_tables(scenario))}"
    done = find(arguments.out, name)
    if done is None:
        make_parent(arguments.out)
        with only_one(arguments.out / f".{name}.lock"):
            # Another process may have finished it meanwhile.
            done = find(arguments.out, name) or _compute(scenario, name, arguments)
    else:
        log.info("backtest %s is finished and unchanged: reused", name)
    if arguments.json:
        say(done.text("result.json"))
    else:
        from allocator.backtests.page import text_of

        say(text_of(json.loads(done.text("result.json")), done.folder))
    return done.exit_code


def _compute(scenario: LoadedScenario, name: str, arguments: argparse.Namespace) -> Run:
    from allocator.backtests.run import backtest, parquet
    from allocator.result import to_text

    started = datetime.now(UTC)
    with Journal() as journal, _progress() as bar:
        found = backtest(scenario, progress=_each(bar))
    result = {**found.result, "run_id": name}
    files: dict[str, str | bytes] = {
        "scenario.resolved.yaml": resolved_yaml(scenario.scenario),
        "result.json": to_text(result),
        LOG: "".join(f"{line}\n" for line in journal.lines),
    }
    files |= {f"{table}.parquet": parquet(frame) for table, frame in found.tables().items()}
    facts = {
        "status": found.status,
        "exit_code": 0 if found.status == "optimal" else _SOME_FAILED,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    return write(arguments.out, name, files, facts)


def _progress() -> Progress:
    """A bar on stderr, and nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(console=Console(stderr=True), disable=not sys.stderr.isatty())


def _each(bar: Progress) -> Callable[[str, int], Callable[[int], None]]:
    def begin(name: str, bars: int) -> Callable[[int], None]:
        task = bar.add_task(name, total=bars)
        return lambda bars: bar.advance(task, bars)

    return begin
