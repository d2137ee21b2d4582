"""`hedge orders`: fills come back (`reconcile`), and the orders of a finished run go out (`export`)."""

from __future__ import annotations

import argparse
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allocator.commands.allocate import table_text
from allocator.commands.handover import ORDERS, gate
from allocator.errors import Problem, Refused, ScenarioError
from allocator.stdout import say

if TYPE_CHECKING:
    from allocator.orders.outcome import Outcome
    from allocator.orders.reconcile import Reconciliation
    from allocator.orders.stored import Stored
    from allocator.runs import Run

SUFFIXES = {"csv": "csv", "ccxt": "jsonl", "xlsx": "xlsx"}
_REPORT = "reconciliation.json"


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked of the orders of a run."""
    return {"reconcile": _reconcile, "export": _export}[arguments.action](arguments)


def _reconcile(arguments: argparse.Namespace) -> int:
    """Compare fills with orders, and write that beside the run; the same fills again find it there."""
    from allocator.orders.fills import read_fills
    from allocator.orders.reconcile import reconcile_fills
    from allocator.orders.release import FILLS, WITHHELD
    from allocator.orders.stored import fingerprint, known_rows, read_text, sent_of, stored
    from allocator.runs import find, write

    source = stored(arguments.run)
    sent = sent_of(source)
    text = read_text(arguments.fills)
    fills = read_fills(text, arguments.fills.name)
    suffix = f"{FILLS}{fingerprint(text, arguments.closed)}"
    done = find(source.out, source.run_id, suffix)
    if done is not None:
        outcomes = gate(source.out, source.run_id, source.result, _follow_up(done), follow_up=True)
        return _say(done, outcomes, arguments.json)
    found = reconcile_fills(sent, fills, arguments.closed)
    outcomes = gate(source.out, source.run_id, source.result, found.follow_up, follow_up=True)
    withheld = any(outcome.outcome == "failed" for outcome in outcomes)
    code = Refused.exit_code if withheld or found.errors else 0
    files = {**_files(found), "fills.csv": _table(known_rows(fills), _KNOWN)}
    if withheld or found.errors:
        del files[ORDERS]
    facts = {
        "status": Refused.status if code else found.status,
        "exit_code": code,
        "release": [outcome.as_json() for outcome in outcomes],
    }
    done = write(source.out, source.run_id, files, facts, suffix + (WITHHELD if withheld else ""))
    return _say(done, outcomes, arguments.json)


_KNOWN = ("venue", "account", "fill_id", "client_order_id", "side", "contracts", "price")


def _files(found: Reconciliation) -> dict[str, str]:
    """A reconciliation as files."""
    from allocator.orders.order_list import COLUMNS
    from allocator.orders.reconcile import BOOK, LEFT, REPLACES
    from allocator.orders.release import LEFT_FILE

    report = {
        "schema_version": 1,
        "run_id": found.run_id,
        "status": found.status,
        "naked_delta": list(found.naked),
        "book": list(found.book),
        "left": list(found.left),
        "waiting": list(found.waiting),
        "follow_up": len(found.follow_up),
        "errors": [{"source": error.source or None, "message": error.message} for error in found.errors],
    }
    more = [key for row in found.follow_up for key in row if key not in (*COLUMNS, REPLACES)]
    columns = (*COLUMNS, *dict.fromkeys(more), REPLACES)
    return {
        _REPORT: json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        "book.csv": _table(found.book, BOOK),
        LEFT_FILE: _table(found.left, LEFT),
        ORDERS: _table(found.follow_up, columns),
    }


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    return table_text(rows, columns)


def _follow_up(done: Run) -> list[Mapping[str, str]]:
    import csv
    import io

    if not (done.folder / ORDERS).is_file():
        return []
    return list(csv.DictReader(io.StringIO(done.text(ORDERS))))


def _say(done: Run, outcomes: tuple[Outcome, ...], as_json: bool) -> int:
    from allocator.reconciled_page import text_of

    report: dict[str, Any] = json.loads(done.text(_REPORT))
    refused = any(outcome.outcome == "failed" for outcome in outcomes)
    if refused:
        checks = [outcome.as_json() for outcome in outcomes]
        report |= {"status": Refused.status, "follow_up": 0, "checks": checks}
    if as_json:
        say(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    else:
        say(text_of(report, [] if refused else _follow_up(done), done.folder))
    return Refused.exit_code if refused else done.exit_code


def _export(arguments: argparse.Namespace) -> int:
    """The orders of a run in another form, past the last gate."""
    from allocator.orders.outcome import refusals
    from allocator.orders.stored import stored

    source = stored(arguments.run)
    if source.run.exit_code != 0:
        message = f"{arguments.run} ended with exit code {source.run.exit_code}: it has no orders to export"
        raise ScenarioError([Problem("RUN", message)])
    result = source.result
    outcomes = gate(source.out, source.run_id, result, source.orders, follow_up=bool(source.suffix))
    if refusals(outcomes):
        raise Refused(refusals(outcomes))
    content = _content(arguments.format, source, result, outcomes)
    name = f"{source.run_id}{source.suffix}.orders.{SUFFIXES[arguments.format]}"
    target: Path = arguments.to if arguments.to is not None else source.out / name
    if str(target) == "-":
        if arguments.format == "xlsx":
            raise ScenarioError([Problem("--to", "a workbook is no text: name a file")])
        say(content.decode("utf-8"))
        return 0
    _write_whole(target, content)
    say(f"{target}\n")
    return 0


def _content(kind: str, source: Stored, result: Mapping[str, Any], outcomes: tuple[Outcome, ...]) -> bytes:
    orders = source.orders
    if kind == "ccxt":
        from allocator.orders.export import ccxt_lines

        return ccxt_lines(orders).encode()
    if kind == "xlsx":
        from allocator.orders.workbook import workbook

        return workbook(result, orders, [*result["checks"], *(outcome.as_json() for outcome in outcomes)])
    from allocator.orders.export import inert_rows
    from allocator.orders.order_list import COLUMNS

    columns = tuple(orders[0]) if orders else COLUMNS
    return _table(inert_rows(orders), columns).encode()


def _write_whole(target: Path, content: bytes) -> None:
    """Write a file in one step: a half-written order list must never be read."""
    partial = target.with_name(f".partial-{target.name}-{secrets.token_hex(8)}")
    try:
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        message = f"{target}: {error.strerror or error}; name a file that can be written"
        raise ScenarioError([Problem("--to", message)]) from error
