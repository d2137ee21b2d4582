"""Finished cells on disk: parts that appear whole or not at all, and the tables they make in the end."""

from __future__ import annotations

import io
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from allocator.sweeps.columns import Columns
from allocator.sweeps.records import Record, Records

TABLES = ("cells", "positions", "limits")
_PART, _PARTIAL = "part-", ".partial-"
_TEXT = frozenset(
    {"name", "id", "status", "reason", "binding", "solver", "venue", "account", "symbol", "asset"}
    | {"subject", "kind", "unit"}
)
_WHOLE = frozenset({"cell", "iterations"})
_ARROW: Mapping[type, pa.DataType] = {float: pa.float64(), bool: pa.bool_(), str: pa.string()}


@dataclass(frozen=True)
class Part:
    """Some finished cells as the bytes of Parquet files; `first` is the index of the first cell."""

    first: int
    cells: int
    tables: Mapping[str, bytes]


def part_of(records: Records, swept: Mapping[str, type]) -> Part:
    """The rows of some cells as a part."""
    tables = {
        name: parquet_bytes(arrow_table(getattr(records, name), swept if name == "cells" else {}))
        for name in TABLES
    }
    first = records.cells[0]["cell"]
    assert isinstance(first, int)
    return Part(first, len(records.cells), tables)


def keep(folder: Path, part: Part) -> None:
    """Keep a part: to a hidden folder first, then renamed in one step."""
    partial = folder / f"{_PARTIAL}{secrets.token_hex(8)}"
    partial.mkdir()
    for name, content in part.tables.items():
        (partial / f"{name}.parquet").write_bytes(content)
    partial.rename(folder / f"{_PART}{part.first:06}-{secrets.token_hex(4)}")


def arrow_table(rows: Sequence[Record] | Columns, swept: Mapping[str, type]) -> pa.Table:
    """Rows as columns of one type each; a key that a row lacks is null there."""
    if isinstance(rows, Columns):
        return rows.table()
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        kind = _kind(name, swept)
        values = [row.get(name) for row in rows]
        if kind == pa.string():
            values = [None if value is None else str(value) for value in values]
        columns[name] = pa.array(values, kind)
    return pa.table(columns)


def _kind(name: str, swept: Mapping[str, type]) -> pa.DataType:
    if name in swept:
        return _ARROW[swept[name]]
    if name in _TEXT or name.endswith(".worst_stress"):
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64()


def parts(folder: Path) -> list[Path]:
    """Finished parts, in the order of their first cells."""
    return sorted(path for path in folder.glob(f"{_PART}*") if path.is_dir())


def finished(folder: Path) -> set[int]:
    """Indices of the cells that parts hold. A part that a power cut left unreadable is removed."""
    done: set[int] = set()
    for part in parts(folder):
        try:
            rows = [pq.read_metadata(part / f"{name}.parquet").num_rows for name in TABLES]
            cells = pq.read_table(part / "cells.parquet", columns=["cell"])["cell"].to_pylist()
        except (pa.ArrowInvalid, OSError):
            rows, cells = [], []
        if rows and cells:
            done.update(cells)
        else:
            shutil.rmtree(part, ignore_errors=True)
    return done


def clear_partial(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for left in folder.glob(f"{_PARTIAL}*"):
        shutil.rmtree(left, ignore_errors=True)


def joined(folder: Path, name: str) -> pa.Table:
    """One table of all parts, in the order of cells; each cell once."""
    order = {"cells": ["cell"], "positions": ["cell"], "limits": ["cell"]}[name]
    tables = [pq.read_table(part / f"{name}.parquet") for part in _once(parts(folder))]
    # Cells without a position or binding limit leave tables without columns.
    known = [table for table in tables if table.num_columns] or tables[:1]
    whole = pa.concat_tables(known, promote_options="default")
    return whole.sort_by([(key, "ascending") for key in order]) if whole.num_columns else whole


def _once(found: Iterable[Path]) -> list[Path]:
    """Parts without those whose cells another part holds: two processes may have computed the same."""
    seen: set[int] = set()
    kept = []
    for part in found:
        cells = set(pq.read_table(part / "cells.parquet", columns=["cell"])["cell"].to_pylist())
        if not cells & seen:
            kept.append(part)
            seen |= cells
    return kept


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
