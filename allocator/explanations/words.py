"""Figures, prices and changes in words."""

from __future__ import annotations

import math

from allocator.explanations.figures import Figure
from allocator.explanations.prices import Price
from allocator.market.types import Market


def amount_text(unit: str, value: float) -> str:
    """A value with its unit: $212,400; 24.5%; 1.75x; small dollars keep their cents."""
    if unit == "USD":
        text = f"${abs(value):,.0f}" if abs(value) >= 1000 or value == 0 else f"${abs(value):,.4g}"
        return f"−{text}" if value < 0 else text
    if unit == "share":
        return f"{100 * value:.6g}%".replace("-", "−")
    return f"{value:.6g}x" if unit == "x" else f"{value:.6g}"


def change_text(market: Market, figure: Figure, to: float) -> str:
    """``add $212,400 of USDT on okx``, ``lower stress crash to 80% of its size``, ``raise … from … to …``."""
    if figure.kind == "collateral":
        _, venue, currency = figure.name.split(".", 2)
        return f"add {amount_text('USD', to - figure.value)} of {currency} on {venue}"
    if figure.kind == "stress":
        name = figure.name.partition(".")[2]
        share = math.floor(1e4 * to) / 1e2
        return f"lower the stress {name} to {share:g}% of its size{_moves(market, name, to)}"
    verb = "raise" if to > figure.value else "lower"
    before, after = amount_text(figure.unit, figure.value), amount_text(figure.unit, to)
    return f"{verb} {figure.name} from {before} to {after}"


def _moves(market: Market, name: str, size: float) -> str:
    """The largest move of the coins under a stress, before and after."""
    pnl = market.stresses.pnl[market.stresses.names.index(name)]
    move = float(pnl[abs(pnl).argmax()]) if len(pnl) else 0.0
    return f" (worst perp {move:+.1%} to about {move * size:+.1%})" if move else ""


def step_of(price: Price, book_usd: float) -> float:
    """What counts as one step of a figure: a hundredth of the book in round dollars, a point, 0.1x."""
    if price.unit == "USD":
        return float(10.0 ** round(math.log10(book_usd / 100)))
    return 0.01 if price.unit == "share" or price.kind == "stress" else 0.1


def sentence(price: Price, book_usd: float, decision_hours: float) -> str:
    """``One more $100,000 of USDT on okx saves $31.00 a day.``"""
    step = step_of(price, book_usd)
    period = "a day" if decision_hours == 24 else f"per {decision_hours:g} h"
    if price.saves_usd is None:
        return f"{price.name}: no price, because the cost budget is slack."
    money = price.saves_usd * step
    effect = f"{'saves' if money >= 0 else 'costs'} ${abs(money):,.2f} {period}"
    if price.kind == "collateral":
        _, venue, currency = price.name.split(".", 2)
        more = f"One more {amount_text('USD', step)} of {currency} on {venue}"
        return f"{more} {effect}{_charged(price, step)}."
    if price.kind == "stress":
        return f"{price.name} smaller by one per cent {effect}."
    room = "a percentage point" if price.unit == "share" else amount_text(price.unit, step)
    way = f"{room} more room" if price.relaxing and price.unit == "USD" else _way(price, room)
    costly = [_subject(s) for s, y in price.subjects if y * step >= 0.005 and s != "book"][:3]
    return f"{price.name}: {way} {effect}{' (' + ', '.join(costly) + ')' if costly else ''}."


def _subject(subject: str) -> str:
    """A limit's subject; of a position, which of its bounds."""
    name, _, side = subject.rpartition(" ")
    return f"{side} bound of {name}" if side in ("upper", "lower") else subject


def _way(price: Price, step: str) -> str:
    return f"{step} {'less' if price.relaxing < 0 else 'more'}"


def _charged(price: Price, step: float) -> str:
    """What holding collateral costs, beside what it does to limits."""
    if not price.charge_usd:
        return ""
    limits = ((price.saves_usd or 0.0) + price.charge_usd) * step
    does = f"limits {'save' if limits >= 0 else 'cost'} ${abs(limits):,.2f}"
    return f" (holding it costs ${price.charge_usd * step:,.2f}, {does})"
