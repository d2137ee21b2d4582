"""The outcome of one pre-trade check, as every part that checks, writes or shows it holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from allocator.errors import Problem
from allocator.figures import amount


@dataclass(frozen=True)
class Outcome:
    """One check: it passes while `value` is at most `bound` (in `unit`); skipped ones say why.

    A passing check shows the subject nearest to its bound, a failing one has an outcome for each subject that
    is beyond it. `source` is the file and line that set the bound, or `default`.
    """

    name: str
    outcome: Literal["passed", "failed", "skipped"]
    value: float | None
    bound: float | None
    unit: str
    subject: str
    reason: str
    source: str

    def as_json(self) -> dict[str, Any]:
        """As `result.json` and the manifest hold it."""
        return {
            key: float(f"{item:.12g}") if isinstance(item, float) else item
            for key, item in asdict(self).items()
        }


@dataclass(frozen=True)
class Measured:
    """A subject's value beside its bound; NaN fails."""

    subject: str
    value: float
    bound: float
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Within the bound, but for float noise."""
        return self.value <= self.bound + 1e-9 * abs(self.bound) + 1e-12

    @property
    def nearness(self) -> float:
        """1 at the bound."""
        if self.bound > 0:
            return self.value / self.bound
        return 1.0 + self.value - self.bound


def judge(name: str, unit: str, source: str, found: Sequence[Measured] | str) -> list[Outcome]:
    """Outcomes of one check: what was measured, or the words that say why nothing was."""
    if isinstance(found, str):
        return [Outcome(name, "skipped", None, None, unit, "", found, source)]
    if not found:
        return [Outcome(name, "passed", None, None, unit, "", "no order is concerned", source)]
    failed = [m for m in found if not m.holds]
    if not failed:
        nearest = max(found, key=lambda m: m.nearness)
        return [_outcome(name, "passed", unit, source, nearest)]
    return [_outcome(name, "failed", unit, source, m) for m in failed]


def _outcome(
    name: str, outcome: Literal["passed", "failed"], unit: str, source: str, measured: Measured
) -> Outcome:
    value, bound = (x if math.isfinite(x) else None for x in (measured.value, measured.bound))
    return Outcome(name, outcome, value, bound, unit, measured.subject, measured.reason, source)


def refusals(outcomes: Sequence[Outcome]) -> list[Problem]:
    """What failed, in words."""
    return [Problem(o.source, words(o)) for o in outcomes if o.outcome == "failed"]


def words(outcome: Outcome) -> str:
    """One outcome as a sentence."""
    text = f"pre-trade check `{outcome.name}` {outcome.outcome}"
    text += f" for {outcome.subject}" if outcome.subject else ""
    if outcome.value is not None and outcome.bound is not None:
        text += f": {amount(outcome.value, outcome.unit)} against {amount(outcome.bound, outcome.unit)}"
    return f"{text}: {outcome.reason}" if outcome.reason else text
