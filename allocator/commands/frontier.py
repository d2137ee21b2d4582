"""`hedge frontier`: what one quantity costs in another, as a folder of points and a page."""

from __future__ import annotations

import argparse
import json
import sys

from allocator.commands import loaded as load_arguments
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Compute, go on or find again; exit 0, or 7 where fewer points were proven than asked for."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from allocator.frontiers.run import frontier

    scenario = load_arguments(arguments)
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} programs solved"), TimeElapsedColumn())
    quiet = arguments.quiet > 0 or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("solves", total=None)
        done = frontier(
            scenario,
            x=arguments.x,
            y=arguments.y,
            points=arguments.points,
            out=arguments.out,
            told=lambda: bar.advance(task),
        )
    text = done.run.text("frontier.json")
    if arguments.json:
        say(text)
    else:
        from allocator.frontiers.page import text_of

        say(text_of(json.loads(text), done.run.folder))
    return done.exit_code
