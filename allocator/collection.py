"""The interpreter's search for circular garbage, kept out of short stretches of many small objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """No search for circular garbage within: thousands of small objects would set off one after another.

    A search walks over everything alive, compiled programs too, and takes some per cent of a sweep's cell.
    What is left behind is found afterwards.
    """
    there = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if there:
            gc.enable()
