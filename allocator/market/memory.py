"""Stages of building a market, remembered: a sweep rebuilds only what its overrides touch.

A stage is a function of inputs that are all named. Scenario parts, numbers, texts and arrays count by their
content, anything else (tables, listings) by identity: it is itself the remembered result of an earlier stage.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel

from allocator.identity import ByIdentity
from allocator.market.universe import Findings

T = TypeVar("T")
_PRINTS, _TUPLES = 1024, 256


class Memory:
    """The last `size` results of each stage, with the notices that came with them; `size` 0 keeps none."""

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._kept: dict[str, OrderedDict[Hashable, tuple[Any, list[str], object]]] = {}
        self._prints = ByIdentity[Hashable](_PRINTS)
        self._tuples = ByIdentity[Hashable](_TUPLES)

    def stage(self, name: str, findings: Findings, make: Callable[[Findings], T], *inputs: object) -> T:
        """What `make` returns for these inputs, computed only where it is not remembered.

        Its notices are told each time. A result with problems is not kept: they cite lines of one scenario.
        """
        if self._size == 0:
            return make(findings)
        kept = self._kept.setdefault(name, OrderedDict())
        key = tuple(map(self._key, inputs))
        if key in kept:
            kept.move_to_end(key)
            result, notices, _ = kept[key]
            findings.notices += notices
            return result  # type: ignore[no-any-return]
        own = Findings()
        made = make(own)
        findings.notices += own.notices
        findings.problems += own.problems
        if not own.problems:
            # Inputs are kept too: an identity names nothing once its object is gone.
            kept[key] = (made, own.notices, inputs)
            if len(kept) > self._size:
                kept.popitem(last=False)
        return made

    def _key(self, value: object) -> Hashable:
        if value is None or isinstance(value, str | int | float | bool | datetime):
            return type(value), value
        if isinstance(value, np.ndarray):
            return value.shape, str(value.dtype), value.tobytes()
        if isinstance(value, BaseModel) or _is_models(value):
            return self._print_of(value)
        if type(value) is tuple:  # one of named fields is a thing of its own
            # Many stages ask of the same instruments, one by one.
            known = self._tuples.get(value)
            return self._tuples.put(value, tuple(map(self._key, value))) if known is None else known
        return "identity", id(value)

    def _print_of(self, value: object) -> Hashable:
        """The content of a scenario's part, read once while that part is about: parts never change."""
        known = self._prints.get(value)
        if known is not None:
            return known
        if isinstance(value, BaseModel):
            return self._prints.put(value, (type(value), value.model_dump_json()))
        assert isinstance(value, Mapping)
        return self._prints.put(value, tuple((name, self._print_of(item)) for name, item in value.items()))


def _is_models(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, BaseModel) for item in value.values())
