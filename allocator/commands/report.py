"""`hedge report`: the page of each finished run, sweep, frontier or backtest, written beside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from allocator.errors import DataError, Problem, ScenarioError
from allocator.runs import Run, in_folder, write_file
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Verify every run first, then write every page and name it; exit 0."""
    if arguments.out is not None and len(arguments.runs) > 1:
        raise ScenarioError(
            [Problem("--out", "names one file; leave it out to write each page beside its run")]
        )
    found = [_finished(folder) for folder in arguments.runs]
    written = [str(write_page(done, arguments.out)) for done in found]
    if arguments.json:
        from allocator.result import SCHEMA_VERSION, to_text

        say(to_text({"schema_version": SCHEMA_VERSION, "status": "ok", "reports": written}))
    else:
        say("".join(f"{file}\n" for file in written))
    return 0


def write_page(done: Run, file: Path | None = None) -> Path:
    """Write the page of a run, whole or not at all: beside its folder, or to `file`.

    Raises `ScenarioError` where the file cannot be written, `DataError` for a run of an earlier version.
    """
    page = _maker(done)
    # Not `with_suffix`: what follows a dot in the folder's name belongs to its name.
    target = done.folder.with_name(f"{done.folder.name}.html") if file is None else file
    write_file(target, page(done))
    return target


def _maker(done: Run) -> Callable[[Run], str]:
    """What makes the page: the run's own result says whether it is a sweep, a frontier or a backtest."""
    if (done.folder / "frontier.json").exists():
        from allocator.report.frontier_page import page as of_frontier

        return of_frontier
    result = json.loads(done.text("result.json"))
    if "swept" in result:
        from allocator.report.sweep_page import page as of_sweep

        return of_sweep
    if "strategies" in result:
        from allocator.report.backtest_page import page as of_backtest

        return of_backtest
    from allocator.report.page import page

    return page


def _finished(folder: Path) -> Run:
    done = in_folder(folder)
    if done is None:
        raise DataError([Problem(str(folder), "is no finished run: name a run folder such as runs/<run id>")])
    if not (done.folder / "result.json").exists() and not (done.folder / "frontier.json").exists():
        message = "has no page: name the folder of a run; fills and follow-ups are in its csv files"
        raise DataError([Problem(str(folder), message)])
    return done
