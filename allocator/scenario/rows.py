"""Rows of a `sweep` block: which values each cell lays upon the scenario."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random as Stream

from allocator.errors import Problem, ScenarioError
from allocator.scenario.emit import flow_text
from allocator.scenario.keys import Shape, scenario_shape
from allocator.scenario.load import LoadedScenario
from allocator.scenario.merge import key_path
from allocator.scenario.source import Node, from_plain, plain
from allocator.scenario.sweep import OVERLAY, Draw, Random, Range, Spacing, Sweep

_NAME = "name"


@dataclass(frozen=True)
class Row:
    """Values by dotted key, the names it was given, and the keys whose values tell it from others."""

    values: Mapping[str, Node]
    names: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()


def rows_of(tree: Node, sweep: Sweep, base: LoadedScenario) -> list[Row]:
    """Every row of each block with every row of the others, in the file's order, the last fastest.

    Raises ScenarioError for keys that no scenario has room for, ranges without a sense, and too many cells.
    """
    rows = _Rows(tree, sweep, base)
    blocks = rows.blocks()
    if rows.problems:
        raise ScenarioError(list(dict.fromkeys(rows.problems)))
    return [_together(combined) for combined in itertools.product(*blocks)]


def shape_of(scenario: LoadedScenario, key: str) -> Shape | None:
    """What may stand at a dotted key of this scenario; None for overlays and what no scenario has."""
    path = key_path(key)
    shape: Shape | None = None if path is None or key == OVERLAY else scenario_shape()
    for part in path or ():
        shape = None if shape is None else shape.child(part)
        if shape is not None and shape.kinds:
            limit = scenario.scenario.limits.get(part)
            shape = None if limit is None else shape.kinds[limit.kind]
    return shape


def _together(rows: Sequence[Row]) -> Row:
    return Row(
        {key: value for row in rows for key, value in row.values.items()},
        tuple(name for row in rows for name in row.names),
        tuple(key for row in rows for key in row.told_by),
    )


def shown(value: Node) -> str:
    """A swept value as a name holds it."""
    content = plain(value)
    if isinstance(content, list) and all(isinstance(item, str) for item in content):
        return "+".join(map(str, content)) or "none"
    return f"{content:g}" if isinstance(content, float) else flow_text(content)


@dataclass
class _Rows:
    """Rows of each block, and what is wrong with them."""

    tree: Node
    sweep: Sweep
    base: LoadedScenario
    problems: list[Problem] = field(default_factory=list)

    def blocks(self) -> list[list[Row]]:
        """The rows of each block that is there; none where something is wrong."""
        self._check_keys()
        self._check_count()
        if self.problems:
            return []
        axes = {block: [self._axis(k, a) for k, a in self._entries(block)] for block in ("grid", "zip")}
        random = self.sweep.random
        drawn = None if random is None else self._drawn(random)
        if self.problems:
            return []
        blocks = [[_together(rows) for rows in itertools.product(*axes["grid"])]]
        if axes["zip"]:
            blocks.append([_together(rows) for rows in zip(*axes["zip"], strict=True)])
        if drawn is not None:
            blocks.append(drawn)
        if self.sweep.list:
            blocks.append(self._listed())
        return blocks

    def _check_count(self) -> None:
        """Refuse too many cells before any is made, and lists that do not go in step."""
        lengths = {block: [_length(axis) for _, axis in self._entries(block)] for block in ("grid", "zip")}
        step = lengths["zip"]
        if len(set(step)) > 1:
            message = f"sweep.zip: {', '.join(map(str, step))} values do not go in step; write as many"
            self._add(self._place("zip"), message)
        count = math.prod(lengths["grid"]) * max(step, default=1) * (len(self.sweep.list) or 1)
        count *= 1 if self.sweep.random is None else self.sweep.random.draws
        if count > self.sweep.max_cells:
            message = f"sweep: {count:,} cells are more than sweep.max_cells of {self.sweep.max_cells:,}"
            self._add(self.tree, f"{message}; sweep less, or write a larger max_cells")

    def _add(self, place: Node, message: str) -> None:
        self.problems.append(Problem(str(place.origin), message))

    def _place(self, *path: str) -> Node:
        here = self.tree
        for part in path:
            here = here.entries()[part]
        return here

    def _entries(self, block: str) -> list[tuple[str, Node]]:
        found = self.tree.entries().get(block)
        return [] if found is None else list(found.entries().items())

    def _list_items(self) -> list[Node]:
        found = self.tree.entries().get("list")
        return found.value if found is not None and isinstance(found.value, list) else []

    def _check_keys(self) -> None:
        """Each key is a dotted path, and swept by one block alone."""
        swept: dict[str, str] = {}
        used = [("grid", *entry) for entry in self._entries("grid")]
        used += [("zip", *entry) for entry in self._entries("zip")]
        if self.sweep.random is not None:
            used += [("random", *entry) for entry in self._place("random", "keys").entries().items()]
        for item in self._list_items():
            used += [("list", *entry) for entry in item.entries().items()]
        for block, key, place in used:
            if block == "list" and key == _NAME:
                continue
            if key_path(key) is None:
                self._add(
                    place, f"sweep.{block}: `{key}` is no key; write a dotted one such as limits.gross.max"
                )
            if swept.setdefault(key, block) != block:
                self._add(place, f"sweep.{block}: `{key}` is swept by `{swept[key]}` too; keep one of them")

    def _axis(self, key: str, axis: Node) -> list[Row]:
        if isinstance(axis.value, list):
            return [Row({key: value}, told_by=(key,)) for value in axis.value]
        stated = Range.model_validate(plain(axis), strict=True)
        ends = self._ends(key, axis, stated.first, stated.last, stated.spacing)
        if ends is None:
            return []
        steps = stated.steps - 1
        values = [_between(*ends, k / steps, stated.spacing) for k in range(steps + 1)]
        return [Row({key: self._written(key, axis, value)}, told_by=(key,)) for value in values]

    def _ends(
        self, key: str, place: Node, first: object, last: object, spacing: Spacing
    ) -> tuple[float, float] | None:
        """Both ends in the program's unit; None with a problem noted."""
        shape = shape_of(self.base, key)
        ends = []
        for end in (first, last):
            try:
                if shape is not None and shape.read is not None:
                    ends.append(shape.read(end))
                elif isinstance(end, int | float) and not isinstance(end, bool):
                    ends.append(float(end))
                else:
                    raise ValueError(f"{flow_text(end)} is no number; list the values instead")
            except ValueError as error:
                self._add(place, f"sweep: {key}: {error}")
                return None
        if spacing == "log" and min(ends) <= 0:
            self._add(
                place, f"sweep: {key}: spacing log needs two ends above zero; write linear, or other ends"
            )
            return None
        return ends[0], ends[1]

    def _written(self, key: str, place: Node, value: float) -> Node:
        """A number as the file would hold it: with its unit."""
        shape = shape_of(self.base, key)
        number = float(f"{value:.12g}")
        if shape is not None and shape.to_text is not None:
            return from_plain(_short(shape.to_text(number)), place.origin)
        whole = shape is not None and shape.label == "whole number" and number.is_integer()
        return from_plain(int(number) if whole else number, place.origin)

    def _drawn(self, random: Random) -> list[Row]:
        columns: dict[str, list[Node]] = {}
        for key, draw in random.keys.items():
            place = self._place("random", "keys", key)
            columns[key] = self._draws(key, place, draw, Stream(f"{random.seed} {key}"), random.draws)
        if self.problems:
            return []
        width = len(str(random.draws))
        return [
            Row({key: column[k] for key, column in columns.items()}, (f"draw {k + 1:0{width}}",))
            for k in range(random.draws)
        ]

    def _draws(self, key: str, place: Node, draw: Draw, stream: Stream, count: int) -> list[Node]:
        if draw.choose is not None:
            choices = place.entries()["choose"].value
            assert isinstance(choices, list)
            return [choices[int(stream.random() * len(choices))] for _ in range(count)]
        ends = self._ends(key, place, draw.first, draw.last, draw.spacing)
        if ends is None:
            return []
        return [
            self._written(key, place, _between(*ends, stream.random(), draw.spacing)) for _ in range(count)
        ]

    def _listed(self) -> list[Row]:
        rows = []
        for item in self._list_items():
            values = {key: value for key, value in item.entries().items() if key != _NAME}
            name = item.entries().get(_NAME)
            rows.append(
                Row(values, told_by=tuple(values)) if name is None else Row(values, (str(name.value),))
            )
        return rows


def _length(axis: Node) -> int:
    if isinstance(axis.value, list):
        return len(axis.value)
    return Range.model_validate(plain(axis), strict=True).steps


def _between(first: float, last: float, share: float, spacing: Spacing) -> float:
    if spacing == "log":
        return math.exp(math.log(first) + share * (math.log(last) - math.log(first)))
    return first + share * (last - first)


def _short(text: str) -> str:
    """`$8000000` as `$8m`, exactly; any other text as it is."""
    match = re.fullmatch(r"(-?)\$(\d+(?:\.\d+)?)", text)
    if match is None:
        return text
    amount = Decimal(match[2])
    for suffix, size in (("bn", Decimal("1e9")), ("m", Decimal("1e6")), ("k", Decimal("1e3"))):
        if amount >= size:
            return f"{match[1]}${(amount / size).normalize():f}{suffix}"
    return text
