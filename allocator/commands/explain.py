"""`hedge explain`: what limits cost and over which range, why nothing is possible, or what changed."""

from __future__ import annotations

import argparse

from allocator.commands import loaded
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Explain a scenario, a run, or the change from one run to another; the exit code is what it explains."""
    from allocator.explanation import explain
    from allocator.result import to_text

    if arguments.other is not None:
        changed = explain(arguments.scenario, arguments.other)
        say(to_text(changed.to_json()) if arguments.json else str(changed))
        return 0
    found = explain(arguments.scenario if arguments.scenario.is_dir() else loaded(arguments))
    say(to_text(found.to_json()) if arguments.json else str(found))
    return found.exit_code
