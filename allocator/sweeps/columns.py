"""A table that grows by blocks of columns: thousands of rows without an object for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from models.arrays import Vector

_TEXT = ("venue", "account", "symbol", "asset", "name", "subject", "kind", "unit")


@dataclass
class Columns:
    """Blocks of rows, each a column by name; all blocks have the same columns.

    `cell` is a whole number, what is named like a label is text, all else are numbers; None is null.
    """

    blocks: list[pa.Table] = field(default_factory=list)

    def append(self, columns: Mapping[str, pa.Array | Vector | Sequence[object]]) -> None:
        """Add a block of rows."""
        self.blocks.append(pa.table({name: pa.array(v, _kind(name)) for name, v in columns.items()}))

    def table(self) -> pa.Table:
        """All rows; without any, a table without columns."""
        return pa.concat_tables(self.blocks).combine_chunks() if self.blocks else pa.table({})


def _kind(name: str) -> pa.DataType:
    if name == "cell":
        return pa.int64()
    return pa.string() if name in _TEXT else pa.float64()


def repeated(texts: Sequence[str], times: int) -> pa.Array:
    """Texts over and over again."""
    return pa.concat_arrays([pa.array(texts, pa.string())] * times)


def each(values: Vector, times: int) -> Vector:
    """Every value several times in a row."""
    return np.repeat(values, times)
