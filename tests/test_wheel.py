"""The wheel holds the two packages and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IGNORED = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")


@pytest.mark.long
def test_a_wheel_has_every_module_and_only_the_packages(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=IGNORED)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("hedge_allocator-")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert "hedge = allocator.cli:main" in archive.read(entry).decode()
    packaged = {name for name in names if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("allocator", "models")
        for pattern in ("*.py", "py.typed", "*.yaml", "*.css", "*.js", "*.html")
        for path in (ROOT / package).rglob(pattern)
    }
    assert sources <= packaged
    assert all(name.endswith(".md") for name in packaged - sources)
    assert {name.partition("/")[0] for name in packaged} == {"allocator", "models"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
