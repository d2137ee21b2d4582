"""Printed tables: at any width every figure is whole, every name is there, no row label is lost."""

import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.text import Text

from allocator.plain_tables import page_text, plain_table

NAMES = ("BTC", "hyperliquid", "one_to_one.binance", "collateral_currency_share", "held until it arrives")


def _rows(seed: int) -> list[tuple[str, str, str, str]]:
    draw = np.random.default_rng(seed)
    names = draw.permutation(NAMES)
    return [
        (str(name), f"−${draw.integers(10**9):,}", f"{draw.random():.2%}", f"daily.yaml:{draw.integers(99)}")
        for name in names
    ]


@pytest.mark.parametrize("width", [10, 40, 60, 80, 200])
@pytest.mark.parametrize("seed", range(5))
def test_a_narrow_page_cuts_nothing(width, seed):
    rows = _rows(seed)
    table = plain_table("A table", "name", ">amount in USD", ">share", "set in")
    for name, amount, share, source in rows:
        table.add_row(name, Text(amount), share, source)
    text = page_text(table, width)
    assert "…" not in text
    for name, amount, share, source in rows:
        # Figures stand unbroken, in the line that begins the row of their name.
        (line,) = (line for line in text.splitlines() if amount in line)
        assert re.match(re.escape(name[:3]), line)
        assert share in line
        assert source in line
    # A name may be folded, but no character of it is gone.
    start = slice(0, min(line.index("−$") for line in text.splitlines() if "−$" in line))
    labels = "".join(line[start] for line in text.splitlines()[2:]).replace(" ", "")
    assert all(name.replace(" ", "") in labels for name, *_ in rows)


def test_a_page_is_as_wide_as_asked_where_its_tables_fit():
    table = plain_table("A table", "name", ">amount", "why")
    table.add_row("BTC", "$1", "a sentence that is longer than the page is wide " * 3)
    assert max(map(cell_len, page_text(table, 50).splitlines())) <= 50


def test_lines_do_not_end_in_blanks():
    table = plain_table("A table", "name", "why")
    table.add_row("BTC", "")
    table.add_row("a longer name", "why")
    assert not any(line.endswith(" ") for line in page_text(table, 50).splitlines())
