"""How many random problems the long tests draw: a part in every run, all of them when asked.

``HEDGE_SAMPLES=full python -m pytest -m long tests/explain`` draws the full counts; it takes about an hour on
two cores, where every run of the project's own checks must stay under twenty minutes.
"""

from __future__ import annotations

import os

FULL = os.environ.get("HEDGE_SAMPLES") == "full"


def chunks(full: int, part: int, size: int, first: int = 0) -> list[range]:
    """Consecutive seeds from `first`, in chunks of `size`, a test each: `full` when asked, else `part`."""
    last = first + (full if FULL else part)
    return [range(start, min(start + size, last)) for start in range(first, last, size)]
