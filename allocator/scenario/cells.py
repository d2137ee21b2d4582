"""All cells of a sweep, resolved and validated before the first is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from allocator.errors import Problem, ScenarioError
from allocator.scenario.emit import flow_text
from allocator.scenario.keys import Shape, dotted
from allocator.scenario.layers import Asked, Files, Merged, changes_tables, merged
from allocator.scenario.load import LoadedScenario, Parts, read_chain, resolve, validated
from allocator.scenario.merge import key_path
from allocator.scenario.rows import Row, rows_of, shape_of, shown
from allocator.scenario.source import Node, Origin, plain
from allocator.scenario.sweep import OVERLAY, Variant, sweep_block

Value = float | str | bool | None
_OVERLAYS = 64  # combinations of overlays whose merged trees are kept


@dataclass(frozen=True)
class Cell:
    """One scenario of a sweep. `overrides` are what it sets by dotted key: in the unit of the program where
    the key has one, else as written. `described` is what the caller of `load_cells` said of its scenario.
    """

    index: int
    name: str
    overrides: Mapping[str, Value]
    variant: Variant
    described: str


@dataclass(frozen=True)
class Cells:
    """A sweep before it is computed: the scenario it stands on, its cells, and how to resolve one."""

    base: LoadedScenario
    cells: tuple[Cell, ...]
    files: Files
    asked: Asked

    def scenario(self, cell: Cell) -> LoadedScenario:
        """The scenario of one cell. Thousands of them together would fill the memory."""
        return self._variants.resolve(cell.variant)

    @cached_property
    def _variants(self) -> Variants:
        return Variants(self.files, self.asked)

    def __getstate__(self) -> dict[str, object]:
        """Without what was resolved: a worker resolves its own cells."""
        return {name: value for name, value in vars(self).items() if name != "_variants"}


class Variants:
    """Variants of one scenario: of each only what it touches is merged and validated anew."""

    def __init__(self, files: Files, asked: Asked) -> None:
        self._files, self._asked, self._parts = files, asked, Parts()
        self._merged: dict[tuple[tuple[str, Origin], ...], Merged] = {}

    def resolve(self, variant: Variant) -> LoadedScenario:
        """The scenario of a variant. Raises ScenarioError."""
        asked = replace(self._asked, variant=variant)
        if changes_tables(variant):
            return resolve(self._files, asked)
        overlays = variant.overlays
        if overlays not in self._merged:
            if len(self._merged) == _OVERLAYS:
                self._merged.clear()
            alone = replace(asked, variant=replace(variant, values=()))
            self._merged[overlays] = merged(self._files, alone)
        found = self._merged[overlays].with_values(variant)
        return validated(self._files, asked, found, self._parts)


def load_cells(
    path: Path | str,
    overlays: Sequence[str] = (),
    sets: Sequence[str] = (),
    snapshot: Path | None = None,
    describe: Callable[[LoadedScenario], str] = lambda _: "",
) -> Cells:
    """Every cell of a scenario's `sweep`, each resolved once and validated.

    Raises ScenarioError with the problems of all cells at once.
    """
    files = read_chain(Path(path))
    asked = Asked(Path(path), tuple(overlays), tuple(sets), snapshot)
    base = resolve(files, asked)
    block = sweep_block(files.trees)
    if block.tree is None or block.sweep is None:
        message = "no sweep; write what to vary, such as sweep: {grid: {limits.gross.max: [$8m, $9m]}}"
        raise ScenarioError([Problem(f"{files.main}:1", message)])
    rows = rows_of(block.tree, block.sweep, base)
    found = tuple(_cells(rows, Variants(files, asked).resolve, describe))
    return Cells(base, found, files, asked)


def _cells(
    rows: Sequence[Row],
    scenario_of: Callable[[Variant], LoadedScenario],
    describe: Callable[[LoadedScenario], str],
) -> Iterator[Cell]:
    short = _short_keys({key for row in rows for key in row.values})
    problems: list[Problem] = []
    used: dict[str, int] = {}
    for index, row in enumerate(rows):
        variant = _variant(row)
        try:
            scenario = scenario_of(variant)
        except ScenarioError as error:
            problems += error.problems
            continue
        values = [f"{short[key]}={shown(row.values[key])}" for key in row.told_by]
        name = ", ".join([*row.names, *values])
        used[name] = used.get(name, 0) + 1
        name = name if used[name] == 1 else f"{name} #{used[name]}"
        yield Cell(index, name or "as it is", _overrides(row, scenario), variant, describe(scenario))
    if problems:
        raise ScenarioError(list(dict.fromkeys(problems)))


def _variant(row: Row) -> Variant:
    overlays: list[tuple[str, Origin]] = []
    values: list[tuple[tuple[str, ...], Node]] = []
    for key, value in row.values.items():
        path = key_path(key)
        assert path is not None  # checked when the rows were made
        if key == OVERLAY:
            names = value.value if isinstance(value.value, list) else [value]
            overlays += [(str(name.value), name.origin) for name in names if name.value is not None]
        else:
            values.append((path, value))
    return Variant(tuple(overlays), tuple(values))


def _overrides(row: Row, scenario: LoadedScenario) -> dict[str, Value]:
    return {key: _plain_value(value, shape_of(scenario, key)) for key, value in row.values.items()}


def _plain_value(value: Node, shape: Shape | None) -> Value:
    content = plain(value)
    if shape is not None and shape.read is not None and content is not None:
        try:
            return shape.read(content)
        except ValueError:
            return str(content)  # one of the words that may stand there instead
    if content is None or isinstance(content, bool | str):
        return content
    return float(content) if isinstance(content, int | float) else flow_text(content)


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The shortest endings of dotted keys that tell them apart; a field of a named entry keeps its name."""
    parts = {key: key_path(key) or (key,) for key in keys}
    short = {}
    for key, path in parts.items():
        for length in range(2 if len(path) > 2 else 1, len(path) + 1):
            others = [other[-length:] for name, other in parts.items() if name != key]
            if path[-length:] not in others:
                break
        short[key] = dotted(path[-length:])
    return short
