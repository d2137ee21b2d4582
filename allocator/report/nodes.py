"""Values of a run's files with their place in them, so that a page can say where each number is from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """A value and its pointer: file, ``#`` and an RFC 6901 JSON pointer (rows of a csv count from 0)."""

    value: Any
    pointer: str

    def __getitem__(self, key: str | int) -> Node:
        """A member; `KeyError` or `IndexError` when there is none."""
        name = str(key).replace("~", "~0").replace("/", "~1")
        return Node(self.value[key], f"{self.pointer}/{name}")

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def __iter__(self) -> Iterator[Node]:
        """Elements of a list."""
        return (self[k] for k in range(len(self.value)))

    def __bool__(self) -> bool:
        return bool(self.value)

    def get(self, *keys: str) -> Node | None:
        """A member of members; None where a key is absent or its value null."""
        found = self
        for key in keys:
            if not isinstance(found.value, dict) or key not in found.value:
                return None
            found = found[key]
        return None if found.value is None else found

    def number(self) -> float | None:
        """The value as a float, also of a csv's text; None for null and empty text."""
        return None if self.value is None or self.value == "" else float(self.value)

    def exact(self) -> str:
        """A number as its file writes it."""
        return self.value if isinstance(self.value, str) else repr(self.value)

    def __str__(self) -> str:
        return "–" if self.value is None or self.value == "" else str(self.value)
