"""What a page is made from: the files of one finished run, nothing else."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

from allocator.errors import DataError, Problem
from allocator.report.nodes import Node
from allocator.runs import MANIFEST, Run

_SHOWN = ("summary", "carry", "equity_by_price", "data")


@dataclass(frozen=True)
class Source:
    """The result, the manifest, and the orders and their schedule as rows of text (empty without any)."""

    result: Node
    manifest: Node
    orders: Node
    schedule: Node

    @classmethod
    def of(cls, run: Run) -> Source:
        """Read the files of a run that was verified.

        Raises `DataError` for a run of an earlier version, whose result lacks what a page shows.
        """
        result = json.loads(run.text("result.json"))
        lacking = [key for key in _SHOWN if "venues" in result and key not in result]
        if lacking:
            message = (
                f"result.json lacks {', '.join(lacking)}: the run is of an earlier version, allocate again"
            )
            raise DataError([Problem(str(run.folder), message)])
        return cls(
            Node(result, "result.json#"),
            Node(json.loads(run.text(MANIFEST)), f"{MANIFEST}#"),
            _rows(run, "orders.csv"),
            _rows(run, "schedule.csv"),
        )

    @property
    def status(self) -> str:
        """The run's own word, `refused` where its orders were withheld."""
        return str(self.manifest["status"])


def _rows(run: Run, name: str) -> Node:
    exists = (run.folder / name).exists()
    return Node(list(csv.DictReader(io.StringIO(run.text(name)))) if exists else [], f"{name}#")
