"""Colours and progress bars are for terminals: a file or a pipe gets plain text, also beside a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from small_desk import ROOT, write_desk

ESCAPE = "\x1b"
SWEEP = "sweep: {grid: {limits.gross.max: [$9m, $6m]}}\n"
NOVA = ["backtest.simulate={days: 8, seed: 3}", "backtest.warm_up=6d", "backtest.strategies=[equal_split]"]


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, list[str]]:
    """Command lines of every command that prints tables or works long."""
    sys.path.insert(0, str(ROOT / "tests/venues"))
    from nova_desk import write_desk as write_nova

    folder = tmp_path_factory.mktemp("plain")
    desk = write_desk(folder / "desk")
    desk.write_text(desk.read_text() + SWEEP)
    nova = str(write_nova(tmp_path_factory.mktemp("nova")))
    sets = [part for value in NOVA for part in ("--set", value)]
    out = ["--out", str(folder / "runs")]
    return {
        "allocate": ["allocate", str(desk), *out],
        "sweep": ["sweep", str(desk), *out, "--workers", "1"],
        "backtest": ["backtest", nova, *sets, *out],
        "explain": ["explain", str(desk)],
    }


def run(arguments: list[str], stdout: Path, stderr: int) -> str:
    """What a command writes to a file, with stderr as given and a terminal that knows colours."""
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    env = {**plain, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor"}
    with stdout.open("wb") as file:
        command = [sys.executable, "-m", "allocator.cli", *arguments]
        done = subprocess.run(command, stdout=file, stderr=stderr, env=env, timeout=170, check=False)
    assert done.returncode == 0
    return stdout.read_text(encoding="utf-8")


SLOW = [pytest.param(name, marks=pytest.mark.long) for name in ("allocate", "backtest", "explain")]


@pytest.mark.parametrize("name", ["sweep", *SLOW])
def test_a_file_gets_plain_text(commands, name, tmp_path):
    errors = tmp_path / "err"
    with errors.open("wb") as file:
        said = run(commands[name], tmp_path / "out", file.fileno())
    assert len(said) > 50
    assert ESCAPE not in said
    assert "\r" not in said
    written = errors.read_text(encoding="utf-8")
    assert ESCAPE not in written
    assert "━" not in written


@pytest.mark.long
@pytest.mark.parametrize("name", ["sweep", "backtest"])
def test_a_terminal_gets_a_bar_and_the_file_beside_it_none(commands, name, tmp_path):
    arguments = [*commands[name][:-1], str(tmp_path / "runs")] if name == "backtest" else commands[name]
    if name == "sweep":
        arguments = [*arguments, "--set", "name=again"]
    terminal, end = pty.openpty()
    try:
        said = run(arguments, tmp_path / "out", end)
        os.set_blocking(terminal, False)
        shown = os.read(terminal, 1_000_000).decode("utf-8", "replace")
    finally:
        os.close(terminal)
        os.close(end)
    assert ESCAPE not in said
    assert "━" in shown
