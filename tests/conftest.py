"""What tests print for people: tables that reach the end of the run, also from worker processes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

import pytest
from hypothesis import settings

# The same examples in every run: a failure is the change's. `--hypothesis-profile=explore` draws new ones.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("repeatable")


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Callable[[], AbstractContextManager[None]]:
    """``with told():`` keeps what is printed inside for the summary at the end of the run."""

    @contextmanager
    def keep() -> Iterator[None]:
        with redirect_stdout(io.StringIO()) as text:
            yield
        record_property("told", text.getvalue())

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests told."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in getattr(report, "user_properties", ()):
                if name == "told" and report.when == "call":
                    terminalreporter.section(report.nodeid, sep="-")
                    terminalreporter.write_line(str(text).strip("\n"))
