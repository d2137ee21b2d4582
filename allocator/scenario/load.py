"""A scenario file, its overlays and ``--set`` as one validated scenario that knows where values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from allocator.errors import Problem, ScenarioError
from allocator.identity import ByIdentity
from allocator.scenario.checks import check
from allocator.scenario.emit import canonical_bytes, flow_text, resolved_yaml
from allocator.scenario.keys import Shape, dotted, parse_dotted, scenario_shape
from allocator.scenario.layers import Asked, Files, Merged, merged
from allocator.scenario.merge import DEFAULT, SET, Notes
from allocator.scenario.messages import node_at, problems_of
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

    `tree` holds the values as written, `removed` where entries were removed with ``null``. `snapshot_folder`
    is None when no folder is named. `tables` holds the venue table of each venue that names one.
    """

    scenario: Scenario
    tree: Node
    removed: Mapping[KeyPath, Origin]
    path: Path
    snapshot_folder: Path | None
    tables: Mapping[str, VenueTable] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Plain]:
        """The values as written."""
        return _document(self.tree)

    @property
    def origins(self) -> dict[KeyPath, Origin]:
        """The origin of each path, of maps and lists too, and of entries that were removed."""
        return {where: item.touched for where, item in walk(self.tree) if where} | dict(self.removed)

    def stated(self, path: KeyPath) -> Origin | None:
        """Where a path was set last, or an entry removed; None where nothing states it."""
        item = node_at(self.tree, path) if path else None
        return self.removed.get(path) if item is None else item.touched

    def origin(self, path: str | Sequence[str | int]) -> str:
        """``file.yaml:12``, ``--set`` or ``default`` for a key, dotted (``limits.btc.max``) or in parts.

        Files are named relative to the main scenario's folder. Raises KeyError for a key no scenario has.
        """
        parts = parse_dotted(path) if isinstance(path, str) else tuple(path)
        stated = self.stated(parts)
        if stated is not None:
            return str(stated)
        shape: Shape | None = scenario_shape()
        for depth, part in enumerate(parts):
            named = shape is not None and (shape.entries is not None or isinstance(part, int))
            shape = None if shape is None else self._child(shape, parts[:depth], part)
            if shape is None or (named and self.stated(parts[: depth + 1]) is None):
                raise KeyError(dotted(parts))
        return str(DEFAULT)

    def _child(self, shape: Shape, path: KeyPath, part: str | int) -> Shape | None:
        if shape.kinds:
            shape = shape.kinds[self.scenario.limits[str(path[-1])].kind]
        return shape.child(part)


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


def resolve(files: Files, asked: Asked) -> LoadedScenario:
    """Merge and validate what was read. Raises ScenarioError with every problem found."""
    return validated(files, asked, merged(files, asked), Parts())


def validated(files: Files, asked: Asked, found: Merged, known: Parts) -> LoadedScenario:
    """Validate what was merged, parts of it that are `known` as they are. Raises ScenarioError."""
    # A variant is asked for by the sweep itself.
    others = sweep_block(files.trees).problems if asked.variant == NOTHING else []
    scenario, tree = _checked(found, files.main, known, others), found.tree
    folder = asked.snapshot if asked.snapshot is not None else _snapshot_folder(scenario, tree, files)
    return LoadedScenario(scenario, tree, found.notes.removed, asked.path, folder, found.tables)


def with_values(loaded: LoadedScenario, values: Mapping[tuple[str, ...], Node]) -> LoadedScenario:
    """The scenario with other values at some paths, validated as if written so. Raises ScenarioError."""
    laid = Merged(loaded.tree, loaded.tables, Notes(removed=dict(loaded.removed)))
    laid = laid.with_values(Variant(values=tuple(values.items())))
    scenario = _checked(laid, loaded.path.name, Parts())
    return replace(loaded, scenario=scenario, tree=laid.tree, removed=laid.notes.removed)


def _checked(found: Merged, main: str, known: Parts, others: Sequence[Problem] = ()) -> Scenario:
    """What was merged, validated. Raises ScenarioError with all its problems, and `others`."""
    scenario, invalid = _validated(found.tree, Origin(main, 1), known)
    problems = [*found.notes.problems, *invalid, *check(found.tree, Origin(main, 1)), *others]
    if problems or scenario is None:
        raise ScenarioError(sorted(dict.fromkeys(problems), key=_by_line))
    return scenario


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


def _document(tree: Node) -> dict[str, Plain]:
    values = plain(tree)
    if not isinstance(values, dict):
        raise TypeError("a scenario is a map")
    return values


class Parts:
    """Validated parts of scenarios, by the part of a tree that each was read from: the latest `size`.

    Variants of a scenario share all of a tree that they do not touch, and so what was validated of it.
    """

    def __init__(self, size: int = 4096) -> None:
        self._kept = ByIdentity[BaseModel](size)

    def values(self, tree: Node) -> object:
        """The tree's values, known parts of it validated."""
        found = self._kept.get(tree)
        if found is not None:
            return found
        if isinstance(tree.value, dict):
            return {key: self.values(item) for key, item in tree.value.items()}
        return plain(tree)

    def keep(self, tree: Node, value: object) -> None:
        """Remember the parts of what was read from a tree."""
        if self._kept.get(tree) is not None:
            return
        for key, item in tree.entries().items():
            inner = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
            if isinstance(inner, BaseModel | dict):
                self.keep(item, inner)
        if isinstance(value, BaseModel):
            self._kept.put(tree, value)


def _validated(tree: Node, main: Origin, known: Parts) -> tuple[Scenario | None, list[Problem]]:
    # Strict: `"5"` is no number and `yes` no boolean. A time is text in YAML, so it is read here.
    values = {key: known.values(item) for key, item in tree.entries().items()}
    problems: list[Problem] = []
    for path in _TIMES:
        _read_time(values, tree, path, problems)
    try:
        scenario = Scenario.model_validate(values, strict=True)
    except ValidationError as error:
        return None, problems + problems_of(error, tree, main)
    if not problems:
        for key, item in tree.entries().items():
            known.keep(item, getattr(scenario, key))
    return scenario, problems


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
