"""Parts of a program's numbers, remembered: cells of a sweep share most of what they are made of.

A part is a function of named inputs. Objects count by identity (markets are frozen, and what cells share is
one object in all of them), plain numbers and texts by value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Parts:
    """The last `size` results of each part; `size` 0 keeps none."""

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self._kept: dict[str, OrderedDict[Hashable, tuple[Any, object]]] = {}

    def __call__(self, name: str, make: Callable[[], T], *inputs: object) -> T:
        """What `make` returns for these inputs, computed only where it is not remembered."""
        if self._size == 0:
            return make()
        kept = self._kept.setdefault(name, OrderedDict())
        key = tuple(x if isinstance(x, float | str | bool | int) else id(x) for x in inputs)
        found = kept.get(key)
        if found is not None:
            return found[0]  # type: ignore[no-any-return]
        made = make()
        # Inputs are kept too: an identity names nothing once its object is gone.
        kept[key] = (made, inputs)
        if len(kept) > self._size:
            kept.popitem(last=False)
        return made


AFRESH = Parts()
