"""What was made of things, remembered by their identity, which costs nothing to compare."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class ByIdentity(Generic[T]):
    """The latest `size` values. Things must not change; they are kept, so that an identity stays its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[int, tuple[object, T]] = OrderedDict()

    def get(self, thing: object) -> T | None:
        """The value of a thing, None where there is none."""
        found = self._kept.get(id(thing))
        return None if found is None else found[1]

    def put(self, thing: object, value: T) -> T:
        """Remember the value of a thing, and return it."""
        self._kept[id(thing)] = (thing, value)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value
