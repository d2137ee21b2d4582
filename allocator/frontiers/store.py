"""Answers of a frontier on disk, each in a file of its own: one that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from allocator.errors import HedgeError, Infeasible
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
        """The audited answer. Raises `HedgeError`, of no finer kind where it is read."""
        key = hashlib.sha256(json.dumps(asdict(ask)).encode()).hexdigest()[:24]
        file = self._folder / f"{key}.json"
        self._told()
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            if "reason" in known:
                raise (
                    Infeasible(known["reason"], []) if known["infeasible"] else HedgeError(known["reason"])
                )
            return _read(known)
        try:
            found = self._solve(ask)
        except HedgeError as error:
            said = {"reason": str(error), "infeasible": isinstance(error, Infeasible)}
            write_file(file, json.dumps(said))
            raise
        write_file(file, json.dumps(_written(found)))
        return found


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
