"""Figures in their unit, as people read them in logs and pages."""

from __future__ import annotations


def amount(value: float | None, unit: str) -> str:
    """A value in its unit, short: $1,234, 1.2000%, 10x, 3 h; an absent one is a dash."""
    if value is None:
        return "–"
    if unit == "USD":
        return f"${value:,.0f}" if value >= 0 else f"−${-value:,.0f}"
    if unit == "fraction":
        return f"{value:.4%}"
    return f"{value:,.4g}{' ' if len(unit) > 1 else ''}{unit}"


def dollars(value: float | None) -> str:
    """$1,234, −$5.6k stays −$5,600; an absent number is a dash."""
    if value is None:
        return "–"
    text = f"${abs(value):,.0f}"
    return f"−{text}" if value <= -0.5 else text


def percent(value: float | None, digits: int = 1) -> str:
    """0.123 as 12.3 %."""
    return "–" if value is None else f"{value:.{digits}%}".replace("-", "−").replace("%", " %")
