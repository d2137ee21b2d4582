"""One module per command; each takes the parsed arguments and returns the exit code."""

from __future__ import annotations

import argparse

from allocator.errors import Problem, ScenarioError
from allocator.scenario.load import LoadedScenario, load_scenario


def loaded(arguments: argparse.Namespace) -> LoadedScenario:
    """The scenario that the arguments name, with its overlays and ``--set``."""
    return load_scenario(arguments.scenario, overlays_of(arguments), arguments.sets, arguments.snapshot)


def overlays_of(arguments: argparse.Namespace) -> list[str]:
    """Overlays in the order given. Raises `ScenarioError` where a name is empty."""
    overlays = [name.strip() for names in arguments.overlays for name in names.split(",")]
    if "" in overlays:
        message = "a name is empty; write overlays of the file, such as a,b, or leave the option out"
        raise ScenarioError([Problem("--overlay", message)])
    return overlays
