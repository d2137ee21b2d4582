"""Markup that cannot be forged: text is escaped where it enters an element, only `Html` is taken as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

_VOID = frozenset({"meta", "br", "hr", "line", "rect", "circle", "path", "polyline", "polygon"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = Html | str


def text(content: Content) -> Html:
    """Markup of a content: a plain string is escaped."""
    return content if isinstance(content, Html) else Html(escape(content, quote=True))


def join(parts: Iterable[Content], between: str = "") -> Html:
    """Contents one after the other."""
    return Html(between.join(map(text, parts)))


def el(tag: str, attributes: Mapping[str, str] | str, *children: Content) -> Html:
    """An element; attributes as a map, or as the class alone. Values and plain children are escaped."""
    named = {"class": attributes} if isinstance(attributes, str) and attributes else attributes
    pairs = named.items() if isinstance(named, Mapping) else ()
    opening = "".join(f' {name}="{escape(value, quote=True)}"' for name, value in pairs)
    if tag in _VOID and not children:
        return Html(f"<{tag}{opening}/>")
    return Html(f"<{tag}{opening}>{join(children)}</{tag}>")
