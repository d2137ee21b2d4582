"""YAML text to a tree of values that know the file and line they came from.

The tree is built from ruamel.yaml's parser events, not by a loader: nothing can be constructed but text,
numbers, booleans, null, lists and maps. Plain scalars follow the core schema of YAML 1.2
(yaml.org/spec/1.2.2, chapter 10.3): ``1e-4`` is a number, ``yes`` and ``2026-09-01`` are text.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from allocator.errors import Problem, ScenarioError

MAX_BYTES = 10_000_000
MAX_NODES = 200_000  # after aliases are expanded
MAX_DEPTH = 40

Scalar: TypeAlias = str | int | float | bool | None
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"
KeyPath: TypeAlias = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}


@dataclass(frozen=True)
class Origin:
    """Where a value was set: a file (named relative to the main scenario's folder) and its line from 1.

    ``line`` is None for the two sources that are no file: ``default`` and ``--set``.
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Node:
    """A value with its origin. ``touched`` is the origin of the last layer that changed it or its content."""

    value: Scalar | dict[str, Node] | list[Node]
    origin: Origin
    touched: Origin

    def entries(self) -> dict[str, Node]:
        """The map's entries; none when this is no map."""
        return self.value if isinstance(self.value, dict) else {}


def node(value: Scalar | dict[str, Node] | list[Node], origin: Origin) -> Node:
    """A value just read: the origin is also the last touch."""
    return Node(value, origin, origin)


def from_plain(value: object, origin: Origin) -> Node:
    """Wrap plain Python values (maps of text, lists, scalars) as if read at ``origin``."""
    if isinstance(value, Mapping):
        return node({str(key): from_plain(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, list):
        return node([from_plain(item, origin) for item in value], origin)
    if value is None or isinstance(value, str | int | float | bool):
        return node(value, origin)
    raise TypeError(f"{type(value).__name__} is no scenario value")


def plain(tree: Node) -> Plain:
    """The tree's values without their origins."""
    if isinstance(tree.value, dict):
        return {key: plain(item) for key, item in tree.value.items()}
    if isinstance(tree.value, list):
        return [plain(item) for item in tree.value]
    return tree.value


def height(tree: Node) -> int:
    """Levels of maps and lists in the tree; 0 for a scalar."""
    if isinstance(tree.value, dict):
        return 1 + max(map(height, tree.value.values()), default=0)
    if isinstance(tree.value, list):
        return 1 + max(map(height, tree.value), default=0)
    return 0


def walk(tree: Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
    """Every node below and including ``tree`` with its path."""
    yield path, tree
    if isinstance(tree.value, dict):
        for key, item in tree.value.items():
            yield from walk(item, (*path, key))
    elif isinstance(tree.value, list):
        for index, item in enumerate(tree.value):
            yield from walk(item, (*path, index))


def read_file(path: Path, name: str, named_at: str | None = None) -> Node:
    """Read one YAML file; ``name`` is what its lines are called by, ``named_at`` where it was asked for.

    Raises ScenarioError when it is missing, no regular file, too large, not UTF-8 or not valid YAML.
    """
    where = named_at or name
    if not path.exists():
        raise ScenarioError([Problem(where, f"there is no file {name}; check the path")])
    if not path.is_file():
        raise ScenarioError([Problem(where, f"{name} is not a file; name a YAML file")])
    if path.stat().st_size > MAX_BYTES:
        raise ScenarioError([Problem(where, f"{name} is larger than {MAX_BYTES} bytes; use table files")])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError([Problem(where, f"cannot read {name}: {error.strerror}")]) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ScenarioError([Problem(f"{name}:{line}", "not UTF-8 text; save the file as UTF-8")]) from error
    tree = parse(text, name)
    if not isinstance(tree.value, dict):
        raise ScenarioError([Problem(str(tree.origin), "a scenario is a map; write `key: value` lines")])
    return tree


def name_beside(name: str, other: str) -> str:
    """What lines of the file ``other`` are called by, when the file called ``name`` names it.

    Relative to the main scenario's folder, and never with a folder of this machine: results are compared.
    """
    if Path(other).is_absolute():
        return PurePosixPath(Path(other).as_posix()).name
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), Path(other).as_posix()))


def parse(text: str, name: str, *, lines: bool = True) -> Node:
    """Build the tree of one YAML document. With ``lines=False`` (``--set``) origins carry the name alone."""
    builder = _Builder(name, lines)
    try:
        return builder.document(text)
    except ReaderError as error:
        line = text[: int(error.position)].count("\n") + 1
        raise ScenarioError([Problem(builder.at(line), "a character YAML forbids; remove it")]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else min(int(mark.line) + 1, max(1, len(text.splitlines())))
        raise ScenarioError([Problem(builder.at(line), _syntax(error))]) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise ScenarioError([Problem(builder.at(1), f"not valid YAML: {error}")]) from error


def _syntax(error: MarkedYAMLError) -> str:
    what = " ".join(str(error.problem or error.context or "syntax error").split())
    if "'\\t'" in what:
        return "a tab between tokens; indent with spaces"
    if "cannot start any token" in what:
        return f"not valid YAML: {what}; put the value in quotes"
    if what == "mapping values are not allowed here":
        return "not valid YAML: a second `: ` on this line or a wrong indentation; quote text that holds `: `"
    context = f" {error.context}" if error.context and error.context != what else ""
    return f"not valid YAML: {what}{context}; check brackets, quotes and indentation"


@dataclass
class _Builder:
    """State of one document: anchors seen, nodes counted, problems collected."""

    name: str
    lines: bool
    anchors: dict[str, tuple[Node, int]] = field(default_factory=dict)
    count: int = 0
    problems: list[Problem] = field(default_factory=list)

    def at(self, line: int) -> str:
        return str(self.origin(line))

    def origin(self, line: int) -> Origin:
        return Origin(self.name, line if self.lines else None)

    def document(self, text: str) -> Node:
        root: Node | None = None
        events = iter(YAML(typ="safe", pure=True).parse(text))
        for event in events:
            if not isinstance(event, DocumentStartEvent):
                continue
            if root is not None:
                self._fail(event, "a second document (`---`); write one document per file")
            root = self._node(next(events), events, 0)
        if root is None:
            raise ScenarioError([Problem(self.at(1), "the file is empty; write a scenario")])
        if self.problems:
            raise ScenarioError(self.problems)
        return root

    def _fail(self, event: Event, message: str) -> None:
        self.problems.append(Problem(self.at(_line(event)), message))

    def _take(self, event: Event, nodes: int, depth: int) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            self._fail(event, f"more than {MAX_NODES} values once aliases are expanded; use table files")
            raise ScenarioError(self.problems)
        if depth > MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
            raise ScenarioError(self.problems)

    def _node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        before = self.count
        self._take(event, 1, depth)
        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        self._check_tag(event)
        if isinstance(event, ScalarEvent):
            built = node(self._scalar(event), self.origin(_line(event)))
        elif isinstance(event, SequenceStartEvent):
            built = self._list(event, events, depth)
        else:
            built = self._map(event, events, depth)
        # Known only once complete, so that an anchor cannot hold itself.
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = (built, self.count - before)
        return built

    def _alias(self, event: AliasEvent, depth: int) -> Node:
        if event.anchor not in self.anchors:
            self._fail(event, f"`*{event.anchor}` has no complete anchor `&{event.anchor}` before it")
            return node(None, self.origin(_line(event)))
        target, size = self.anchors[event.anchor]
        self._take(event, size, depth + height(target))
        return target

    def _check_tag(self, event: Event) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fail(event, f"the tag {tag} is not allowed; write the plain value")

    def _list(self, start: Event, events: Iterator[Event], depth: int) -> Node:
        items: list[Node] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
        return node(items, self.origin(_line(start)))

    def _map(self, start: Event, events: Iterator[Event], depth: int) -> Node:
        if not isinstance(start, MappingStartEvent):
            raise ValueError(f"unexpected {type(start).__name__}")
        entries: dict[str, Node] = {}
        first: dict[str, int] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, events, depth)
            value = self._node(next(events), events, depth + 1)
            if key is None:
                continue
            if key in entries:
                self._fail(event, f"`{key}` is written twice, first on line {first[key]}; keep one of them")
                continue
            # An entry's line is its key's line: that is where one looks for it.
            first[key] = _line(event)
            at = self.origin(first[key])
            entries[key] = Node(value.value, at, at)
        return node(entries, self.origin(_line(start)))

    def _key(self, event: Event, events: Iterator[Event], depth: int) -> str | None:
        if not isinstance(event, ScalarEvent):
            self._fail(event, "a key must be text, not a list, map or alias")
            if not isinstance(event, AliasEvent):
                self._node(event, events, depth + 1)
            return None
        self._check_tag(event)
        if event.anchor is not None:
            self._fail(event, "a key cannot carry an anchor; put it on the value")
        key = self._scalar(event)
        if key == "<<" and _is_plain(event):
            self._fail(event, "merge keys `<<` are not allowed; use `extends` or an overlay")
            return None
        if not isinstance(key, str):
            self._fail(event, f'the key {event.value or "null"} is not text; write "{event.value}" in quotes')
            return None
        return key

    def _scalar(self, event: ScalarEvent) -> Scalar:
        text = str(event.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._fail(event, "half of a surrogate pair is no character; write the character itself")
        if not _is_plain(event):
            return text
        try:
            return resolve_plain(text)
        except ValueError as error:
            self._fail(event, str(error))
            return 0.0


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises ValueError for numbers that are not finite."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 400:
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a finite number; write a number or leave the key out")
    if not _FLOAT.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large for a number; write a smaller one")
    return number


def _is_plain(event: ScalarEvent) -> bool:
    return event.style is None and event.tag is None


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1
