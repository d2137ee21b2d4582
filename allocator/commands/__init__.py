"""One module per command; each takes the parsed arguments and returns the exit code."""

from __future__ import annotations

import argparse

from allocator.errors import Problem, ScenarioError
from allocator.scenario.load import LoadedScenario, load_scenario


def loaded(arguments: argparse.Namespace) -> LoadedScenario:
    """The scenario that the arguments name, with its overlays and ``--set``."""
    overlays = [name.strip() for names in arguments.overlays for name in names.split(",")]
    if "" in overlays:
        message = "a name is empty; write overlays of the file, such as a,b, or leave the option out"
        raise ScenarioError([Problem("--overlay", message)])
    return load_scenario(arguments.scenario, overlays, arguments.sets, arguments.snapshot)
