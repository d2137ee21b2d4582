"""`hedge allocate`: the daily run, whole or not at all, and found again when nothing changed."""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from allocator.commands import loaded as load_arguments
from allocator.commands.handover import ORDERS, SCHEDULE, gate
from allocator.commands.journal import Journal
from allocator.errors import AuditFailed, DataError, Infeasible, Refused, ScenarioError, SolverFailed
from allocator.runs import LOG, Run, find, make_parent, run_id, write
from allocator.scenario.load import LoadedScenario, resolved_yaml
from allocator.snapshot.read import SnapshotData
from allocator.stdout import say

if TYPE_CHECKING:
    from allocator.orders.outcome import Outcome

_NONE: tuple[Outcome, ...] = ()

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Allocate, write the run folder, print the page; the exit code is the run's."""
    from allocator.allocation import read_tables

    with Journal() as journal:
        started = datetime.now(UTC)
        scenario = load_arguments(arguments)
        tables = read_tables(scenario)
        name = run_id(scenario, tables)
        done = find(arguments.out, name)
        if done is None:
            done, outcomes = _compute(scenario, tables, arguments, journal, started)
        else:
            log.info("run %s is finished and unchanged: reused", name)
            outcomes = gate(arguments.out, name, json.loads(done.text("result.json")), _orders(done))
    if not arguments.no_report:
        _report(done)
    return _print(done, outcomes, arguments.json)


def _report(done: Run) -> None:
    """Write the page beside the run; the run stands without it, so a failure is only told."""
    from allocator.commands.report import write_page

    try:
        log.info("report in %s", write_page(done))
    except (ScenarioError, DataError) as error:
        log.warning("no report was written: %s", error)


def _compute(
    scenario: LoadedScenario,
    tables: SnapshotData,
    arguments: argparse.Namespace,
    journal: Journal,
    started: datetime,
) -> tuple[Run, tuple[Outcome, ...]]:
    """Solve and write; a failure after the data were read is a finished run without orders.

    So is a refusal by a check that repeats. One by the clock or by a file beside the run may pass another
    time: it is written under another name, and the run's own stays free.
    """
    name, out = run_id(scenario, tables), arguments.out
    from allocator.allocation import allocate
    from allocator.market.build import build_market
    from allocator.orders.release import WITHHELD
    from allocator.result import failure, header, to_text
    from allocator.result_tables import data

    log.info("scenario %s, tables %s", scenario.scenario.name, ", ".join(sorted(tables.digests)))
    for note in tables.notes:
        log.info("%s", note)
    market = build_market(scenario, tables)
    for notice in market.notices:
        log.warning("%s", notice)
    make_parent(out)
    files = {"scenario.resolved.yaml": resolved_yaml(scenario.scenario)}
    code, outcomes = 0, _NONE
    try:
        allocation = allocate(scenario, tables, market)
        result = allocation.result
        rows = [_cells(vars(order)) for order in allocation.orders]
        slices = [_cells(vars(each)) for each in allocation.slices]
        files |= {
            ORDERS: table_text(rows, _order_columns()),
            SCHEDULE: table_text(slices, _slice_columns()),
            **_tables_of(result),
        }
        outcomes = gate(out, name, result, rows)
    except Refused as error:
        if error.allocation is None:  # nothing was found that could be written
            raise
        code, result = error.exit_code, {**error.allocation.result, **failure(error)}
        log.error("%s", error)
        files |= _tables_of(result)
    except (Infeasible, SolverFailed, AuditFailed) as error:
        code = error.exit_code
        log.error("%s", error, extra={"on_page": not arguments.json})
        result = {
            **header(name, scenario.scenario.name, market, error.status),
            **failure(error),
            "data": data(market),
            "notices": list(market.notices),
        }
    withheld = any(outcome.outcome == "failed" for outcome in outcomes)
    if withheld:
        code = Refused.exit_code
        del files[ORDERS], files[SCHEDULE]
    files["result.json"] = to_text(result)
    log.info("run %s ends with exit code %d", name, code)
    files[LOG] = "".join(f"{line}\n" for line in journal.lines)
    facts = {
        "status": Refused.status if withheld else result["status"],
        "exit_code": code,
        "started_at": started.isoformat(timespec="milliseconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "tables": dict(sorted(tables.digests.items())),
        "solver": result.get("solver"),
        "release": [outcome.as_json() for outcome in outcomes],
    }
    return write(out, name, files, facts, WITHHELD if withheld else ""), outcomes


_POSITIONS = (
    "venue", "account", "symbol", "asset", "previous_usd", "target_usd", "rounded_usd", "trade_usd",
    "target_contracts", "target_coins", "trade_contracts", "trade_coins", "funding_usd", "trading_usd",
    "expiry", "carry_usd",
)  # fmt: skip
_TRANSFERS = ("from", "to", "currency", "amount_usd", "cost_usd", "arrives_before_orders")


def _tables_of(result: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a result that are tables of their own."""
    return {
        f"{part}.csv": table_text([_cells(row) for row in result[part]], columns)
        for part, columns in (("positions", _POSITIONS), ("transfers", _TRANSFERS))
    }


def _order_columns() -> Sequence[str]:
    from allocator.orders.order_list import COLUMNS

    return COLUMNS


def _slice_columns() -> Sequence[str]:
    from allocator.orders.schedule import COLUMNS

    return COLUMNS


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Every cell as text: null is empty, a boolean is true or false."""
    return {
        key: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in row.items()
    }


def table_text(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """CSV with a header, unix line ends."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _orders(done: Run) -> list[dict[str, str]]:
    """The orders of a finished run; none where it has none."""
    if not (done.folder / ORDERS).exists():
        return []
    return list(csv.DictReader(io.StringIO(done.text(ORDERS))))


def _print(done: Run, outcomes: tuple[Outcome, ...], as_json: bool) -> int:
    """The run's own word, unless its orders are withheld now: then the checks that say so belong to it."""
    refused = any(outcome.outcome == "failed" for outcome in outcomes)
    code = Refused.exit_code if refused else done.exit_code
    if as_json and not refused:
        say(done.text("result.json"))
        return code
    from allocator.result import to_text
    from allocator.terminal import text_of

    result = json.loads(done.text("result.json"))
    if outcomes:
        result["checks"] = [*result["checks"], *(outcome.as_json() for outcome in outcomes)]
    if refused:
        result |= {"status": Refused.status, "orders": 0}
    if as_json:
        say(to_text(result))
        return code
    say(text_of(result, [] if refused else _orders(done), done.folder))
    return code
