"""Layers of a scenario: defaults, the files it extends, itself, its overlays, ``--set``; later ones win.

Maps merge, lists and values replace. In a map whose keys the user chose (venues, instruments, limits,
stresses and the free maps such as haircuts) a layer may add an entry or remove one with ``null``. A limit
given another ``kind`` is a new limit: the fields it had before go away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from allocator.errors import Problem, ScenarioError
from allocator.scenario.keys import Shape, dotted, scenario_shape, suggest
from allocator.scenario.schema import DEFAULT_LIMITS
from allocator.scenario.source import KeyPath, Node, Origin, from_plain, node, parse

DEFAULT = Origin("default")
SET = Origin("--set")
LAYER_KEYS = ("extends", "overlays", "sweep")
_SEGMENT = re.compile(r'"([^"]+)"|([^."\[\]=]+)')


@dataclass
class Notes:
    """What merging found besides the values: mistakes, and where entries were removed."""

    problems: list[Problem] = field(default_factory=list)
    removed: dict[KeyPath, Origin] = field(default_factory=dict)

    def add(self, origin: Origin, message: str) -> None:
        """Record one mistake."""
        self.problems.append(Problem(str(origin), message))


def default_layer() -> Node:
    """The lowest layer: the limits every scenario starts from."""
    return from_plain({"limits": DEFAULT_LIMITS}, DEFAULT)


def merge(base: Node, over: Node, notes: Notes, shape: Shape | None = None) -> Node:
    """Lay the map ``over`` upon ``base``; ``shape`` is that of a scenario unless another is given."""
    return _merge(base, over, scenario_shape() if shape is None else shape, (), notes)


def _merge(base: Node, over: Node, shape: Shape | None, path: KeyPath, notes: Notes) -> Node:
    if path == ("snapshot",) and isinstance(over.value, str):
        # `snapshot: DIR` is short for its folder.
        over = Node({"folder": over}, over.origin, over.touched)
    if not isinstance(over.value, dict):
        return over
    if not isinstance(base.value, dict) or _is_other_kind(base, over, shape):
        base = Node({}, over.origin, over.touched)
    merged = dict(base.entries())
    for key, item in over.value.items():
        below = (*path, key)
        if item.value is None and shape is not None and shape.entries is not None:
            _remove(merged, below, item.origin, notes)
            continue
        child = None if shape is None else shape.child(key)
        empty = Node({}, item.origin, item.touched)
        merged[key] = _merge(merged.get(key, empty), item, child, below, notes)
        notes.removed.pop(below, None)
    return Node(merged, base.origin, over.touched if over.value else base.touched)


def _is_other_kind(base: Node, over: Node, shape: Shape | None) -> bool:
    if shape is None or not shape.kinds or "kind" not in over.entries():
        return False
    old = base.entries().get("kind")
    return old is not None and old.value != over.entries()["kind"].value


def _remove(merged: dict[str, Node], path: KeyPath, origin: Origin, notes: Notes) -> None:
    name = str(path[-1])
    if name in merged:
        del merged[name]
    elif path not in notes.removed:
        notes.add(origin, f"{dotted(path)}: nothing to remove with `null`; {suggest(name, merged)}")
        return
    notes.removed[path] = origin


def overlay_order(
    wanted: Sequence[tuple[str, str]], overlays: Mapping[str, Node], notes: Notes
) -> list[tuple[str, Node]]:
    """The overlays to apply, in order: what an overlay uses comes before it, and each comes once.

    ``wanted`` holds pairs of name and the source that asked for it.
    """
    order: list[tuple[str, Node]] = []
    done: set[str] = set()

    def visit(name: str, source: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            cycle = " -> ".join((*trail[trail.index(name) :], name))
            notes.problems.append(Problem(source, f"overlays use each other in a circle: {cycle}"))
            return
        if name in done:
            return
        if name not in overlays:
            message = f"there is no overlay `{name}`; {suggest(name, overlays)}"
            notes.problems.append(Problem(source, message))
            return
        for used, origin in _uses(overlays[name]):
            visit(used, str(origin), (*trail, name))
        done.add(name)
        order.append((name, overlays[name]))

    for name, source in wanted:
        visit(name, source, ())
    return order


def _uses(overlay: Node) -> list[tuple[str, Origin]]:
    use = overlay.entries().get("use")
    items = use.value if use is not None and isinstance(use.value, list) else []
    return [(item.value, item.origin) for item in items if isinstance(item.value, str)]


def check_overlays(overlays: Mapping[str, Node], notes: Notes) -> None:
    """Every overlay, applied or not, is a map of known keys, and those it uses exist without a circle."""
    for name, overlay in overlays.items():
        path = ("overlays", name)
        if not isinstance(overlay.value, dict):
            notes.add(overlay.origin, f"{dotted(path)}: write a map of the keys to change")
            continue
        use = overlay.value.get("use")
        if use is not None:
            items = use.value if isinstance(use.value, list) else [use]
            if items == [use] or not all(isinstance(item.value, str) for item in items):
                notes.add(use.origin, f"{dotted(path)}.use: write a list of overlay names in brackets")
        for key in LAYER_KEYS:
            if key in overlay.value:
                notes.add(overlay.value[key].origin, f"{dotted(path)}.{key}: not allowed in an overlay")
        _check_keys(overlay_body(overlay), scenario_shape(), path, notes)
    # One walk over all of them, so that a circle is found once.
    overlay_order([(name, str(overlay.origin)) for name, overlay in overlays.items()], overlays, notes)


def overlay_body(overlay: Node) -> Node:
    """The overlay without the keys that steer the layering."""
    body = {key: item for key, item in overlay.entries().items() if key not in ("use", *LAYER_KEYS)}
    return Node(body, overlay.origin, overlay.touched)


def _check_keys(tree: Node, shape: Shape | None, path: KeyPath, notes: Notes) -> None:
    """Find keys no scenario has; what they hold is checked only once it is applied."""
    if shape is None or not isinstance(tree.value, dict):
        return
    for key, item in tree.value.items():
        child = shape.child(key)
        if shape.kinds:
            known = _kind_keys(tree, shape)
            if key not in known:
                notes.add(item.origin, f"{dotted((*path, key))}: unknown key; {suggest(key, known)}")
        elif child is None and shape.fields:
            notes.add(item.origin, f"{dotted((*path, key))}: unknown key; {suggest(key, shape.fields)}")
        else:
            _check_keys(item, child, (*path, key), notes)


def _kind_keys(tree: Node, shape: Shape) -> set[str]:
    kind = tree.entries().get("kind")
    shapes = [found] if kind and (found := shape.kinds.get(str(kind.value))) else shape.kinds.values()
    return {key for one in shapes for key in one.fields}


def apply_set(tree: Node, text: str, notes: Notes) -> Node:
    """Apply one ``dotted.key=value``; the value is YAML, such as ``[a, b]`` or ``{move: -30%}``."""
    path, value = _parse_set(text, notes)
    return tree if value is None or not path else put(tree, path, value, notes)


def put(tree: Node, path: tuple[str, ...], value: Node, notes: Notes) -> Node:
    """Lay one value upon the tree where ``path`` leads; its origin is that of the mistakes it makes."""
    if not _may_set(tree, path, value.origin, notes):
        return tree
    for key in reversed(path):
        value = node({key: value}, value.origin)
    return merge(tree, value, notes)


def _parse_set(text: str, notes: Notes) -> tuple[tuple[str, ...], Node | None]:
    path, position = _segments(text)
    if not path or text[position : position + 1] != "=":
        notes.add(SET, f"cannot read {text!r}; write dotted.key=value, for example objective.maker_share=50%")
        return (), None
    if not text[position + 1 :].strip():
        notes.add(SET, f"{dotted(path)}: no value; write one after `=` (`null` removes a named entry)")
        return (), None
    try:
        return tuple(path), parse(text[position + 1 :], SET.file, lines=False)
    except ScenarioError as error:
        for problem in error.problems:
            notes.add(SET, f"{dotted(path)}: {problem.message}")
        return (), None


def key_path(text: str) -> tuple[str, ...] | None:
    """The path of a dotted key as ``--set`` takes it; None where the text is none."""
    path, position = _segments(text)
    return tuple(path) if path and position == len(text) else None


def _segments(text: str) -> tuple[list[str], int]:
    """Keys of a dotted path, and where in the text it ends; none where a dot leads nowhere."""
    path: list[str] = []
    position = 0
    while (match := _SEGMENT.match(text, position)) is not None:
        path.append(match[1] or match[2].strip())
        position = match.end()
        if text[position : position + 1] != ".":
            return path, position
        position += 1
    return [], position


def _may_set(tree: Node, path: tuple[str, ...], source: Origin, notes: Notes) -> bool:
    """Descend along ``path``: every named entry on the way must be there, and no list may be."""
    if path[0] in (*LAYER_KEYS, "use"):
        notes.add(source, f"{path[0]} cannot be set; write it in a file, or choose overlays with --overlay")
        return False
    current: Node | None = tree
    shape: Shape | None = scenario_shape()
    for depth, key in enumerate(path[:-1]):
        known = current.entries() if current is not None else {}
        if shape is not None and shape.entries is not None and key not in known:
            here = dotted(path[: depth + 1])
            notes.add(source, f"{here}: no such entry; {suggest(key, known)} To add it, write {here}={{...}}")
            return False
        current = known.get(key)
        shape = None if shape is None else shape.child(key)
        if current is not None and isinstance(current.value, list):
            here = dotted(path[: depth + 1])
            notes.add(source, f"{here} is a list, which is replaced whole; write {here}=[...]")
            return False
    return True
