"""`hedge show` and `hedge schema`: what a scenario says, and what scenarios may say."""

from __future__ import annotations

import argparse
import json

from allocator.commands import loaded as load_arguments
from allocator.scenario.load import json_schema, reference_markdown, resolved_yaml, show_origin
from allocator.stdout import say


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved scenario: as YAML, as JSON, or value by value with its origin."""
    scenario = load_arguments(arguments)
    if arguments.origin:
        rows = show_origin(scenario)
        if arguments.json:
            listed = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
            say(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
            return 0
        width = max(len(f"{key}: {value}") for key, value, _ in rows)
        shown = (f"{f'{key}: {value}':<{min(width, 90)}}  {origin}\n" for key, value, origin in rows)
        say("".join(shown))
    elif arguments.json:
        say(scenario.scenario.model_dump_json(indent=2) + "\n")
    else:
        say(resolved_yaml(scenario.scenario))
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema, or one of the two reference pages."""
    if arguments.reference:
        say(reference_markdown())
    elif arguments.tables:
        from allocator.snapshot.columns import reference_markdown as tables

        say(tables())
    else:
        say(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
