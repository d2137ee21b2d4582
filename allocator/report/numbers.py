"""Numbers as people read them, each tagged with its exact value and where that stands in the run."""

from __future__ import annotations

from collections.abc import Callable

from allocator.report.html import Html, el
from allocator.report.nodes import Node

Form = Callable[[float], str]
_FINE = 100.0  # USD below which cents are shown


def _signed(shown: str) -> str:
    """A true minus sign; none before zero."""
    bare = shown.lstrip("-")
    return f"−{bare}" if shown.startswith("-") and any(c in "123456789" for c in bare) else bare


def dollars(value: float) -> str:
    """$1,234; cents below $100."""
    digits = 0 if abs(value) >= _FINE or value == 0 else 2
    return _signed(f"{'-' if value < 0 else ''}${abs(value):,.{digits}f}")


def percent(value: float) -> str:
    """0.1234 as 12.3 %."""
    return _signed(f"{value * 100:.1f} %")


def percent2(value: float) -> str:
    """0.99903 as 99.90 %."""
    return _signed(f"{value * 100:.2f} %")


def move(value: float) -> str:
    """+25.4 %: a price move."""
    return f"+{percent(value)}" if value > 0 else percent(value)


def sigmas(value: float) -> str:
    """8.8 sd."""
    return _signed(f"{value:.1f} sd")


def hours(value: float) -> str:
    """1.5 h."""
    return _signed(f"{value:,.1f} h")


def count(value: float) -> str:
    """1,234."""
    return _signed(f"{value:,.0f}")


def plain(value: float) -> str:
    """Five significant digits, without an exponent where that is readable."""
    if value == 0 or 1e-4 <= abs(value) < 1e9:
        shown = f"{value:,.5g}" if abs(value) < 1e4 else f"{value:,.0f}"
        return _signed(shown)
    return _signed(f"{value:.3g}")


def ratio(value: float) -> str:
    """1.23: a ratio of two figures."""
    return _signed(f"{value:.2f}")


def brief(value: float) -> str:
    """A swept value or a tick: 1.5m, 20k, 0.25, 1e-06."""
    size = abs(value)
    for unit, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if size >= unit:
            return _signed(f"{value / unit:.4g}{letter}")
    return _signed(f"{value:.4g}")


def price(value: float) -> str:
    """A shadow price: five digits; what a solver leaves of zero (below 1e-9) is 0."""
    return "0" if abs(value) < 1e-9 else plain(value)


def exact(value: float) -> str:
    """Every digit of a size in contracts or a price: 402,019 or 0.21226."""
    return _signed(f"{value:,.12g}" if abs(value) < 1e12 else f"{value:.12g}")


def of_unit(unit: str) -> Form:
    """How a value of a limit's unit is shown."""
    return dollars if unit == "USD" else plain


def shown(node: Node, form: Form) -> str:
    """The text alone."""
    value = node.number()
    return "–" if value is None else form(value)


def tag(node: Node, form: Form) -> Html:
    """``<data>`` with the exact value and its pointer; a dash for what is null."""
    value = node.number()
    if value is None:
        return el("span", {"class": "none", "data-key": node.pointer}, "–")
    return el("data", {"value": node.exact(), "data-key": node.pointer}, form(value))


def size(node: Node, form: Form) -> Html:
    """The same without its sign, where words tell it: "earns", "pays"."""
    value = node.number()
    if value is None:
        return tag(node, form)
    attributes = {"value": node.exact(), "data-key": node.pointer, "data-shown": "size"}
    return el("data", attributes, form(abs(value)))
