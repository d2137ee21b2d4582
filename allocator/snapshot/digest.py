"""The fingerprint of a table: equal for csv, parquet and inline rows of equal content, in any row order."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np
import pandas as pd

from allocator.snapshot.columns import Table
from models.arrays import IntVector


def table_digest(table: Table, frame: pd.DataFrame) -> str:
    """Return the sha256, in hex, of the columns in declared order with rows sorted by the table's key.

    The key must be unique: with two rows of one key the order, and the digest, would be undefined.
    """
    order = np.lexsort([_codes(frame[name]) for name in reversed(table.key)]) if len(frame) else np.arange(0)
    digest = hashlib.sha256(f"{table.name}:{len(frame)}".encode())
    for column in table.columns:
        digest.update(f"\n{column.name}:{column.type}\n".encode())
        digest.update(_column_bytes(frame[column.name], order, column.type))
    return digest.hexdigest()


def _codes(values: pd.Series) -> IntVector:
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _column_bytes(column: pd.Series, order: IntVector, kind: str) -> bytes:
    if kind == "time":
        return column.to_numpy(dtype="datetime64[us]")[order].astype("<i8").tobytes()
    values = column.to_numpy()[order]
    if kind == "integer":
        return values.astype("<i8").tobytes()
    if kind == "number":
        return (values.astype("<f8") + 0.0).tobytes()  # + 0.0: no negative zero
    if kind == "decimal":
        return "\n".join(_plain(value) for value in values).encode()
    return "\n".join(values).encode()


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"
