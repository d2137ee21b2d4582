"""Reading a snapshot folder: files to typed tables, checked, with every problem reported at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from allocator.errors import DataError, Problem
from allocator.snapshot.cells import Bad, read_cells
from allocator.snapshot.checks import check_tables
from allocator.snapshot.columns import TABLES, Table, did_you_mean
from allocator.snapshot.digest import table_digest
from allocator.snapshot.faults import line_source

if TYPE_CHECKING:
    from allocator.venues.fill import FromTable, VenueTables

_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class SnapshotData:
    """The tables of one snapshot.

    Each frame has the declared columns in declared order: times are datetime64[us, UTC], texts are objects,
    decimals ``decimal.Decimal`` objects, whole numbers int64. The index, named ``line``, is the csv line
    (the header is line 1), or the row counted from 1 of a parquet file or an inline table. ``newest`` is the
    newest ``time`` of all tables, ``digests`` their content hashes, ``sources`` file names or ``inline``;
    ``notes`` are repairs worth a line in the log. ``from_tables`` says, by venue and symbol, what was filled
    from venue tables.
    """

    tables: Mapping[str, pd.DataFrame]
    newest: datetime
    digests: Mapping[str, str]
    sources: Mapping[str, str]
    notes: tuple[Problem, ...] = ()
    from_tables: Mapping[tuple[str, str], FromTable] = field(default_factory=dict)


@dataclass(frozen=True)
class _Raw:
    """A table before its cells are read: ``cells[name]`` holds one column, ``lines`` where its rows are."""

    cells: Mapping[str, Sequence[object] | pd.Series]
    lines: Sequence[int]


def read_snapshot(
    folder: Path | None,
    inline: Mapping[str, list[dict[str, Any]]],
    required: Iterable[str],
    venues: VenueTables | None = None,
) -> SnapshotData:
    """Read and check the tables of ``folder``; rows in ``inline`` replace the file of that table.

    ``venues`` fill contract terms that `instruments` leaves out, and `margin_tiers` of symbols without any.

    Raises DataError listing every problem of every table: source is ``prices.csv:123`` (csv line, parquet
    row) or the table's name; the message says what is wrong and what to write instead.
    """
    problems: list[Problem] = []
    files = _table_files(folder, problems) if folder is not None else {}
    problems += [
        Problem(f"snapshot.tables.{name}", _unknown_table(name)) for name in inline if name not in TABLES
    ]
    sources = {
        name: "inline" if name in inline else files[name].name for name in TABLES if name in {*files, *inline}
    }
    for name in required:
        if name not in TABLES:
            raise ValueError(f"required table {name!r} is not declared; tables are {', '.join(TABLES)}")
        if name not in sources and not (name == "margin_tiers" and venues is not None):
            problems.append(_missing_table(name, folder))
    tables: dict[str, pd.DataFrame] = {}
    used: dict[tuple[str, str], FromTable] = {}
    for name in sources:
        raw = (
            _inline_raw(name, inline[name], problems) if name in inline else _file_raw(files[name], problems)
        )
        if raw is not None and name == "instruments" and venues is not None:
            raw, used = _with_terms(raw, sources[name], venues, problems)
        frame = _typed(TABLES[name], sources[name], raw, problems) if raw is not None else None
        if frame is not None:
            tables[name] = frame
    tables, notes = _with_whole_minutes(tables, sources)
    # The age of a snapshot is that of its own tables, whatever the date of a venue table.
    newest = [frame["time"].max() for frame in tables.values() if len(frame)]
    if venues is not None:
        tables, used, more = _with_tiers(tables, venues, used)
        sources = {"margin_tiers": "venue tables"} | sources
        notes += more
    problems += check_tables(tables, sources)
    if problems:
        raise DataError(problems)
    if not newest:
        raise DataError(
            [Problem(str(folder or "snapshot"), "no table has a row: write prices and instruments")]
        )
    digests = {name: table_digest(TABLES[name], frame) for name, frame in tables.items()}
    return SnapshotData(tables, max(newest).to_pydatetime(), digests, sources, tuple(notes), used)


def _with_terms(
    raw: _Raw, source: str, venues: VenueTables, problems: list[Problem]
) -> tuple[_Raw | None, dict[tuple[str, str], FromTable]]:
    """`instruments` with the terms that venue tables give; None where some are stated nowhere."""
    from allocator.venues.fill import fill_terms  # only where a scenario names a table

    filled = fill_terms(raw.cells, lambda i: line_source(source, "instruments", raw.lines[i]), venues)
    problems += filled.problems
    return (None if filled.cells is None else _Raw(filled.cells, raw.lines)), filled.used


def _with_tiers(
    tables: dict[str, pd.DataFrame], venues: VenueTables, used: dict[tuple[str, str], FromTable]
) -> tuple[dict[str, pd.DataFrame], dict[tuple[str, str], FromTable], list[Problem]]:
    from allocator.venues.fill import with_tiers

    tiers, used, notes = with_tiers(tables, venues, used)
    return (tables if tiers is None else {**tables, "margin_tiers": tiers}), used, notes


def _table_files(folder: Path, problems: list[Problem]) -> dict[str, Path]:
    """Return the file of each table, and report files that are none. Raises `DataError` without a folder."""
    if not folder.is_dir():
        # That every table is missing too would only hide it.
        missing = Problem(str(folder), "is not a folder: name the snapshot folder that holds the tables")
        raise DataError([*problems, missing])
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        if path.stem not in TABLES or path.suffix not in _SUFFIXES:
            problems.append(Problem(path.name, _unknown_table(path.stem)))
        elif path.stem in found:
            problems.append(
                Problem(path.name, f"{found[path.stem].name} is there too: keep one of the two files")
            )
        else:
            found[path.stem] = path
    return found


def _unknown_table(name: str) -> str:
    hint = did_you_mean(name, TABLES)
    return f"`{name}` is not a snapshot table{hint or '; tables are ' + ', '.join(TABLES)}"


def _missing_table(name: str, folder: Path | None) -> Problem:
    where = f"{folder.name}/" if folder is not None else "snapshot"
    columns = ",".join(TABLES[name].names)
    return Problem(
        where, f"table `{name}` is missing: write {name}.csv or {name}.parquet with columns {columns}"
    )


def _file_raw(path: Path, problems: list[Problem]) -> _Raw | None:
    read: Callable[[Path, list[Problem]], _Raw | None] = _csv_raw if path.suffix == ".csv" else _parquet_raw
    try:
        return read(path, problems)
    except UnicodeDecodeError:
        problems.append(Problem(path.name, "is not UTF-8 text: save it as UTF-8"))
    except csv.Error as error:
        problems.append(Problem(path.name, f"is not a csv file ({error}): write comma-separated values"))
    except OSError as error:
        problems.append(Problem(path.name, f"cannot be read ({error.strerror or error})"))
    except ValueError as error:
        problems.append(Problem(path.name, f"is not a parquet file ({error}): write it again"))
    return None


def _csv_raw(path: Path, problems: list[Problem]) -> _Raw | None:
    with path.open(newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.reader(handle, strict=True))
    if not rows or not rows[0]:
        problems.append(Problem(path.name, "is empty: write the header line with the column names"))
        return None
    header = [name.strip() for name in rows[0]]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        problems.append(
            Problem(f"{path.name}:1", "columns are not separated by commas: write a comma-separated file")
        )
        return None
    lines = [line for line, row in enumerate(rows, start=1) if row and line > 1]
    body = [rows[line - 1] for line in lines]
    ragged = [line for line, row in zip(lines, body, strict=True) if len(row) != len(header)]
    if ragged:
        message = (
            f"has {len(rows[ragged[0] - 1])} cells under {len(header)} columns: write one cell per column"
        )
        problems.append(Problem(f"{path.name}:{ragged[0]}", message + _more(len(ragged))))
        return None
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        problems.append(Problem(f"{path.name}:1", f"column `{twice}` is there twice: keep one"))
        return None
    columns: Iterable[Sequence[object]] = zip(*body, strict=True) if body else ([] for _ in header)
    return _Raw(dict(zip(header, columns, strict=True)), lines)


def _parquet_raw(path: Path, problems: list[Problem]) -> _Raw | None:
    frame = pd.read_parquet(path)
    return _Raw({str(name): frame[name] for name in frame.columns}, range(1, len(frame) + 1))


def _inline_raw(name: str, rows: Sequence[Mapping[str, Any]], problems: list[Problem]) -> _Raw | None:
    if name not in TABLES:
        return None
    header = list(dict.fromkeys(key for row in rows for key in row)) or list(TABLES[name].names)
    return _Raw({key: [row.get(key) for row in rows] for key in header}, range(1, len(rows) + 1))


def _typed(table: Table, source: str, raw: _Raw, problems: list[Problem]) -> pd.DataFrame | None:
    """Turn raw cells into the declared columns; None when a column is missing, unknown or unreadable."""
    head = line_source(source, table.name, 1 if source.endswith(".csv") else None)
    before = len(problems)
    for name in raw.cells:
        if name not in table.names:
            hint = did_you_mean(name, table.names) or "; columns are " + ", ".join(table.names)
            problems.append(Problem(head, f"unknown column `{name}`{hint}"))
    columns: dict[str, Any] = {}
    for column in table.columns:
        if column.name not in raw.cells and not column.optional:
            problems.append(
                Problem(head, f"column `{column.name}` is missing: add it ({_meaning(table, column.name)})")
            )
            continue
        cells = raw.cells.get(column.name, [None] * len(raw.lines))
        columns[column.name], bad = read_cells(column, cells)
        problems += _cell_problems(table.name, source, raw.lines, bad)
    if len(problems) > before:
        return None
    index = pd.Index(np.asarray(raw.lines, dtype=np.int64), name="line")
    return pd.DataFrame(
        {
            column.name: pd.Series(columns[column.name], index=index, dtype=_DTYPES.get(column.type))
            for column in table.columns
        },
        index=index,
    )


_DTYPES = {"text": "object", "decimal": "object"}


def _meaning(table: Table, name: str) -> str:
    column = next(column for column in table.columns if column.name == name)
    return f"{column.unit}: {column.description}" if column.unit else column.description


def _cell_problems(name: str, source: str, lines: Sequence[int], bad: Sequence[Bad]) -> list[Problem]:
    """Report each kind of bad cell once, at its first line, with the number of others."""
    kinds: dict[str, list[Bad]] = {}
    for position, message in bad:
        kinds.setdefault(message.split(":")[0], []).append((position, message))
    return [
        Problem(line_source(source, name, lines[group[0][0]]), group[0][1] + _more(len(group)))
        for group in kinds.values()
    ]


def _more(count: int) -> str:
    return f" (and {count - 1} more rows)" if count > 1 else ""


def _with_whole_minutes(
    tables: dict[str, pd.DataFrame], sources: Mapping[str, str]
) -> tuple[dict[str, pd.DataFrame], list[Problem]]:
    """Round settlement times to the minute: venues stamp them with milliseconds of jitter."""
    funding = tables.get("funding")
    if funding is None or not len(funding):
        return tables, []
    rounded = funding["settlement_time"].dt.round("min")
    moved = int((rounded != funding["settlement_time"]).sum())
    if not moved:
        return tables, []
    note = Problem(sources["funding"], f"settlement_time of {moved} rows was rounded to the minute")
    return {**tables, "funding": funding.assign(settlement_time=rounded)}, [note]
