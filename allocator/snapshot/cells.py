"""Cells to values: one column of raw cells to a typed array, every cell that cannot be read reported.

Raw cells come from a csv file (text), a parquet file (anything) or rows written in a scenario (anything).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from allocator.snapshot.columns import Column, did_you_mean
from models.arrays import Vector

Value = TypeVar("Value")
Bad = tuple[int, str]
"""Position of a cell and what is wrong with it, in words that say what to write instead."""


def read_cells(column: Column, cells: Sequence[object] | pd.Series) -> tuple[Any, list[Bad]]:
    """Return the values of one column (an array, or a list for text and decimals) and the bad cells.

    A bad cell's value is NaN, NaT or an empty text; the caller must not use a column with bad cells.
    """
    if isinstance(cells, pd.Series):
        if (ready := _ready(column, cells)) is not None:
            return ready, []
        cells = cells.astype(object).tolist()
    reader: Callable[[Column, Sequence[object]], tuple[Any, list[Bad]]] = {
        "time": _times,
        "text": _texts,
        "number": _numbers,
        "integer": _integers,
        "decimal": _decimals,
    }[column.type]
    return reader(column, cells)


def _ready(column: Column, cells: pd.Series) -> pd.DatetimeIndex | Vector | None:
    """Take a column over whose type is right already and has nothing missing; None if it must be read."""
    if column.type == "time" and isinstance(cells.dtype, pd.DatetimeTZDtype) and not cells.isna().any():
        return pd.DatetimeIndex(cells).tz_convert("UTC").as_unit("us")
    if column.type == "number" and cells.dtype.kind in "fiu" and isinstance(cells.dtype, np.dtype):
        values = cells.to_numpy(dtype=np.float64)
        return values if np.isfinite(values).all() else None
    return None


def is_missing(cell: object) -> bool:
    """Whether a raw cell is empty: blank text, None, NaN or NaT."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def _empty(column: Column) -> str:
    if column.type in ("number", "integer", "decimal"):
        return f"`{column.name}` is empty or NaN: write the number, or leave the row out; a gap is not 0"
    return f"`{column.name}` is empty: write a {column.type}"


def _each(
    column: Column, cells: Sequence[object], parse: Callable[[object], Value], blank: Value
) -> tuple[list[Value], list[Bad]]:
    """Parse each distinct cell once; collect what cannot be read."""
    keys = list(zip(map(type, cells), cells, strict=True))  # with the type: 1 and True are equal
    parsed: dict[tuple[type, object], Value] = {}
    faults: dict[tuple[type, object], str] = {}
    for key in dict.fromkeys(keys):
        parsed[key] = blank
        if is_missing(key[1]):
            if not column.blank:
                faults[key] = _empty(column)
            continue
        try:
            parsed[key] = parse(key[1])
        except ValueError as error:
            faults[key] = f"`{column.name}`: {error}"
    bad = [(position, faults[key]) for position, key in enumerate(keys) if key in faults] if faults else []
    return [parsed[key] for key in keys], bad


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise ValueError(f"{cell!r} is not text; write it in quotes")
    text = cell.strip()
    if not text.isprintable():
        raise ValueError(f"{text!r} holds control characters; write plain text")
    return text


def _texts(column: Column, cells: Sequence[object]) -> tuple[list[str], list[Bad]]:
    def parse(cell: object) -> str:
        text = _text(cell)
        if column.choices and text not in column.choices:
            options = ", ".join(column.choices)
            raise ValueError(f"{text!r} is not one of {options}{did_you_mean(text, column.choices)}")
        return text

    return _each(column, cells, parse, "")


def _number(cell: object) -> float:
    if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal | np.number):
        raise ValueError(f"{cell!r} is not a number; write a plain number such as 0.0001")
    if isinstance(cell, str) and "_" in cell:
        raise ValueError(f"cannot read {cell!r}; write a plain number such as 12500.5")
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(
            f"cannot read {cell!r}; write a plain number such as 0.0001 (point, no %, no thousands)"
        ) from None
    if math.isnan(value):
        raise ValueError("is NaN: write the number, or leave the row out; a gap is not 0")
    if math.isinf(value):
        raise ValueError(f"{cell!r} is not finite; write a finite number")
    return value


def _numbers(column: Column, cells: Sequence[object]) -> tuple[Any, list[Bad]]:
    try:
        # The common case, at C speed. Only text goes this way: booleans must not pass as numbers.
        if all(map(str.__instancecheck__, cells)) and "_" not in "".join(cells):  # type: ignore[arg-type]
            values = np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))  # type: ignore[arg-type]
            if np.isfinite(values).all():
                return values, []
    except (ValueError, TypeError):
        pass  # a cell is bad: go one by one to say which and why
    parsed, bad = _each(column, cells, _number, math.nan)
    return np.array(parsed, dtype=np.float64), bad


def _integers(column: Column, cells: Sequence[object]) -> tuple[Any, list[Bad]]:
    values, bad = _numbers(column, cells)
    known_bad = {position for position, _ in bad}
    for position in np.flatnonzero(values != np.round(values)):
        if int(position) not in known_bad:
            bad.append(
                (int(position), f"`{column.name}`: {values[position]:g} is not whole; write a whole number")
            )
    return (values if bad else values.astype(np.int64)), bad


def _decimals(column: Column, cells: Sequence[object]) -> tuple[list[Decimal], list[Bad]]:
    def parse(cell: object) -> Decimal:
        if isinstance(cell, bool) or not isinstance(cell, str | int | float | Decimal):
            raise ValueError(f"{cell!r} is not a number; write a plain number such as 0.001")
        # A float's repr is the shortest text that names it: 0.001 stays 0.001, not its binary expansion.
        text = repr(float(cell)) if isinstance(cell, float) else str(cell).strip()
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"cannot read {cell!r}; write a plain number such as 0.001") from None
        if not value.is_finite():
            raise ValueError(f"{cell!r} is not finite; write a finite number")
        return value

    return _each(column, cells, parse, Decimal(0))


def _moment(cell: object) -> datetime:
    if isinstance(cell, datetime):
        moment = cell.to_pydatetime(warn=False) if isinstance(cell, pd.Timestamp) else cell
    elif isinstance(cell, str):
        try:
            moment = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise ValueError(f"cannot read {cell!r}; write ISO-8601 such as 2026-11-20T08:00:00Z") from None
    else:
        raise ValueError(f"{cell!r} is not a time; write ISO-8601 such as 2026-11-20T08:00:00Z")
    if moment.tzinfo is None:
        raise ValueError(f"{cell} has no time zone; write {moment.isoformat()}Z if it is UTC, or its offset")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _times(column: Column, cells: Sequence[object]) -> tuple[Any, list[Bad]]:
    parsed, bad = _each(column, cells, _moment, None)
    distinct = {moment: np.datetime64(moment, "us") for moment in set(parsed)}
    stamps = np.array([distinct[moment] for moment in parsed], dtype="datetime64[us]")
    return pd.DatetimeIndex(stamps).as_unit("us").tz_localize("UTC"), bad
