"""Numbers of a run's tables with their place in them, single or summed over rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from allocator.report.nodes import Node

if TYPE_CHECKING:
    import pandas as pd

How = Literal["sum", "mean", "median", "min", "max", "count", "nunique", "last"]


@dataclass(frozen=True)
class Frame:
    """A table and the name of its file.

    A single number points to ``file#/row/column``, rows counted from 0; one of many rows to
    ``file#how(column)?key=value&key=value``, the rows whose keys have these values.
    """

    table: pd.DataFrame
    file: str

    def at(self, row: int, column: str) -> Node:
        """A single number or text; null for NaN."""
        return Node(plain(self.table[column].iat[row]), f"{self.file}#/{row}/{column}")

    def of(self, how: How, column: str, where: Mapping[str, Any] | None = None) -> Node:
        """A number of the rows where keys have these values; null where there is none."""
        chosen = self.rows(where)
        return Node(aggregated(chosen[column], how), f"{self.file}#{how}({column}){query(where)}")

    def rows(self, where: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The rows where keys have these values."""
        found = self.table
        for key, value in (where or {}).items():
            found = found[found[key] == value]
        return found


def query(where: Mapping[str, Any] | None) -> str:
    """Keys and values as a pointer writes them."""
    return f"?{'&'.join(f'{key}={value}' for key, value in where.items())}" if where else ""


def aggregated(values: pd.Series, how: How) -> float | int | None:
    """One number of many; null of none."""
    known = values.dropna()
    if how in ("count", "nunique"):
        return int(getattr(known, how)())
    if not len(known):
        return None
    found: float = known.iloc[-1] if how == "last" else getattr(known, how)()
    return float(found)


def plain(value: Any) -> Any:  # noqa: ANN401
    """A cell as a plain Python value; None for what is missing or not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return value.item() if hasattr(value, "item") else value
