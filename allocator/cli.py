"""The command `hedge`. Tables go to stdout, logs to stderr, and the exit code says what happened."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from allocator.errors import HedgeError, Problem, ScenarioError
from allocator.stdout import say, tolerate

INTERRUPTED = 130
# Where each command lives: module of `allocator.commands`, and its function.
_COMMANDS = {
    "allocate": "allocate:run",
    "backtest": "backtest:run",
    "check": "check:run",
    "explain": "explain:run",
    "frontier": "frontier:run",
    "orders": "orders:run",
    "report": "report:run",
    "schema": "show:schema",
    "show": "show:run",
    "sweep": "sweep:run",
}
_ORDERS = "take fills back (reconcile), or write orders in another form (export)"
_REPORT = "write the page of finished runs, one self-contained HTML file each, beside the run"
_EPILOG = """exit codes: 0 done; 2 bad usage or scenario; 3 infeasible; 4 bad, stale or missing data;
5 solver or audit failed; 6 refused by a pre-trade check; 7 some cells of a sweep are not optimal;
1 a bug; 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a bug raises, and the interpreter then exits with 1."""
    given = list(sys.argv[1:] if argv is None else argv)
    tolerate()
    try:
        arguments = _parser().parse_args(given)
        with _logging_to_stderr(logging.WARNING + 10 * (arguments.quiet - arguments.verbose)):
            return _run(arguments.command)(arguments)
    except HedgeError as error:
        return _report(error, "--json" in given)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


@contextmanager
def _logging_to_stderr(level: int) -> Iterator[None]:
    """Send the package's records to stderr from `level`; the journal of a run sees them all."""
    package, handler = logging.getLogger("allocator"), logging.StreamHandler(sys.stderr)
    before = package.level
    handler.setLevel(level)
    # What the page says as well is for the journal only.
    handler.addFilter(lambda record: not getattr(record, "on_page", False))
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    package.addHandler(handler)
    package.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(before)


def _report(error: HedgeError, as_json: bool) -> int:
    for problem in error.problems:
        sys.stderr.write(f"{problem}\n")
    if as_json:
        from allocator.result import refusal, to_text

        say(to_text(refusal(error)))
    return error.exit_code


def _run(command: str) -> Callable[[argparse.Namespace], int]:
    """What runs a command; its module is imported only now: `hedge --help` stays instant."""
    module, _, function = _COMMANDS[command].partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(
        import_module(f"allocator.commands.{module}"), function
    )
    return found


class _Parser(argparse.ArgumentParser):
    """Bad usage is an error like any other: exit code 2, and as JSON with ``--json``."""

    def error(self, message: str) -> NoReturn:
        """Raise `ScenarioError` where argparse would exit."""
        raise ScenarioError([Problem(self.prog, f"{message}; see `{self.prog} --help`")])


def _path(text: str) -> Path:
    """A path as an option names it; an empty one, of a variable that is not set, is no folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty; name a folder, or leave the option out")
    return Path(text)


class _Version(argparse.Action):
    """Looks the version up only when asked: the look-up is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"hedge {version('hedge-allocator')}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hedge",
        allow_abbrev=False,
        description="Allocate hedges of coin holdings over perpetual futures on several venues.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    common = _Parser(add_help=False)
    common.add_argument("-v", "--verbose", action="count", default=0, help="log more to stderr")
    common.add_argument("-q", "--quiet", action="count", default=0, help="log less to stderr")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in (
        ("allocate", "solve a scenario: positions, transfers, orders, audit, in a run folder"),
        ("check", "read scenario and tables and say what is missing, stale or odd"),
        ("show", "print the resolved scenario"),
        ("backtest", "walk the scenario and its rivals over the history of its tables"),
        ("frontier", "least cost for each volatility, or other quantities: evenly spaced points"),
        ("sweep", "solve every cell of the scenario's sweep: one table, also where it was stopped"),
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
        _scenario_options(command)
        if name in ("allocate", "backtest", "frontier", "sweep"):
            command.add_argument(
                "--out",
                type=_path,
                default=Path("runs"),
                metavar="DIR",
                help="parent of run folders (default: runs)",
            )
        if name == "sweep":
            command.add_argument(
                "--workers",
                type=int,
                metavar="N",
                help="processes (default: one a core; 1: none beside this)",
            )
            command.add_argument(
                "--executor",
                default="loky",
                metavar="dask://HOST:PORT",
                help="a Dask cluster by its scheduler's address (default: processes of this machine)",
            )
            command.add_argument(
                "--solver", choices=("piqp", "clarabel"), help="default: piqp, and clarabel for cones"
            )
        if name == "frontier":
            _frontier_options(command)
        if name == "allocate":
            command.add_argument(
                "--no-report", action="store_true", help="do not write the page <run id>.html beside the run"
            )
        if name == "show":
            command.add_argument(
                "--origin", action="store_true", help="each value with the file and line that set it"
            )
    text = "what limits cost and over which range, or why nothing is possible; with two runs, what changed"
    explain = commands.add_parser(
        "explain", help=text, description=text, parents=[common], allow_abbrev=False
    )
    _scenario_options(explain, "scenario file, or the folder of a finished run")
    explain.add_argument("other", type=Path, nargs="?", metavar="run", help="a later run to compare with")
    _orders(commands.add_parser("orders", help=_ORDERS, description=_ORDERS, allow_abbrev=False), common)
    _report_options(
        commands.add_parser("report", help=_REPORT, description=_REPORT, parents=[common], allow_abbrev=False)
    )
    schema = commands.add_parser(
        "schema", help="print the JSON Schema of scenario files", parents=[common], allow_abbrev=False
    )
    choice = schema.add_mutually_exclusive_group()
    choice.add_argument("--reference", action="store_true", help="the reference page of every key instead")
    choice.add_argument("--tables", action="store_true", help="the reference page of snapshot tables instead")
    return parser


def _frontier_options(command: argparse.ArgumentParser) -> None:
    quantities = "volatility, cost, objective, gross, turnover or margin"
    command.add_argument(
        "--x", default="volatility", metavar="QUANTITY", help=f"{quantities} (default: volatility)"
    )
    command.add_argument("--y", default="cost", metavar="QUANTITY", help="likewise (default: cost)")
    command.add_argument("--points", type=int, default=20, metavar="N", help="how many (default: 20)")


def _report_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a finished run")
    command.add_argument("--out", type=Path, metavar="FILE", help="write the page of one run here instead")
    command.add_argument("--json", action="store_true", help="print the files written, or errors, as JSON")


def _orders(parser: argparse.ArgumentParser, common: _Parser) -> None:
    """`hedge orders reconcile` and `hedge orders export`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="action", parser_class=_Parser)
    text = "compare all fills of a run so far with its orders: the book, what is left, follow-up orders"
    one = actions.add_parser("reconcile", help=text, description=text, parents=[common], allow_abbrev=False)
    one.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    one.add_argument("fills", type=Path, metavar="FILLS.csv", help="all its fills so far")
    one.add_argument(
        "--closed", action="store_true", help="no order of the run, nor any follow-up, is live at its venue"
    )
    one.add_argument("--json", action="store_true", help="print reconciliation.json instead of tables")
    text = "write the orders of a run, or of a reconciliation, in another form beside it"
    other = actions.add_parser("export", help=text, description=text, parents=[common], allow_abbrev=False)
    other.add_argument("run", type=Path, metavar="RUN", help="folder of the run or reconciliation")
    other.add_argument("--format", choices=("csv", "ccxt", "xlsx"), required=True)
    other.add_argument("--to", type=Path, metavar="FILE", help="instead of beside the run; - is stdout")
    other.add_argument("--json", action="store_true", help="print errors to stdout as JSON")


def _scenario_options(command: argparse.ArgumentParser, what: str = "scenario file") -> None:
    command.add_argument("scenario", type=Path, help=what)
    command.add_argument(
        "--overlay",
        action="append",
        default=[],
        metavar="A,B",
        dest="overlays",
        help="overlays of the file, in this order",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="sets",
        help="set one value, dotted key",
    )
    command.add_argument(
        "--snapshot", type=_path, metavar="DIR", help="snapshot folder, instead of the file's"
    )
    command.add_argument("--json", action="store_true", help="print result.json to stdout instead of tables")


if __name__ == "__main__":
    sys.exit(main())
