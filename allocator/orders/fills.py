"""Fills as the venues report them: one csv file with every fill of a run so far, read exactly."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from allocator.errors import DataError, Problem
from models.contracts import OrderSide

REQUIRED = (
    "time", "venue", "account", "symbol", "client_order_id", "fill_id", "side", "contracts", "price",
)  # fmt: skip
OPTIONAL = ("fee_usd", "order_closed")
Value = TypeVar("Value")
_MOST_DIGITS = 24  # before or after the point


@dataclass(frozen=True)
class Fill:
    """One fill. `closed`: with it the venue's order ended; then it may be of no contracts at all.

    `source` is ``file.csv:line``; `contracts` >= 0, `fee_usd` > 0 is paid by us.
    """

    source: str
    time: datetime
    venue: str
    account: str
    symbol: str
    client_order_id: str
    fill_id: str
    side: OrderSide
    contracts: Decimal
    price: Decimal
    fee_usd: Decimal
    closed: bool

    @property
    def instrument(self) -> tuple[str, str, str]:
        """Venue, account and symbol."""
        return self.venue, self.account, self.symbol

    @property
    def signed(self) -> Decimal:
        """Contracts, negative where sold."""
        return self.contracts if self.side == "buy" else -self.contracts


def read_fills(text: str, name: str) -> tuple[Fill, ...]:
    """Fills of a csv text called `name`. Raises `DataError` with every row that cannot be read.

    Columns: time (ISO-8601 with Z), venue, account, symbol, client_order_id, fill_id (unique in its account),
    side (buy or sell), contracts, price; if wanted fee_usd, and order_closed (true once the venue has ended
    the order: filled, cancelled or expired; such a row may have 0 contracts and no fill_id).
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise DataError(
            [Problem(name, f"is not a csv file ({error}): write comma-separated values")]
        ) from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    _check_header(header, name)
    problems: list[Problem] = []
    fills: list[Fill] = []
    line_of: dict[tuple[str, ...], str] = {}
    for line, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        source = f"{name}:{line}"
        if len(row) != len(header):
            problems.append(Problem(source, f"has {len(row)} cells under {len(header)} columns"))
            continue
        fill = _fill(dict(zip(header, map(str.strip, row), strict=True)), source, problems)
        if fill is None:
            continue
        key = (fill.venue, fill.account, fill.fill_id)
        if fill.fill_id and key in line_of:
            message = (
                f"fill {fill.fill_id} of {fill.venue} {fill.account} is in {line_of[key]} already: keep one"
            )
            problems.append(Problem(source, message))
        line_of.setdefault(key, source)
        fills.append(fill)
    if problems:
        raise DataError(problems)
    return tuple(fills)


def _check_header(header: list[str], name: str) -> None:
    known = {*REQUIRED, *OPTIONAL}
    problems = [Problem(f"{name}:1", f"column `{c}` is missing: add it") for c in REQUIRED if c not in header]
    problems += [
        Problem(f"{name}:1", f"unknown column `{column}`; columns are {', '.join((*REQUIRED, *OPTIONAL))}")
        for column in header
        if column not in known
    ]
    if len(set(header)) != len(header):
        problems.append(Problem(f"{name}:1", "a column is there twice: keep one"))
    if problems:
        raise DataError(problems)


def _fill(row: Mapping[str, str], source: str, problems: list[Problem]) -> Fill | None:
    """One row; its problems are added, and then there is no fill."""
    before = len(problems)

    def cell(column: str, read: Callable[[str], Value]) -> Value | None:
        try:
            return read(row.get(column, ""))
        except ValueError as error:
            problems.append(Problem(source, f"`{column}`: {error}"))
            return None

    time, side = cell("time", _time), cell("side", _side)
    contracts, price = cell("contracts", _contracts), cell("price", _amount)
    fee, closed = cell("fee_usd", _fee), cell("order_closed", _closed)
    for column in ("venue", "account", "symbol", "client_order_id"):
        cell(column, _text)
    if contracts is not None and contracts > 0:
        cell("fill_id", _text)
        if price is not None and price <= 0:
            problems.append(Problem(source, f"`price` is {price}: write the price of the fill, > 0"))
    elif contracts is not None and closed is False:
        problems.append(
            Problem(
                source, "`contracts` is 0: write those filled, or order_closed true where the order ended"
            )
        )
    if time is None or side is None or contracts is None or price is None or fee is None or closed is None:
        return None
    if len(problems) > before:
        return None
    names = {name: row[name] for name in ("venue", "account", "symbol", "client_order_id", "fill_id")}
    return Fill(
        source, time, **names, side=side, contracts=contracts, price=price, fee_usd=fee, closed=closed
    )


def _text(cell: str) -> str:
    if not cell or not cell.isprintable():
        raise ValueError("is empty or not plain text: write it")
    return cell


def _time(cell: str) -> datetime:
    try:
        time = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"cannot read {cell!r}; write ISO-8601 such as 2026-09-01T08:00:00Z") from None
    if time.tzinfo is None:
        raise ValueError(f"{cell} has no zone: end it with Z")
    return time


def _side(cell: str) -> OrderSide:
    if cell == "buy":
        return "buy"
    if cell == "sell":
        return "sell"
    raise ValueError(f"{cell!r} is neither buy nor sell")


def _amount(cell: str) -> Decimal:
    try:
        value = Decimal(cell)
    except InvalidOperation:
        raise ValueError(f"cannot read {cell!r}; write a plain number such as 0.25") from None
    if not value.is_finite() or "_" in cell or abs(value.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{cell!r} is not a finite plain number")
    return value


def _contracts(cell: str) -> Decimal:
    value = _amount(cell)
    if value < 0:
        raise ValueError(f"is {cell}: write the size > 0, and the direction in `side`")
    return value


def _fee(cell: str) -> Decimal:
    return _amount(cell) if cell else Decimal(0)


def _closed(cell: str) -> bool:
    if cell not in ("", "true", "false"):
        raise ValueError(f"{cell!r} is neither true nor false")
    return cell == "true"
