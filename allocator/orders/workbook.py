"""A run as a workbook for people: orders, transfers, before and after, checks. Every cell is text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from allocator.errors import Problem, ScenarioError
from allocator.orders.order_list import cents

Row = Mapping[str, Any]
_WIDEST = 60


def workbook(result: Row, orders: Sequence[Row], checks: Sequence[Row]) -> bytes:
    """The workbook's bytes. Raises `ScenarioError` where the extra `excel` is not installed.

    Numbers are decimal strings, sizes on the lot and prices on the tick, and no cell is a formula.
    """
    try:
        import openpyxl  # type: ignore[import-untyped]
    except ImportError as error:
        message = "a workbook needs openpyxl: pip install 'hedge-allocator[excel]'"
        raise ScenarioError([Problem("--format xlsx", message)]) from error
    book = openpyxl.Workbook()
    book.remove(book.active)
    sheets = {
        "Orders": orders,
        "Transfers": [{**row, "amount_usd": _usd(row, "amount_usd"), "cost_usd": _usd(row, "cost_usd")}
                      for row in result["transfers"]],
        "Before and after": before_and_after(result, orders),
        "Checks": checks,
    }  # fmt: skip
    for name, rows in sheets.items():
        _fill(book.create_sheet(name), rows)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def before_and_after(result: Row, orders: Sequence[Row]) -> list[dict[str, str]]:
    """Every instrument's position before and after the orders, exact in contracts, USD at the mark."""
    ends = {_key(order): order["position_target_contracts"] for order in orders}
    units = {_key(unit): unit for unit in result["instruments"]}
    return [
        {
            **{name: row[name] for name in ("venue", "account", "symbol", "asset")},
            "before_contracts": units[_key(row)]["held_contracts"],
            "after_contracts": ends.get(_key(row), units[_key(row)]["held_contracts"]),
            "before_usd": _usd(row, "previous_usd"),
            "after_usd": _usd(row, "rounded_usd"),
            "trade_usd": _usd(row, "trade_usd"),
        }
        for row in result["positions"]
    ]


def _key(row: Row) -> tuple[str, str, str]:
    return row["venue"], row["account"], row["symbol"]


def _usd(row: Row, name: str) -> str:
    return cents(row[name])


def _fill(sheet: Any, rows: Sequence[Row]) -> None:  # noqa: ANN401
    columns = list(dict.fromkeys(key for row in rows for key in row)) or ["none"]
    for at, column in enumerate(columns, start=1):
        texts = [column, *(_text(row.get(column)) for row in rows)]
        for line, text in enumerate(texts, start=1):
            _write(sheet.cell(line, at), text)
        sheet.column_dimensions[sheet.cell(1, at).column_letter].width = min(
            2 + max(map(len, texts)), _WIDEST
        )
    sheet.freeze_panes = "A2"


def _write(cell: Any, text: str) -> None:  # noqa: ANN401
    """Text, whatever it starts with: neither a formula nor a number that a spreadsheet would round."""
    cell.value = text
    cell.data_type = "s"
    cell.quotePrefix = True


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = format(value, ".12g") if isinstance(value, float) else str(value)
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
