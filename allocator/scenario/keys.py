"""What may stand at each place of a scenario, read off the pydantic models of :mod:`.schema`.

Merging, error messages, the resolved file and the reference page all need to know whether a map has fixed
keys or names chosen by the user, what a value's unit is, and what its default is. They ask this module.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import AwareDatetime, BaseModel, BeforeValidator, PlainSerializer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from allocator import units
from allocator.scenario.schema import Scenario

# What a value of each unit is called in a message or table, by the function that reads it.
_UNITS: Mapping[object, tuple[str, str]] = {
    units.parse_hours: ("duration", "a duration such as 24h, 90m or 3d"),
    units.parse_fraction: ("share or rate", "a share or rate such as 5bp or 30%"),
    units.parse_usd: ("USD amount", "an amount such as $250k or $1.2m"),
    units.parse_multiple: ("multiple", "a multiple such as 10x"),
    units.parse_yearly: ("yearly rate", "a yearly rate such as 3%/y"),
    units.parse_funding_rate: ("funding rate", "a funding rate with its interval such as 1bp/8h"),
}
_PLAIN: Mapping[object, tuple[str, str]] = {
    float: ("number", "a number"),
    int: ("whole number", "a whole number"),
    bool: ("true or false", "`true` or `false`"),
    str: ("text", "text"),
    AwareDatetime: ("time", "a time with its zone such as 2026-09-01T00:00:00Z"),
}

_PART = re.compile(r'\[(\d+)\]|(\.?)(?:"([^"]*)"|([^."\[\]]+))')


@dataclass(frozen=True)
class Shape:
    """What may stand at one place: a model (`fields`), a map of names (`entries`), a list (`items`), a
    union told apart by `kind` (`kinds`), or a value; `choices` are fixed texts allowed there. `read` and
    `to_text` are those of a quantity with a unit.
    """

    label: str
    write: str
    fields: Mapping[str, Key] = field(default_factory=dict)
    kinds: Mapping[str, Shape] = field(default_factory=dict)
    entries: Shape | None = None
    items: Shape | None = None
    choices: tuple[str, ...] = ()
    nullable: bool = False
    bounds: tuple[str, ...] = ()
    to_text: Callable[[float], str] | None = None
    read: Callable[[object], float] | None = None
    doc: str = ""
    name: str = ""

    def child(self, key: str | int) -> Shape | None:
        """The shape one key or index further down; None when there is none."""
        if isinstance(key, int):
            return self.items
        if self.entries is not None:
            return self.entries
        return self.fields[key].shape if key in self.fields else None


@dataclass(frozen=True)
class Key:
    """A fixed key of a model. ``default`` is the model's value; it has no meaning when ``required``."""

    shape: Shape
    required: bool
    default: object
    description: str


@cache
def scenario_shape() -> Shape:
    """The shape of a whole scenario."""
    return _of_model(Scenario)


def model_shape(model: type[BaseModel]) -> Shape:
    """The shape of another file that is validated like a scenario."""
    return _of_model(model)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, None when none is close."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggest(name: str, known: Iterable[str]) -> str:
    """``did you mean `x`?``, or the list of what is known."""
    names = sorted(known)
    near = nearest(name, names)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"known: {', '.join(names)}" if names else "there is none"


def dotted(path: Sequence[str | int]) -> str:
    """``limits.btc.venues[0]``; a key that holds a dot stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = f'"{part}"' if "." in part or not part else part
            text += f".{shown}" if text else shown
    return text


def parse_dotted(text: str) -> tuple[str | int, ...]:
    """The path that :func:`dotted` writes as ``text``. Raises KeyError when it cannot be read."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or (match[1] is None and bool(match[2]) != bool(parts)):
            raise KeyError(text)
        quoted, bare = match[3], match[4]
        parts.append(int(match[1]) if match[1] is not None else quoted if quoted is not None else bare)
        position = match.end()
    return tuple(parts)


def _of_model(model: type[BaseModel]) -> Shape:
    hints = get_type_hints(model, include_extras=True)
    keys = {}
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True) if not info.is_required() else PydanticUndefined
        shape = _of(hints[name], ())
        keys[info.alias or name] = Key(shape, info.is_required(), default, info.description or "")
    return Shape("map", "a map of keys", fields=keys, doc=(model.__doc__ or "").strip(), name=model.__name__)


def _of(annotation: Any, metadata: tuple[object, ...]) -> Shape:  # noqa: ANN401
    if get_origin(annotation) is Annotated:
        base, *extra = get_args(annotation)
        return _of(base, (*metadata, *_flat(extra)))
    if get_origin(annotation) in (Union, types.UnionType):
        return _of_union(get_args(annotation), metadata)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _of_model(annotation)
    if get_origin(annotation) is dict:
        entries = _of(get_args(annotation)[1], ())
        return Shape("map of names", "a map of names", entries=entries, bounds=_bounds(metadata, None))
    if get_origin(annotation) is list:
        items = _of(get_args(annotation)[0], ())
        if items.choices:
            return Shape(f"list of {items.label}", f"a list in brackets of {items.write}", items=items)
        rows = items.fields or items.kinds or items.entries is not None
        what = "list of names" if items.label == "text" else "list of rows" if rows else "list of values"
        return Shape(what, f"a {what} in brackets", items=items)
    if get_origin(annotation) is Literal:
        return _of_choices(get_args(annotation))
    if annotation is Any:
        return Shape("value", "a value")
    return _of_value(annotation, metadata)


def _of_choices(values: tuple[object, ...]) -> Shape:
    texts = tuple(value for value in values if isinstance(value, str))
    shown = " or ".join(f"`{value}`" for value in values)
    return Shape(shown, shown, choices=texts)


def _of_union(members: tuple[Any, ...], metadata: tuple[object, ...]) -> Shape:
    parts = [member for member in members if member is not type(None)]
    nullable = len(parts) < len(members)
    if len(parts) == 1:
        return replace(_of(parts[0], metadata), nullable=nullable)
    if all(isinstance(part, type) and issubclass(part, BaseModel) for part in parts):
        kinds = {get_args(part.model_fields["kind"].annotation)[0]: _of_model(part) for part in parts}
        return Shape("map", f"a map with `kind`, one of {', '.join(kinds)}", kinds=kinds, nullable=nullable)
    # The fixed text may stand on either side of the union; `sorted` keeps the order of equals.
    literal, other = sorted((_of(part, ()) for part in parts), key=lambda shape: not shape.choices)
    label, write = f"{literal.label} or {other.label}", f"{literal.write} or {other.write}"
    return replace(other, label=label, write=write, choices=literal.choices, nullable=nullable)


def _of_value(kind: object, metadata: tuple[object, ...]) -> Shape:
    label, write = _PLAIN[kind]
    to_text: Callable[[float], str] | None = None
    read: Callable[[object], float] | None = None
    for item in metadata:
        if isinstance(item, BeforeValidator) and item.func in _UNITS:
            label, write = _UNITS[item.func]
            read = item.func  # type: ignore[assignment]
        if isinstance(item, PlainSerializer):
            to_text = item.func  # type: ignore[assignment]
    return Shape(label, write, bounds=_bounds(metadata, to_text), to_text=to_text, read=read)


def _flat(metadata: Iterable[object]) -> list[object]:
    return [
        part
        for item in metadata
        for part in ((item, *item.metadata) if isinstance(item, FieldInfo) else (item,))
    ]


def _bounds(metadata: Iterable[object], to_text: Callable[[float], str] | None) -> tuple[str, ...]:
    def text(value: object) -> str:
        return to_text(float(value)) if to_text and isinstance(value, int | float) else str(value)

    found = []
    for item in metadata:
        if isinstance(item, annotated_types.Gt):
            found.append(f"more than {text(item.gt)}")
        elif isinstance(item, annotated_types.Ge):
            found.append(f"at least {text(item.ge)}")
        elif isinstance(item, annotated_types.Lt):
            found.append(f"less than {text(item.lt)}")
        elif isinstance(item, annotated_types.Le):
            found.append(f"at most {text(item.le)}")
        elif isinstance(item, annotated_types.MinLen):
            found.append(f"at least {item.min_length} entry")
    return tuple(found)
