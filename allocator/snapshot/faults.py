"""How a bad row is reported: file and line of the first one, what is wrong, how many more there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allocator.errors import Problem
from models.arrays import BoolVector, IntVector, Vector

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Checked:
    """One table on its way through the door: its frame and the file, or ``inline``, it came from."""

    name: str
    frame: pd.DataFrame
    source: str
    _arrays: dict[tuple[str, str], NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    def _once(self, column: str, kind: str, build: Callable[[pd.Series], NDArray[Any]]) -> NDArray[Any]:
        """Take a column out of its frame once: checks ask for the same few columns many times."""
        if (column, kind) not in self._arrays:
            self._arrays[column, kind] = build(self.frame[column])
        return self._arrays[column, kind]

    def text(self, column: str) -> Texts:
        """Values of a text or decimal column, (n,) objects."""
        return self._once(column, "text", lambda values: values.to_numpy(dtype=object))

    def number(self, column: str) -> Vector:
        """Values of a number, integer or decimal column, (n,) floats."""
        return self._once(column, "number", lambda values: values.to_numpy(dtype=np.float64))

    def hours(self, column: str) -> Vector:
        """Values of a time column in hours since 1970, (n,); NaN where empty."""
        return self._once(column, "hours", _hours)

    def codes(self, column: str) -> IntVector:
        """Number of each value among the distinct values of ``column``, (n,)."""
        return self._once(column, "codes", lambda values: pd.factorize(values)[0].astype(np.int64))

    def at(self, position: int) -> str:
        """``file:line`` of a row."""
        return line_source(self.source, self.name, int(self.frame.index[position]))

    def faults(self, bad: BoolVector, describe: Callable[[int], str]) -> list[Problem]:
        """Return one problem for the rows where ``bad``; ``describe`` puts the first one's fault in words."""
        positions = np.flatnonzero(bad)
        if not positions.size:
            return []
        more = f" (and {positions.size - 1} more rows)" if positions.size > 1 else ""
        return [Problem(self.at(positions[0]), describe(int(positions[0])) + more)]

    def groups(self, *columns: str) -> Iterator[IntVector]:
        """Row positions of each distinct value of ``columns``, in table order within each."""
        if len(self.frame):
            code = self._code(columns)
            order = np.argsort(code, kind="stable")
            yield from np.split(order, np.flatnonzero(np.diff(code[order])) + 1)

    def repeated(self, *columns: str) -> BoolVector:
        """True for every row whose values of ``columns`` an earlier row has."""
        _, first = np.unique(self._code(columns), return_index=True)
        later = np.ones(len(self.frame), dtype=np.bool_)
        later[first] = False
        return later

    def _code(self, columns: tuple[str, ...]) -> IntVector:
        """One number per distinct combination of the columns' values, (n,)."""
        code = np.zeros(len(self.frame), dtype=np.int64)
        for column in columns:
            part = self.codes(column)
            # Renumber at each step: products of many distinct values would overflow.
            _, code = np.unique(code * (int(part.max(initial=0)) + 1) + part, return_inverse=True)
        return code


def _hours(values: pd.Series) -> Vector:
    stamps = values.to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 3.6e9)


Tables = Mapping[str, Checked]


def line_source(source: str, table: str, line: int | None) -> str:
    """``prices.csv:123``, or ``snapshot.tables.prices:3`` for a table written in the scenario."""
    label = f"snapshot.tables.{table}" if source == "inline" else source
    return label if line is None else f"{label}:{line}"
