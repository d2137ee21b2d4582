"""The resolved scenario as one canonical text: equal scenarios give equal bytes, and it loads again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel

from allocator.scenario.keys import Shape, scenario_shape
from allocator.scenario.schema import DEFAULT_LIMITS, Scenario
from allocator.scenario.source import Plain, resolve_plain

_BARE = re.compile(r"(?:[A-Za-z0-9$]|-[0-9$])[A-Za-z0-9_$%./+-]*(?: [A-Za-z0-9_$%./+-]+)*")
# Words that readers of older YAML would take for booleans.
_OLD_WORDS = {"y", "n", "yes", "no", "on", "off"}


def resolved_yaml(scenario: Scenario) -> str:
    """The whole scenario, defaults included, as canonical YAML that loads to an equal scenario.

    Fixed keys stand in the schema's order, names chosen by the user are sorted; a default limit that was
    removed stays removed (``null``).
    """
    return "".join(_map_lines(_resolved(scenario), scenario_shape(), 0))


def canonical_bytes(scenario: Scenario) -> bytes:
    """What a run id hashes: the resolved scenario without the folder its tables were read from."""
    values = _resolved(scenario)
    snapshot = values["snapshot"]
    if isinstance(snapshot, dict):
        values["snapshot"] = {key: item for key, item in snapshot.items() if key != "folder"}
    # Nor the files of venue tables: what they say is in the values here and in the digests of the tables.
    venues = values["venues"]
    if isinstance(venues, dict):
        values["venues"] = {name: _without_table(entry) for name, entry in venues.items()}
    return "".join(_map_lines(values, scenario_shape(), 0)).encode("utf-8")


def _without_table(venue: Plain) -> Plain:
    if not isinstance(venue, dict):
        return venue
    return {key: item for key, item in venue.items() if key != "table"}


def _resolved(scenario: Scenario) -> dict[str, Plain]:
    values: dict[str, Plain] = scenario.model_dump(mode="json")
    limits = values["limits"]
    if isinstance(limits, dict):
        values["limits"] = {**dict.fromkeys(DEFAULT_LIMITS), **limits}
    return values


def scalar_text(value: object) -> str:
    """One scalar as YAML 1.2 that reads back to the same value and type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    bare = _BARE.fullmatch(text) and text.isascii() and text.lower() not in _OLD_WORDS
    return text if bare and resolve_plain(text) == text else _quoted(text)


def flow_text(value: object, *, sort: bool = False) -> str:
    """Any value on one line."""
    if isinstance(value, Mapping):
        items = sorted(value.items()) if sort else value.items()
        return "{" + ", ".join(f"{scalar_text(str(k))}: {flow_text(v, sort=sort)}" for k, v in items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow_text(item, sort=sort) for item in value) + "]"
    if isinstance(value, BaseModel):
        return flow_text(value.model_dump(mode="json"), sort=sort)
    return scalar_text(value)


def _map_lines(values: Mapping[str, Plain], shape: Shape | None, depth: int) -> list[str]:
    lines: list[str] = []
    for key in sorted(values) if shape is None or shape.entries is not None else values:
        lines += _entry(key, values[key], None if shape is None else shape.child(key), depth)
    return lines


def _entry(key: str, value: Plain, shape: Shape | None, depth: int) -> list[str]:
    head = f"{'  ' * depth}{scalar_text(key)}:"
    if isinstance(value, dict) and value:
        known = shape.kinds.get(str(value.get("kind"))) if shape is not None and shape.kinds else shape
        return [f"{head}\n", *_map_lines(value, known, depth + 1)]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        rows = [f"{'  ' * (depth + 1)}- {flow_text(item, sort=True)}\n" for item in value]
        return [f"{head}\n", *rows]
    return [f"{head} {flow_text(value)}\n"]


def _quoted(text: str) -> str:
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
