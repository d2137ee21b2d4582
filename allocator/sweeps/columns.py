"""A table that grows by blocks of columns: thousands of rows a cell without an object for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from models.arrays import Vector


@dataclass
class Columns:
    """Blocks of rows, each a column by name; all blocks have the same columns."""

    blocks: list[pa.Table] = field(default_factory=list)

    def append(self, columns: Mapping[str, pa.Array | Vector]) -> None:
        """Add a block of rows."""
        self.blocks.append(pa.table({name: pa.array(values) for name, values in columns.items()}))

    def table(self) -> pa.Table:
        """All rows; without any, a table without columns."""
        return pa.concat_tables(self.blocks).combine_chunks() if self.blocks else pa.table({})

    def rows(self) -> list[dict[str, object]]:
        """All rows as mappings."""
        return list(self.table().to_pylist())


def repeated(texts: Sequence[str], times: int) -> pa.Array:
    """Texts over and over again."""
    return pa.concat_arrays([pa.array(texts, pa.string())] * times)


def each(values: Vector, times: int) -> Vector:
    """Every value several times in a row."""
    return np.repeat(values, times)
