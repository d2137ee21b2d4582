"""Nobody waits for a library that the command does not use; a `models.py` in the way is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_desk import ROOT, write_desk

HEAVY = ("numpy", "pandas", "pydantic", "scipy", "cvxpy", "clarabel", "rich", "ruamel", "pyarrow")
PROGRAM = """
import json, sys
from allocator.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]), file=sys.stderr)
"""


def imports_of(folder: Path, *arguments: str | Path) -> list[str]:
    """Heavy libraries that a successful command imports."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    code, found = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return list(found)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["allocate", "--help"], ["schema", "--help"]]
)
def test_help_is_instant(tmp_path, arguments):
    assert imports_of(tmp_path, *arguments) == []


def test_commands_import_what_they_use(tmp_path):
    path = write_desk(tmp_path / "desk")
    assert "numpy" not in imports_of(tmp_path, "show", path)
    assert not {"cvxpy", "rich", "clarabel"} & set(imports_of(tmp_path, "check", path))
    first = imports_of(tmp_path, "allocate", path, "--json")
    assert "cvxpy" in first
    assert "rich" not in first
    again = imports_of(tmp_path, "allocate", path)
    assert "rich" in again
    assert not {"cvxpy", "clarabel"} & set(again)


@pytest.mark.parametrize("hiding", ["models.py", "models/__init__.py"])
def test_a_package_in_the_way_is_named(tmp_path, hiding):
    (tmp_path / hiding).parent.mkdir(exist_ok=True)
    (tmp_path / hiding).write_text("mine = 1\n")
    done = subprocess.run(
        [sys.executable, "-m", "allocator.cli", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: the package `models` of hedge-allocator is hidden by")
    assert str(tmp_path / hiding) in last
