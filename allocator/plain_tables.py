"""How tables and figures look on a terminal page."""

from __future__ import annotations

from rich.table import Table


def dollars(value: float | None) -> str:
    """$1,234, −$5.6k stays −$5,600; an absent number is a dash."""
    if value is None:
        return "–"
    text = f"${abs(value):,.0f}"
    return f"−{text}" if value <= -0.5 else text


def percent(value: float | None, digits: int = 1) -> str:
    """0.123 as 12.3 %."""
    return "–" if value is None else f"{value:.{digits}%}".replace("-", "−").replace("%", " %")


def plain_table(title: str, *columns: str) -> Table:
    """A plain table; a column whose name starts with > is right-aligned."""
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.lstrip(">"), justify="right" if right else "left", header_style="dim", no_wrap=right
        )
    return table
