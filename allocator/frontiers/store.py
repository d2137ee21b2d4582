"""Answers of a frontier on disk, each in a file of its own: one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from allocator.errors import AuditFailed, HedgeError, Infeasible, SolverFailed
from allocator.frontiers.programs import Ask, Found
from allocator.market.types import Decision
from allocator.runs import write_file


class Answers:
    """Solves an ask, or reads what was found for it before."""

    def __init__(self, folder: Path, solve: Callable[[Ask], Found], told: Callable[[], None]) -> None:
        self._folder = folder
        self._solve = solve
        self._told = told

    def attempt(self, ask: Ask) -> Found | None:
        """The audited answer, or None where there is none."""
        try:
            return self.solve(ask)
        except HedgeError:
            return None

    def solve(self, ask: Ask) -> Found:
        """The audited answer. Raises `Infeasible` (without its conflict), `SolverFailed`, `AuditFailed`."""
        key = hashlib.sha256(json.dumps(asdict(ask)).encode()).hexdigest()[:24]
        file = self._folder / f"{key}.json"
        self._told()
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            if "reason" in known:
                raise _error(known["kind"], known["reason"])
            return _read(known)
        try:
            found = self._solve(ask)
        except HedgeError as error:
            write_file(file, json.dumps({"reason": str(error), "kind": type(error).__name__}))
            raise
        write_file(file, json.dumps(_written(found)))
        return found


def _error(kind: str, reason: str) -> HedgeError:
    """The error that a program ended with before."""
    if kind == Infeasible.__name__:
        return Infeasible(reason, [])
    return AuditFailed(reason) if kind == AuditFailed.__name__ else SolverFailed(reason)


def _written(found: Found) -> dict[str, object]:
    return {
        **asdict(found),
        "decision": {
            "positions": found.decision.positions.tolist(),
            "transfers": found.decision.transfers.tolist(),
        },
    }


def _read(known: dict[str, object]) -> Found:
    ask, decision = known.pop("ask"), known.pop("decision")
    assert isinstance(ask, dict)
    assert isinstance(decision, dict)
    arrays = (np.array(decision[name], dtype=float) for name in ("positions", "transfers"))
    return Found(ask=Ask(**ask), decision=Decision(*arrays), **known)  # type: ignore[arg-type]
