"""Quantities as people write them: ``24h``, ``5bp``, ``30%``, ``$1.2m``, ``10x``, ``3%/y``.

A scenario never holds a bare number whose unit could be mistaken. Each type below parses one kind of
quantity to a float in the program's unit, and writes it back in a form that parses to the same float.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNSIGNED = r"(?:\d+(?:_\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?"
_NUMBER = rf"[-+]?{_UNSIGNED}"
_HOURS = {"h": Decimal(1), "d": Decimal(24), "w": Decimal(168)}
_PARTS = {"bp": Decimal("1e-4"), "%": Decimal("1e-2")}
_MAGNITUDE = {"": Decimal(1), "k": Decimal("1e3"), "m": Decimal("1e6"), "bn": Decimal("1e9")}
_LONGEST_HOURS = 36_500 * 24.0  # times that far off are no dates any more
_PER_YEAR = {"y": Decimal(1), "d": Decimal(365)}


def _number(text: str, scale: Decimal = Decimal(1)) -> float:
    # Decimal, so that `0.07%` is the float 0.0007 itself and every float can be written in every unit.
    value = float(Decimal(text.replace("_", "")) * scale)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _hint(value: object, examples: str) -> ValueError:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return ValueError(f"{value!r} has no unit; write {examples}")
    return ValueError(f"cannot read {value!r}; write {examples}")


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0


def _match(pattern: str, value: object) -> re.Match[str] | None:
    # ASCII only: `\d` would otherwise take the digits of other scripts.
    return re.fullmatch(pattern, value.strip(), re.ASCII) if isinstance(value, str) else None


def parse_hours(value: object) -> float:
    """``24h``, ``90m``, ``3d``, ``1w`` in hours."""
    match = _match(rf"({_NUMBER})\s*(min|m|h|d|w)", value)
    if match is None:
        raise _hint(value, "a duration such as 24h, 90m or 3d")
    hours = _number(match[1], _HOURS[match[2]]) if match[2] in _HOURS else _number(match[1]) / 60
    if abs(hours) > _LONGEST_HOURS:
        raise ValueError(f"{value!r} is longer than a hundred years; write {_LONGEST_HOURS / 24:g}d at most")
    return hours


def parse_fraction(value: object) -> float:
    """``5bp`` or ``30%`` as a fraction (0.0005, 0.3). The number 0 needs no unit."""
    if _is_zero(value):
        return 0.0
    match = _match(rf"({_NUMBER})\s*(bp|%)", value)
    if match is None:
        raise _hint(value, "a share or rate such as 5bp or 30%")
    return _number(match[1], _PARTS[match[2]])


def parse_usd(value: object) -> float:
    """``$250``, ``$100k``, ``-$1.2m``, ``3bn USD`` in USD. The number 0 needs no unit."""
    if _is_zero(value):
        return 0.0
    match = _match(rf"([-+]?)\$({_UNSIGNED})\s*(k|m|bn)?", value)
    if match is not None:
        return _number(match[1] + match[2], _MAGNITUDE[match[3] or ""])
    match = _match(rf"({_NUMBER})\s*(k|m|bn)?\s*USD", value)
    if match is None:
        raise _hint(value, "an amount such as $250k or $1.2m")
    return _number(match[1], _MAGNITUDE[match[2] or ""])


def parse_multiple(value: object) -> float:
    """``10x`` as 10.0 (leverage, multiples of the book)."""
    match = _match(rf"({_NUMBER})\s*x", value)
    if match is None:
        raise _hint(value, "a multiple such as 10x")
    return _number(match[1])


def parse_yearly(value: object) -> float:
    """``3%/y`` or ``1bp/d`` as a fraction per year of 365 days. The number 0 needs no unit."""
    if _is_zero(value):
        return 0.0
    match = _match(rf"({_NUMBER})\s*(bp|%)\s*/\s*(y|d)", value)
    if match is None:
        raise _hint(value, "a yearly rate such as 3%/y")
    return _number(match[1], _PARTS[match[2]] * _PER_YEAR[match[3]])


def parse_funding_rate(value: object) -> float:
    """``1bp/8h`` or ``0.01%/8h`` as a fraction of notional per hour. The number 0 needs no unit."""
    if _is_zero(value):
        return 0.0
    match = _match(rf"({_NUMBER})\s*(bp|%)\s*/\s*(\d+)h", value)
    if match is None or int(match[3]) == 0:
        raise _hint(value, "a funding rate with its interval such as 1bp/8h")
    return _number(match[1], _PARTS[match[2]]) / int(match[3])


def _writer(suffix: str, exponent: int, prefix: str = "") -> Callable[[float], str]:
    """Text that parses to exactly the same float: its shortest decimal, moved by ``exponent`` places."""

    def write(value: float) -> str:
        # `+ 0.0` turns a negative zero into zero, so that equal numbers have one text.
        shifted = Decimal(repr(value + 0.0)).scaleb(-exponent).normalize()
        text = f"{shifted:f}" if -12 <= shifted.adjusted() <= 20 else f"{shifted:e}"
        return f"-{prefix}{text[1:]}{suffix}" if text.startswith("-") else f"{prefix}{text}{suffix}"

    return write


def _json(pattern: str, example: str, *, zero: bool) -> WithJsonSchema:
    text = {"type": "string", "pattern": pattern, "examples": [example]}
    return WithJsonSchema({"anyOf": [text, {"const": 0}], "examples": [example]} if zero else text)


Hours = Annotated[
    float,
    BeforeValidator(parse_hours),
    PlainSerializer(_writer("h", 0), return_type=str),
    _json(r"(min|m|h|d|w)$", "24h", zero=False),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    PlainSerializer(_writer("%", -2), return_type=str),
    _json(r"(bp|%)$", "5bp", zero=True),
]
Usd = Annotated[
    float,
    BeforeValidator(parse_usd),
    PlainSerializer(_writer("", 0, "$"), return_type=str),
    _json(r"^[-+]?\$|USD$", "$250k", zero=True),
]
Multiple = Annotated[
    float,
    BeforeValidator(parse_multiple),
    PlainSerializer(_writer("x", 0), return_type=str),
    _json(r"x$", "10x", zero=False),
]
Yearly = Annotated[
    float,
    BeforeValidator(parse_yearly),
    PlainSerializer(_writer("%/y", -2), return_type=str),
    _json(r"/\s*(y|d)$", "3%/y", zero=True),
]
FundingRate = Annotated[
    float,
    BeforeValidator(parse_funding_rate),
    PlainSerializer(_writer("bp/1h", -4), return_type=str),
    _json(r"/\s*\d+h$", "1bp/8h", zero=True),
]
