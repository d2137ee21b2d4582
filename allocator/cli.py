"""The command `hedge`. Tables go to stdout, logs to stderr, and the exit code says what happened."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from allocator.errors import HedgeError, Problem, ScenarioError
from allocator.stdout import say, tolerate

INTERRUPTED = 130
_EPILOG = """exit codes: 0 done; 2 bad usage or scenario; 3 infeasible; 4 bad, stale or missing data;
5 solver or audit failed; 6 refused by a pre-trade check; 1 a bug; 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a bug raises, and the interpreter then exits with 1."""
    given = list(sys.argv[1:] if argv is None else argv)
    tolerate()
    try:
        arguments = _parser().parse_args(given)
        with _logging_to_stderr(logging.WARNING + 10 * (arguments.quiet - arguments.verbose)):
            return _commands()[arguments.command](arguments)
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


def _commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    """Each command imports what it needs when it runs: `hedge --help` stays instant."""

    def allocate(arguments: argparse.Namespace) -> int:
        from allocator.commands.allocate import run

        return run(arguments)

    def check(arguments: argparse.Namespace) -> int:
        from allocator.commands.check import run

        return run(arguments)

    def show(arguments: argparse.Namespace) -> int:
        from allocator.commands.show import run

        return run(arguments)

    def schema(arguments: argparse.Namespace) -> int:
        from allocator.commands.show import schema as run

        return run(arguments)

    def explain(arguments: argparse.Namespace) -> int:
        from allocator.commands.explain import run

        return run(arguments)

    return {"allocate": allocate, "check": check, "explain": explain, "show": show, "schema": schema}


class _Parser(argparse.ArgumentParser):
    """Bad usage is an error like any other: exit code 2, and as JSON with ``--json``."""

    def error(self, message: str) -> NoReturn:
        """Raise `ScenarioError` where argparse would exit."""
        raise ScenarioError([Problem(self.prog, f"{message}; see `{self.prog} --help`")])


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
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
        _scenario_options(command)
        if name == "allocate":
            command.add_argument(
                "--out",
                type=Path,
                default=Path("runs"),
                metavar="DIR",
                help="parent of run folders (default: runs)",
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
    schema = commands.add_parser(
        "schema", help="print the JSON Schema of scenario files", parents=[common], allow_abbrev=False
    )
    choice = schema.add_mutually_exclusive_group()
    choice.add_argument("--reference", action="store_true", help="the reference page of every key instead")
    choice.add_argument("--tables", action="store_true", help="the reference page of snapshot tables instead")
    return parser


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
        "--snapshot", type=Path, metavar="DIR", help="snapshot folder, instead of the file's"
    )
    command.add_argument("--json", action="store_true", help="print result.json to stdout instead of tables")


if __name__ == "__main__":
    sys.exit(main())
