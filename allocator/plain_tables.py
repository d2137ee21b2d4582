"""How tables look on a terminal page."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

_LONGEST_WORD = 14  # characters: longer words may be folded where the page is narrow


class WholeTable(Table):
    """A table that never drops a column nor cuts a figure: too narrow a page makes its lines longer."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render at the width of the page, or at the least width that shows everything."""
        for column in self.columns:
            column.min_width = _least(column)
        _, right, _, left = self.padding
        least = sum((column.min_width or 0) + left + right for column in self.columns)
        return super().__rich_console__(console, options.update_width(max(options.max_width, least)))


def _least(column: Column) -> int:
    """Characters that a column needs: its longest line, or where it may wrap its longest word."""
    texts = [_plain(cell) for cell in (column.header, *column.cells)]
    if column.no_wrap:
        return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)
    words = (word for text in texts for word in re.findall(r"\S+", text))
    return min(max(map(cell_len, words), default=0), _LONGEST_WORD)


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def page_text(page: RenderableType, width: int | None = None) -> str:
    """A page as text for stdout, `width` characters wide, or as wide as the terminal is; colours only there.

    Tables that need more are wider than that: what is piped or scrolled is whole.
    """
    # File and venue names are text, never markup.
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as captured:
        console.print(page, crop=False)
    return "".join(f"{line.rstrip(' ')}\n" for line in captured.get().splitlines())


def plain_table(title: str, *columns: str) -> Table:
    """A plain table; a column whose name starts with > is right-aligned."""
    table = WholeTable(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.lstrip(">"),
            justify="right" if right else "left",
            header_style="dim",
            no_wrap=right,
            overflow="fold",
        )
    return table
