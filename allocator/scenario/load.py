"""A scenario file, its overlays and ``--set`` as one validated scenario that knows where values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from allocator.errors import Problem, ScenarioError
from allocator.scenario.checks import check, check_name
from allocator.scenario.emit import canonical_bytes, flow_text, resolved_yaml
from allocator.scenario.keys import Shape, dotted, parse_dotted, scenario_shape
from allocator.scenario.merge import (
    DEFAULT,
    LAYER_KEYS,
    SET,
    Notes,
    apply_set,
    check_overlays,
    default_layer,
    merge,
    overlay_body,
    overlay_order,
    put,
)
from allocator.scenario.messages import problems_of
from allocator.scenario.reference import json_schema, reference_markdown
from allocator.scenario.schema import Scenario
from allocator.scenario.source import KeyPath, Node, Origin, Plain, name_beside, plain, read_file, walk
from allocator.scenario.sweep import NOTHING, Variant, sweep_block

if TYPE_CHECKING:
    from allocator.venues.table import VenueTable

__all__ = [
    "LoadedScenario",
    "Origin",
    "canonical_bytes",
    "json_schema",
    "load_scenario",
    "reference_markdown",
    "resolved_yaml",
    "show_origin",
]

# Where a scenario states a time.
_TIMES = (("as_of",), ("backtest", "start"), ("backtest", "end"))


@dataclass(frozen=True)
class LoadedScenario:
    """A validated scenario with its merged values as written, and the origin of each.

    `document` holds the values as written, `origins` the origin of each path (maps and lists too, and entries
    removed with ``null``). `snapshot_folder` is None when no folder is named. `tables` holds the venue table
    of each venue that names one.
    """

    scenario: Scenario
    document: dict[str, Plain]
    origins: Mapping[KeyPath, Origin]
    path: Path
    snapshot_folder: Path | None
    tables: Mapping[str, VenueTable] = field(default_factory=dict)

    def origin(self, path: str | Sequence[str | int]) -> str:
        """``file.yaml:12``, ``--set`` or ``default`` for a key, dotted (``limits.btc.max``) or in parts.

        Files are named relative to the main scenario's folder. Raises KeyError for a key no scenario has.
        """
        parts = parse_dotted(path) if isinstance(path, str) else tuple(path)
        if parts in self.origins:
            return str(self.origins[parts])
        shape: Shape | None = scenario_shape()
        for depth, part in enumerate(parts):
            named = shape is not None and (shape.entries is not None or isinstance(part, int))
            shape = None if shape is None else self._child(shape, parts[:depth], part)
            if shape is None or (named and parts[: depth + 1] not in self.origins):
                raise KeyError(dotted(parts))
        return str(DEFAULT)

    def _child(self, shape: Shape, path: KeyPath, part: str | int) -> Shape | None:
        if shape.kinds:
            shape = shape.kinds[self.scenario.limits[str(path[-1])].kind]
        return shape.child(part)


@dataclass(frozen=True)
class Files:
    """The chain of files, the lowest base first, with the folder behind each file's name."""

    trees: list[Node]
    folders: Mapping[str, Path]
    main: str


def load_scenario(
    path: Path | str, overlays: Sequence[str] = (), sets: Sequence[str] = (), snapshot: Path | None = None
) -> LoadedScenario:
    """Read, merge and validate a scenario; ``snapshot`` overrides the folder it names.

    Raises ScenarioError with every problem found, each with its ``file:line``, and TypeError for one text
    where a list of them is due. Nothing is executed, and only the scenario, the files it extends and
    the venue tables it names are read.
    """
    for name, given in (("overlays", overlays), ("sets", sets)):
        if isinstance(given, str):
            raise TypeError(f"{name} is a list of texts, not one text: write {name}=[{given!r}]")
    files = read_chain(Path(path))
    return resolve(files, Asked(Path(path), tuple(overlays), tuple(sets), snapshot))


@dataclass(frozen=True)
class Asked:
    """What is laid upon the file. `variant` comes last: its overlays, then its values by path."""

    path: Path
    overlays: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    snapshot: Path | None = None
    variant: Variant = NOTHING


def resolve(files: Files, asked: Asked) -> LoadedScenario:
    """Merge and validate what was read. Raises ScenarioError with every problem found."""
    path, snapshot = asked.path, asked.snapshot
    tree, tables, notes = _with_tables(files, asked)
    main = Origin(files.main, 1)
    scenario, invalid = _validated(tree, main)
    problems = [*notes.problems, *invalid, *check(tree, main)]
    if asked.variant == NOTHING:  # else it is the sweep that asks
        problems += sweep_block(files.trees).problems
    if problems or scenario is None:
        raise ScenarioError(sorted(dict.fromkeys(problems), key=_by_line))
    origins = {where: item.touched for where, item in walk(tree) if where} | notes.removed
    folder = snapshot if snapshot is not None else _snapshot_folder(scenario, tree, files)
    return LoadedScenario(scenario, _document(tree), origins, path, folder, tables)


def show_origin(loaded: LoadedScenario) -> list[tuple[str, str, str]]:
    """Every value of the resolved scenario, defaults included: dotted key, value, origin.

    A list is one value; a list of table rows shows its length. Default limits that were removed are ``null``.
    """
    shown = []
    for path, value in _leaves(loaded.scenario.model_dump(mode="json"), ()):
        rows = isinstance(value, list) and any(isinstance(row, dict) for row in value)
        text = f"{len(value)} rows" if rows and isinstance(value, list) else flow_text(value)
        shown.append((dotted(path), text, str(loaded.origins.get(path, DEFAULT))))
    for path, origin in loaded.origins.items():
        if path[:1] == ("limits",) and len(path) == 2 and str(path[1]) not in loaded.scenario.limits:
            shown.append((dotted(path), "null", str(origin)))
    return shown


def _leaves(value: Plain, path: KeyPath) -> Iterator[tuple[KeyPath, Plain]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def read_chain(path: Path) -> Files:
    """Follow ``extends`` from the main file down to its lowest base."""
    name, where, named_at = path.name, path, None
    trees: list[Node] = []
    folders: dict[str, Path] = {}
    seen: dict[Path, str] = {}
    while True:
        if where.resolve() in seen:
            circle = " -> ".join([*list(seen.values())[list(seen).index(where.resolve()) :], name])
            raise ScenarioError([Problem(named_at or name, f"files extend each other in a circle: {circle}")])
        seen[where.resolve()] = name
        tree = read_file(where, name, named_at)
        trees.insert(0, tree)
        folders[name] = where.parent
        base = tree.entries().get("extends")
        if base is None:
            return Files(trees, folders, path.name)
        if not isinstance(base.value, str) or not base.value:
            raise ScenarioError([Problem(str(base.origin), "extends: write the path of one scenario file")])
        name, where, named_at = name_beside(name, base.value), where.parent / base.value, str(base.origin)


def _with_tables(files: Files, asked: Asked) -> tuple[Node, Mapping[str, VenueTable], Notes]:
    """The merged scenario, its venue tables below every other layer, and what merging found."""
    notes = Notes()
    tree = _merged(files, asked, notes, default_layer())
    entries = tree.entries().get("venues")
    if entries is None or not any("table" in entry.entries() for entry in entries.entries().values()):
        return tree, {}, notes
    from allocator.venues.layer import named_tables, under  # only where a table is named: models take time

    tables = named_tables(tree, files.folders)
    # Merged again from the bottom: only now is known which tables lie there, for any layer may name one, and
    # any layer may change or remove what they give.
    notes = Notes()
    tree = _merged(files, asked, notes, under(default_layer(), tree, tables))
    return tree, tables, notes


def _merged(files: Files, wanted: Asked, notes: Notes, lowest: Node) -> Node:
    tree = lowest
    overlays: dict[str, Node] = {}
    for layer in files.trees:
        _collect_overlays(layer, overlays, notes)
        body = {key: item for key, item in layer.entries().items() if key not in LAYER_KEYS}
        tree = merge(tree, Node(body, layer.origin, layer.touched), notes)
    check_overlays(overlays, notes)
    asked = Notes()
    names = [(name, "--overlay") for name in wanted.overlays]
    names += [(name, str(origin)) for name, origin in wanted.variant.overlays]
    for _, overlay in overlay_order(names, overlays, asked):
        tree = merge(tree, overlay_body(overlay), notes)
    # Circles and unknown names inside the files are known already; what remains is what was asked for here.
    sources = {source for _, source in names}
    notes.problems += [problem for problem in asked.problems if problem.source in sources]
    for text in wanted.sets:
        tree = apply_set(tree, text, notes)
    for path, value in wanted.variant.values:
        tree = put(tree, path, value, notes)
    return tree


def _collect_overlays(layer: Node, overlays: dict[str, Node], notes: Notes) -> None:
    """An overlay of an extending file replaces the base's of the same name; ``null`` removes it."""
    found = layer.entries().get("overlays")
    if found is None:
        return
    if not isinstance(found.value, dict):
        notes.add(found.origin, "overlays: write a map of names")
        return
    for name, overlay in found.value.items():
        problem = check_name(("overlays", name), overlay.origin)
        if problem is not None:
            notes.problems.append(problem)
        if overlay.value is None and name in overlays:
            del overlays[name]
        else:
            overlays[name] = overlay


def _document(tree: Node) -> dict[str, Plain]:
    values = plain(tree)
    if not isinstance(values, dict):
        raise TypeError("a scenario is a map")
    return values


def _validated(tree: Node, main: Origin) -> tuple[Scenario | None, list[Problem]]:
    # Strict: `"5"` is no number and `yes` no boolean. A time is text in YAML, so it is read here.
    values: dict[str, object] = dict(_document(tree))
    problems: list[Problem] = []
    for path in _TIMES:
        _read_time(values, tree, path, problems)
    try:
        return Scenario.model_validate(values, strict=True), problems
    except ValidationError as error:
        return None, problems + problems_of(error, tree, main)


def _read_time(values: dict[str, object], tree: Node, path: tuple[str, ...], problems: list[Problem]) -> None:
    """Put a time in place of its text; leave out what is none, and report it."""
    section, node = values, tree
    for name in path[:-1]:
        inner = section.get(name)
        if not isinstance(inner, dict):
            return
        within = dict(inner)
        section[name] = within
        section = within
        node = node.entries()[name]
    key = path[-1]
    if section.get(key) is None:
        return
    try:
        section[key] = _time(section[key])
    except ValueError as error:
        del section[key]
        problems.append(Problem(str(node.entries()[key].touched), f"{'.'.join(path)}: {error}"))


def _time(value: object) -> datetime:
    write = "write a time with its zone such as 2026-09-01T00:00:00Z"
    if not isinstance(value, str):
        raise ValueError(f"{flow_text(value)} is no time; {write}")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"`{value}` is no time; {write}") from None
    if time.tzinfo is None:
        raise ValueError(f"`{value}` names no time zone; {write}")
    # One instant has one text, so that it has one hash.
    return time.astimezone(UTC)


def _snapshot_folder(scenario: Scenario, tree: Node, files: Files) -> Path | None:
    """The folder named in the scenario, relative to the file that names it (with ``--set``: to here)."""
    if scenario.snapshot.folder is None:
        return None
    origin = tree.entries()["snapshot"].entries()["folder"].origin
    base = Path() if origin == SET else files.folders[origin.file]
    return base / scenario.snapshot.folder


def _by_line(problem: Problem) -> tuple[str, int]:
    file, _, line = problem.source.rpartition(":")
    return (file, int(line)) if line.isdigit() else (problem.source, 0)
