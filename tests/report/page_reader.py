"""A page as a browser's parser sees it: tags with their attributes and texts, and every tagged number."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

VOID = {"meta", "br", "hr", "input", "link", "img", "line"}


@dataclass
class Element:
    """One element; `text` is all text below it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    path: tuple[str, ...] = field(default=())


class Reader(HTMLParser):
    """All elements of a page in document order; unclosed or crossed tags are an error."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page)
        self.close()
        assert not self._open, [e.tag for e in self._open]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {k: v or "" for k, v in attrs}, path=tuple(e.tag for e in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def of(self, tag: str, **attributes: str) -> list[Element]:
        """Elements of a tag with these attributes."""
        return [e for e in self.elements if e.tag == tag and attributes.items() <= e.attributes.items()]


def files_of(run: Path) -> dict[str, Any]:
    """The files of a run that a pointer may name, as data."""
    found: dict[str, Any] = {path.name: json.loads(path.read_text()) for path in run.glob("*.json")}
    for path in run.glob("*.csv"):
        found[path.name] = list(csv.DictReader(io.StringIO(path.read_text())))
    for path in run.glob("*.parquet"):
        found[path.name] = pd.read_parquet(path)
    return found


def resolve(files: dict[str, Any], pointer: str) -> Any:
    """What stands at a pointer: file, #, RFC 6901."""
    name, _, path = pointer.partition("#")
    found = files[name]
    if isinstance(found, pd.DataFrame):
        return of_table(found, path)
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def of_table(table: pd.DataFrame, path: str) -> Any:
    """A cell, /row/column, or a number of many rows: how(column)?key=value&key=value."""
    if path.startswith("/"):
        row, column = path[1:].split("/", 1)
        value = table[column].iat[int(row)]
        return None if pd.isna(value) else value
    how, column, where = re.fullmatch(r"(\w+)\(([^)]*)\)(?:\?(.*))?", path).groups()
    for part in filter(None, (where or "").split("&")):
        key, _, value = part.partition("=")
        kept = table[key]
        table = table[kept == float(value)] if kept.dtype.kind == "f" else table[kept.astype(str) == value]
    return getattr(table[column].dropna(), how)()


def shown_number(text: str) -> tuple[float, float]:
    """The number that a text shows, and half a unit of its last digit."""
    text, large = (text[:-1], {"k": 1e3, "m": 1e6}[text[-1]]) if text[-1:] in ("k", "m") else (text, 1.0)
    match = re.fullmatch(r"([+−]?)\$?([\d,]+(?:\.\d+)?)(?:e([+-]?\d+))?( %| sd| h)?", text)
    assert match, text
    sign, digits, power, unit = match.groups()
    scale = 10.0 ** int(power or 0) * (0.01 if unit == " %" else large)
    decimals = len(digits.partition(".")[2])
    value = float(digits.replace(",", "")) * scale
    return (-value if sign == "−" else value), 0.5 * 10.0**-decimals * scale


def check_numbers(read: Reader, files: dict) -> int:
    """Each tagged number is exactly the run's, and its text is that number rounded as shown."""
    checked = 0
    for element in read.elements:
        if (pointer := element.attributes.get("data-key")) is None:
            continue
        there = resolve(files, pointer)
        if (bare := element.attributes.get("data-exact")) is not None:
            # A tile without room for its number.
            assert float(bare) == pytest.approx(float(there), rel=1e-12), pointer
            checked += 1
            continue
        exact = element.attributes.get("value", element.attributes.get("data-value"))
        if exact is None:
            assert element.text == "–", pointer
            assert there is None or there == "", pointer
            continue
        # Sums over rows may be added up in another order.
        near = 1e-12 if "(" in pointer else 0.0
        assert abs(float(exact) - float(there)) <= near * abs(float(there)), pointer
        shown, half = shown_number(element.text)
        wanted = abs(float(there)) if element.attributes.get("data-shown") == "size" else float(there)
        slack = half if element.text not in ("0", "−0") else max(half, 1e-9) * (half < 1) + 1e-9
        # Five significant digits of a large number show no decimals: half of its fifth digit is allowed.
        digits = 0.5 * 10.0 ** (math.floor(math.log10(abs(wanted))) - 4) if wanted else 0.0
        plain = not re.search("[$%]| sd| h", element.text)
        assert abs(shown - wanted) <= 1.000001 * max(slack, digits if plain else 0.0), pointer
        checked += 1
    return checked
