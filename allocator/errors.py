"""The error tree, and the exit code each error ends a command with.

::

    HedgeError
    ├── ScenarioError    2   a scenario, overlay or option is wrong; fix the named lines
    ├── DataError        4   a table is missing, stale or bad; fix or refresh the data
    ├── Infeasible       3   the limits cannot hold together; `.conflict` and `.ways_out`
    ├── SolverFailed     5   the solver gave up or the program is unbounded
    ├── AuditFailed      5   an answer came back but did not survive the audit
    └── Refused          6   a pre-trade check withheld the orders

None is worth retrying unchanged: the program is deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from allocator.allocation import Allocation


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where. ``source`` is ``file:line``, ``--set`` or a table name."""

    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}" if self.source else self.message


class HedgeError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1
    status = "error"

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (Problem("", problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ScenarioError(HedgeError):
    """A scenario, overlay, ``--set`` or command-line option is invalid (exit 2)."""

    exit_code = 2
    status = "invalid"


class DataError(HedgeError):
    """A table is missing, stale or holds bad data (exit 4)."""

    exit_code = 4
    status = "bad_data"


@dataclass(frozen=True)
class ConflictMember:
    """One limit of a conflict: ``certificate`` is its weight in the infeasibility certificate.

    ``shortfall_usd`` is what it alone would have to give for the others of the conflict to hold. Where it
    holds under a stress, ``stress_source`` is where that stress is stated.
    """

    name: str
    subject: str
    source: str
    certificate: float
    shortfall_usd: float = 0.0
    stress_source: str | None = None


@dataclass(frozen=True)
class Change:
    """One figure of the scenario set to another value; ``text`` says it in words."""

    name: str
    source: str
    unit: str
    value: float
    to: float
    text: str


@dataclass(frozen=True)
class WayOut:
    """Changes that together make the scenario feasible, solved and audited with them."""

    changes: tuple[Change, ...]
    cost_usd: float
    text: str


class Infeasible(HedgeError):
    """The limits cannot hold together (exit 3).

    ``conflict`` is a smallest set of limits that cannot, by certificate weight: without any one of them the
    others can. ``background`` says what holds besides. ``ways_out`` are verified changes of the
    scenario, the cheapest first.
    """

    background = (
        "what always holds besides: balances, margin and exposure as defined, transfers that are not "
        "negative, and the sign of netted positions and of those that may only shrink"
    )
    exit_code = 3
    status = "infeasible"

    def __init__(
        self, message: str, conflict: Sequence[ConflictMember], ways_out: Sequence[WayOut] = ()
    ) -> None:
        self.conflict = tuple(conflict)
        self.ways_out = tuple(ways_out)
        super().__init__(message)

    def _repr_html_(self) -> str:
        """As a notebook shows it: what cannot hold together, and the ways out."""
        members = "".join(
            f"<li>{escape(limit.name)} ({escape(limit.subject)}), <code>{escape(limit.source)}</code></li>"
            for limit in self.conflict
        )
        ways = "".join(f"<li>{escape(way.text)}</li>" for way in self.ways_out)
        wanted = f"<p>Any one of these would do:</p><ul>{ways}</ul>" if ways else ""
        return f"<div><b>{escape(str(self))}</b><ul>{members}</ul>{wanted}</div>"


class SolverFailed(HedgeError):
    """The solver did not reach an optimum, or the program is unbounded (exit 5)."""

    exit_code = 5
    status = "failed"


class AuditFailed(HedgeError):
    """The independent audit did not confirm the solution (exit 5)."""

    exit_code = 5
    status = "failed"


class Refused(HedgeError):
    """A pre-trade check refused the orders (exit 6).

    `allocation` is what was found, its checks included, without the orders; None where fills came back wrong.
    """

    exit_code = 6
    status = "refused"

    def __init__(self, problems: Sequence[Problem] | str, allocation: Allocation | None = None) -> None:
        self.allocation = allocation
        super().__init__(problems)
