"""`hedge show` and `hedge schema`: what a scenario says, and what scenarios may say."""

from __future__ import annotations

import argparse
import json
import sys

from allocator.commands import loaded as load_arguments
from allocator.scenario.load import json_schema, reference_markdown, resolved_yaml, show_origin


def run(arguments: argparse.Namespace) -> int:
    """Print the resolved scenario: as YAML, as JSON, or value by value with its origin."""
    scenario = load_arguments(arguments)
    if arguments.origin:
        rows = show_origin(scenario)
        if arguments.json:
            listed = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
            sys.stdout.write(json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
            return 0
        width = max(len(f"{key}: {value}") for key, value, _ in rows)
        for key, value, origin in rows:
            sys.stdout.write(f"{f'{key}: {value}':<{min(width, 90)}}  {origin}\n")
    elif arguments.json:
        sys.stdout.write(scenario.scenario.model_dump_json(indent=2) + "\n")
    else:
        sys.stdout.write(resolved_yaml(scenario.scenario))
    return 0


def schema(arguments: argparse.Namespace) -> int:
    """Print the JSON Schema, or one of the two reference pages."""
    if arguments.reference:
        sys.stdout.write(reference_markdown())
    elif arguments.tables:
        from allocator.snapshot.columns import reference_markdown as tables

        sys.stdout.write(tables())
    else:
        sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
    return 0
