"""pydantic's errors as problems a person can act on: where, what is wrong, what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from allocator.errors import Problem
from allocator.scenario.keys import Shape, dotted, nearest, scenario_shape, suggest
from allocator.scenario.merge import DEFAULT
from allocator.scenario.source import KeyPath, Node, Origin

_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}


def problems_of(
    error: ValidationError, tree: Node, main: Origin, shape: Shape | None = None
) -> list[Problem]:
    """Translate every error; ``tree`` gives the lines, ``main`` stands for the whole file.

    ``shape`` is what the file may hold: a scenario unless another is given.
    """
    root = scenario_shape() if shape is None else shape
    details = error.errors(include_url=False)
    meant = {_meant(detail, root) for detail in details if detail["type"] == "extra_forbidden"}
    found: dict[KeyPath, tuple[Problem, bool]] = {}
    for detail in details:
        # A misspelt key is one mistake, not two.
        if detail["type"] == "missing" and detail["loc"] in meant:
            continue
        path, here = _locate(detail["loc"], root)
        problem = _problem(detail, path, _Place(tree, main, root, here))
        found.setdefault(path, (problem, here is not None and _is_union(here)))
    # A union also complains that the whole is not its first choice; the deeper error says more.
    deeper = {path[:end] for path in found for end in range(len(path))}
    return [problem for path, (problem, union) in found.items() if not (union and path in deeper)]


def _meant(detail: ErrorDetails, root: Shape) -> tuple[str | int, ...]:
    *above, name = detail["loc"]
    return (*above, nearest(str(name), _siblings(detail["loc"], root)) or "")


def _is_union(shape: Shape) -> bool:
    return bool(shape.choices) and not (
        shape.entries is None and shape.items is None and shape.to_text is None
    )


def _locate(location: tuple[str | int, ...], root: Shape) -> tuple[KeyPath, Shape | None]:
    """The path in the file: pydantic's location without the names of kinds and of union members."""
    shape: Shape | None = root
    path: list[str | int] = []
    labelled = False
    for part in location:
        if shape is not None and part in shape.kinds:
            shape = shape.kinds[str(part)]
        elif shape is not None and _is_union(shape) and not labelled:
            labelled = True
        else:
            labelled = False
            path.append(part)
            shape = None if shape is None else shape.child(part)
    return tuple(path), shape


def node_at(tree: Node, path: KeyPath) -> Node | None:
    """The node at ``path``; None when the scenario does not state it."""
    current: Node | None = tree
    for part in path:
        inside = None if current is None else current.value
        if isinstance(inside, dict) and isinstance(part, str):
            current = inside.get(part)
        elif isinstance(inside, list) and isinstance(part, int) and part < len(inside):
            current = inside[part]
        else:
            return None
    return current


def source_at(tree: Node, path: KeyPath, main: Origin) -> Origin:
    """Where ``path`` was last set; for what is missing, where the map around it was first written."""
    here = node_at(tree, path)
    if here is not None:
        return here.touched if path else main
    around = path[:-1]
    while around:
        here = node_at(tree, around)
        if here is not None and here.origin != DEFAULT:
            return here.origin
        around = around[:-1]
    return main


@dataclass(frozen=True)
class _Place:
    """Where an error is: the file's tree and its stand-in, what it may hold, and what may stand here."""

    tree: Node
    main: Origin
    root: Shape
    shape: Shape | None


def _problem(detail: ErrorDetails, path: KeyPath, place: _Place) -> Problem:
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path = (*path, "kind")
    source = source_at(place.tree, path, place.main)
    return Problem(str(source), f"{dotted(path) or 'scenario'}: {_message(detail, path, place)}")


def _message(detail: ErrorDetails, path: KeyPath, place: _Place) -> str:
    shape, tree = place.shape, place.tree
    kind, name = detail["type"], str(path[-1]) if path else ""
    write = shape.write if shape is not None else "another value"
    if kind == "extra_forbidden":
        known = _siblings(detail["loc"], place.root)
        return f"unknown key; {suggest(name, known)}"
    if kind == "missing":
        return f"missing; write {write}{_other_entries(tree, path)}"
    if kind == "union_tag_not_found":
        kinds = ", ".join(shape.kinds) if shape is not None else ""
        return f"missing; write one of {kinds}{_other_entries(tree, path)}"
    value = _shown(detail["input"])
    if kind == "union_tag_invalid" and shape is not None:
        tag = str(detail.get("ctx", {}).get("tag", ""))
        near = nearest(tag, shape.kinds)
        hint = f"did you mean `{near}`? " if near else ""
        return f"unknown kind `{tag}`; {hint}kinds: {', '.join(shape.kinds)}"
    if kind == "value_error":
        other = f", or {' or '.join(f'`{c}`' for c in shape.choices)}" if shape and shape.choices else ""
        return detail["msg"].removeprefix("Value error, ") + other
    if kind == "too_short":
        least = int(detail.get("ctx", {}).get("min_length", 1))
        return f"{value} is too short; write {write}, at least {least} {'entry' if least == 1 else 'entries'}"
    if kind in _BOUNDS and shape is not None:
        return f"{value} is out of range; write {write}, {' and '.join(shape.bounds)}"
    if kind == "string_pattern_mismatch":
        return f"{value} cannot be a file name; write letters, digits, `.`, `_` and `-` only"
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return f'{value} is not text; write it in quotes: "{value.strip("`")}"'
    near = nearest(str(detail["input"]), shape.choices) if shape is not None else None
    return f"{value} is not allowed; write {write}" + (f"; did you mean `{near}`?" if near else "")


def _siblings(location: tuple[str | int, ...], root: Shape) -> Mapping[str, object]:
    shape: Shape | None = root
    for part in location[:-1]:
        if shape is not None and part in shape.kinds:
            shape = shape.kinds[str(part)]
        else:
            shape = None if shape is None else shape.child(part)
    return shape.fields if shape is not None else {}


def _other_entries(tree: Node, path: KeyPath) -> str:
    """For an incomplete entry with a chosen name: perhaps the name was meant to be another one."""
    if len(path) != 3:
        return ""
    known = node_at(tree, path[:1])
    others = [] if known is None else [key for key in known.entries() if key != path[1]]
    near = nearest(str(path[1]), others)
    return f" (or did you mean `{dotted((path[0], near))}`?)" if near else ""


def _shown(value: object) -> str:
    """The value as written, shortened; maps and lists by what they are."""
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
