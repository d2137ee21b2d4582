"""`hedge explain`: what limits cost and over which range, why nothing is possible, or what changed."""

from __future__ import annotations

import argparse

from allocator.commands import loaded
from allocator.errors import Problem, ScenarioError
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Explain a scenario, a run, or the change from one run to another; the exit code is what it explains."""
    from allocator.explanation import explain
    from allocator.result import to_text

    if arguments.other is not None:
        from allocator.explanations.changes import compare

        _refuse_options(arguments, "--overlay", "--set")
        snapshots = () if arguments.snapshot is None else (arguments.snapshot,)
        changed = compare(arguments.scenario, arguments.other, snapshots)
        say(to_text(changed.to_json()) if arguments.json else str(changed))
        return 0
    if arguments.scenario.is_dir():
        _refuse_options(arguments, "--overlay", "--set", "--snapshot")
    found = explain(arguments.scenario if arguments.scenario.is_dir() else loaded(arguments))
    say(to_text(found.to_json()) if arguments.json else str(found))
    return found.exit_code


def _refuse_options(arguments: argparse.Namespace, *names: str) -> None:
    """A finished run is explained as it was: what would change its inputs is refused, not overlooked."""
    given = {"--overlay": arguments.overlays, "--set": arguments.sets, "--snapshot": arguments.snapshot}
    message = "a finished run is explained as it was; leave this out, or name the scenario instead"
    if problems := [Problem(name, message) for name in names if given[name]]:
        raise ScenarioError(problems)
