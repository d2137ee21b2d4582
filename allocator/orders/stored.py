"""Finished runs on disk, and what lies beside them: their orders, and what was reconciled since."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from allocator.errors import DataError, Problem, ScenarioError
from allocator.orders.fills import Fill, read_fills
from allocator.orders.reconcile import Reconciliation, Row, Sent, reconcile_fills
from allocator.orders.release import FILLS, WITHHELD
from allocator.runs import Run, find

ORDERS = "orders.csv"
KNOWN_FILLS = "fills.csv"


@dataclass(frozen=True)
class Stored:
    """A verified folder: a run, or (with a suffix) a reconciliation beside it."""

    out: Path
    run_id: str
    suffix: str
    run: Run

    @property
    def orders(self) -> tuple[Row, ...]:
        """Rows of its orders; none where it has none."""
        return _rows(self.run, ORDERS)

    @property
    def result(self) -> dict[str, Any]:
        """`result.json` of the run, also for what lies beside it."""
        root = self.run if not self.suffix else find(self.out, self.run_id)
        if root is None:
            raise DataError([Problem(str(self.out), f"run {self.run_id} is not there")])
        found: dict[str, Any] = json.loads(root.text("result.json"))
        return found


def stored(path: Path) -> Stored:
    """The finished run, or reconciliation, in a folder. Raises `ScenarioError`, or `DataError` if altered."""
    folder = path.resolve()
    if folder.name.endswith(WITHHELD):
        raise ScenarioError([Problem("RUN", f"{path}: its orders were withheld; ask for them again first")])
    run_id, mark, fingerprint = folder.name.partition(FILLS)
    suffix = f"{mark}{fingerprint}"
    run = find(folder.parent, run_id, suffix) if (folder / "manifest.json").is_file() else None
    if run is None:
        message = f"{path} is no finished run: name a run folder, such as runs/0123456789abcdef"
        raise ScenarioError([Problem("RUN", message)])
    return Stored(folder.parent, run_id, suffix, run)


def reconcile(run: Path | str, fills: Path | str, all_closed: bool = False) -> Reconciliation:
    """Compare all fills of a run so far (a csv file) with its orders, and with follow-ups made since.

    `all_closed`: no order of the run, nor any follow-up, is live at its venue. Nothing is written. Raises
    `ScenarioError` where the run is none, `DataError` where it has no orders or the fills cannot be read.
    """
    name = Path(fills).name
    return reconcile_fills(sent_of(stored(Path(run))), read_fills(read_text(Path(fills)), name), all_closed)


def read_text(path: Path) -> str:
    """A text file. Raises `DataError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError([Problem(str(path), f"cannot be read: {reason}")]) from error


def sent_of(found: Stored) -> Sent:
    """What left the house for a run. Raises `ScenarioError` where that cannot be reconciled."""
    if found.suffix:
        raise ScenarioError(
            [Problem("RUN", f"{found.run_id}{found.suffix} is a reconciliation: name the run {found.run_id}")]
        )
    result, orders = found.result, found.orders
    if not orders:
        status = result["status"]
        raise ScenarioError([Problem("RUN", f"run {found.run_id} ({status}) has no orders to reconcile")])
    follow_ups: dict[str, Row] = {}
    known: dict[tuple[str, str, str], Decimal] = {}
    for beside in _reconciliations(found.out, found.run_id):
        follow_ups |= {row["client_order_id"]: row for row in _rows(beside, ORDERS)}
        for row in _rows(beside, KNOWN_FILLS):
            known[row["venue"], row["account"], row["fill_id"]] = Decimal(row["contracts"])
    return Sent(
        run_id=found.run_id,
        orders=orders,
        # The order in which they were made: each says which ones came before it.
        follow_ups=tuple(sorted(follow_ups.values(), key=lambda row: len(row["replaces"].split()))),
        instruments=tuple(result["instruments"]),
        net_delta={row["asset"]: row["net_delta_usd"] for row in result["risk"]["by_asset"]},
        known=known,
    )


def _reconciliations(out: Path, run_id: str) -> list[Run]:
    """Every reconciliation beside a run, verified; those withheld had nothing that could be sent."""
    found = []
    for folder in sorted(out.glob(f"{run_id}{FILLS}*/")):  # not what was exported of them, which lies beside
        run = find(out, run_id, folder.name.removeprefix(run_id))
        if run is not None:
            found.append(run)
    return found


def _rows(run: Run, name: str) -> tuple[Row, ...]:
    if not (run.folder / name).is_file():
        return ()
    return tuple(csv.DictReader(io.StringIO(run.text(name), newline="")))


def fingerprint(fills: str, all_closed: bool) -> str:
    """What the name of a reconciliation ends with: the same for the same fills, told the same."""
    return hashlib.sha256(f"{all_closed}\n{fills}".encode()).hexdigest()[:12]


def known_rows(fills: tuple[Fill, ...]) -> list[Row]:
    """Fills as the next reconciliation compares with them."""
    return [
        {
            "venue": fill.venue,
            "account": fill.account,
            "fill_id": fill.fill_id,
            "client_order_id": fill.client_order_id,
            "side": fill.side,
            "contracts": str(fill.contracts),
            "price": str(fill.price),
        }
        for fill in fills
        if fill.fill_id
    ]
