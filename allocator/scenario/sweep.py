"""The `sweep` block of a scenario: which values its keys take, cell by cell.

`grid` is every combination, `zip` goes in step, `random` draws, `list` states cells one by one; several of
them combine, every row of each with every row of the others. Values are laid upon the scenario as ``--set``
would, after overlays and ``--set``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WithJsonSchema, model_validator

from allocator.errors import Problem
from allocator.scenario.base import Model
from allocator.scenario.keys import Shape, dotted, model_shape
from allocator.scenario.messages import problems_of
from allocator.scenario.source import Node, Origin, plain

OVERLAY = "overlay"  # the key whose values are overlays: a name, a list of names, or null
MOST_CELLS = 100_000
Spacing = Literal["linear", "log"]
# Named here, because keys of the block are called `list` and `zip`.
Values = list[Any]
Cells = list[dict[str, Any]]


class Range(Model):
    """Evenly spaced values, both ends included; `log` spaces their ratios evenly."""

    first: Any = Field(alias="from", description="With its unit.")
    last: Any = Field(alias="to", description="With its unit.")
    steps: Annotated[int, Field(ge=2)]
    spacing: Spacing = "linear"


# A list of values, or a range. Told apart by hand: a union's messages speak of types, not of what to write.
Axis = Annotated[
    Any,
    WithJsonSchema({"anyOf": [{"type": "array", "minItems": 1}, Range.model_json_schema(by_alias=True)]}),
]


class Draw(Model):
    """What a key is drawn from: uniformly between two ends (`log`: uniform in ratio), or one of `choose`."""

    first: Any = Field(None, alias="from", description="With its unit.")
    last: Any = Field(None, alias="to", description="With its unit.")
    spacing: Spacing = "linear"
    choose: Annotated[Values, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Draw:
        ends = (self.first is not None) + (self.last is not None)
        if ends != (0 if self.choose is not None else 2):
            raise ValueError("write either `from` and `to`, or `choose` with a list of values")
        return self


class Random(Model):
    """Draws that repeat: those of a key depend on the seed and the key alone."""

    draws: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    keys: Annotated[dict[str, Draw], Field(min_length=1)] = Field(description="By dotted key.")


class Sweep(Model):
    """Values by dotted key. The key `overlay` takes names of overlays, lists of them, or null for none."""

    grid: dict[str, Axis] = Field({}, description="Every combination.")
    zip: dict[str, Axis] = Field({}, description="In step: all of one length.")
    random: Random | None = None
    list: Cells = Field([], description="Cells one by one; `name` names one.")
    max_cells: Annotated[int, Field(ge=1, le=MOST_CELLS)] = Field(
        10_000, description="More cells than this are refused."
    )


class _File(Model):
    sweep: Sweep


@cache
def sweep_shape() -> Shape:
    """What may stand below `sweep`."""
    return model_shape(_File)


@dataclass(frozen=True)
class Variant:
    """What one cell changes: overlays with the lines that ask for them, values by path."""

    overlays: tuple[tuple[str, Origin], ...] = ()
    values: tuple[tuple[tuple[str, ...], Node], ...] = ()


NOTHING = Variant()


@dataclass(frozen=True)
class Block:
    """A `sweep` block as written, and validated where it is in order; both None where there is none."""

    tree: Node | None
    sweep: Sweep | None
    problems: tuple[Problem, ...] = ()


def sweep_block(trees: Sequence[Node]) -> Block:
    """The block of the highest layer that states one; ``null`` there is none."""
    found = [tree.entries()["sweep"] for tree in trees if "sweep" in tree.entries()]
    if not found or found[-1].value is None:
        return Block(None, None)
    tree = found[-1]
    file = Node({"sweep": tree}, tree.origin, tree.touched)
    try:
        sweep = _File.model_validate(plain(file), strict=True).sweep
    except ValidationError as error:
        return Block(tree, None, tuple(problems_of(error, file, tree.origin, sweep_shape())))
    problems = [
        problem
        for block in ("grid", "zip")
        for key, axis in _entries(tree, block).items()
        for problem in _axis_problems(f"sweep.{dotted((block, key))}", axis)
    ]
    return Block(tree, None if problems else sweep, tuple(problems))


def _entries(tree: Node, key: str) -> dict[str, Node]:
    found = tree.entries().get(key)
    return {} if found is None else found.entries()


def _axis_problems(name: str, axis: Node) -> list[Problem]:
    write = "write a list of values in brackets, or {from: ..., to: ..., steps: 5}"
    if isinstance(axis.value, list):
        return [] if axis.value else [Problem(str(axis.origin), f"{name}: the list is empty; {write}")]
    if not isinstance(axis.value, dict):
        return [Problem(str(axis.origin), f"{name}: one value is no sweep; {write}")]
    try:
        Range.model_validate(plain(axis), strict=True)
    except ValidationError as error:
        found = problems_of(error, axis, axis.origin, model_shape(Range))
        return [Problem(problem.source, f"{name}.{problem.message}") for problem in found]
    return []
