"""A command may be killed at any moment: nothing looks finished that is not, and the next run succeeds."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from samples import FULL
from small_desk import Hedge, finish, interrupt_writing, spawn, write_desk

from allocator import runs

INTERRUPTED = (130, -signal.SIGINT)  # the shell shows an interpreter that SIGINT ended as 130 too


def verified(out: Path) -> list[Path]:
    """Every visible folder is a whole run."""
    seen = [path for path in out.iterdir() if not path.name.startswith(".")] if out.exists() else []
    found = [path for path in seen if path.is_dir()]
    for folder in found:
        assert runs.find(out, folder.name) is not None
    return found


@pytest.fixture(scope="module")
def usual_seconds(tmp_path_factory) -> float:
    """How long a whole run takes here and now."""
    folder = tmp_path_factory.mktemp("usual")
    path = write_desk(folder / "desk")
    start = time.monotonic()
    assert finish(spawn("allocate", path, "--out", folder / "runs", cwd=folder)).code == 0
    return time.monotonic() - start


def stopped(how: int, after: float, scenario: Path, out: Path) -> int:
    process = spawn("allocate", scenario, "--out", out, cwd=scenario.parent)
    time.sleep(after)
    process.send_signal(how)
    return finish(process).code


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_late(tmp_path, hedge: Hedge, how, usual_seconds):
    """About when the folder is written."""
    path, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    code = stopped(how, 0.93 * usual_seconds, path, out)
    assert code in (0, -how, *INTERRUPTED)
    assert len(verified(out)) == 1 or code != 0
    if how == signal.SIGINT and out.exists():
        assert [left for left in out.iterdir() if left.name.startswith(".")] == []
    assert hedge("allocate", path, "--out", out).code == 0
    assert len(verified(out)) == 1


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_at_any_moment(tmp_path, hedge: Hedge, how, usual_seconds):
    path, rng = write_desk(tmp_path / "desk"), random.Random(7)
    count = 10 if FULL else 5
    moments = [rng.uniform(0, usual_seconds) for _ in range(count)]
    moments += [usual_seconds * rng.uniform(0.85, 1.05) for _ in range(count)]
    for number, moment in enumerate(moments):
        out = tmp_path / f"runs{number}"
        code = stopped(how, moment, path, out)
        assert code in (0, -how, *INTERRUPTED)
        if code == 0:
            assert len(verified(out)) == 1
        verified(out)
        if how == signal.SIGINT and out.exists():
            assert [left for left in out.iterdir() if left.name.startswith(".")] == []
        assert hedge("allocate", path, "--out", out).code == 0
        assert len(verified(out)) == 1


@pytest.mark.parametrize("file", range(7))
def test_interrupted_while_writing(tmp_path, hedge: Hedge, monkeypatch, file):
    """After each file of the folder."""
    path, out = write_desk(tmp_path / "desk"), tmp_path / "runs"
    interrupt_writing(monkeypatch, after=file + 1)
    outcome = hedge("allocate", path, "--out", out)
    assert outcome.code == 130
    assert outcome.err.endswith("interrupted\n")
    assert "Traceback" not in outcome.err
    assert list(out.iterdir()) == []
