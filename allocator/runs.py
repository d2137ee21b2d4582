"""Run folders: named by what went in, written whole or not at all, never changed afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from allocator.errors import DataError, Problem
from allocator.scenario.load import LoadedScenario, canonical_bytes
from allocator.snapshot.read import SnapshotData

MANIFEST = "manifest.json"
LOG = "log.jsonl"
_PACKAGES = ("hedge-allocator", "cvxpy", "clarabel")
_PARTIAL = ".partial-"


def versions() -> dict[str, str]:
    """Versions that may change an answer: this package, the modeller and the solver."""
    return {name: version(name) for name in _PACKAGES}


def run_id(loaded: LoadedScenario, snapshot: SnapshotData) -> str:
    """Sixteen hex digits of the hash of resolved scenario, table contents and versions; no path, no clock.

    The order of maps and the layout of files do not matter; where a value was set does, as results cite it.
    """
    digest = hashlib.sha256(canonical_bytes(loaded.scenario))
    origins = {name: loaded.origin(f"limits.{name}") for name in loaded.scenario.limits}
    parts = {"tables": dict(snapshot.digests), "versions": versions(), "origins": origins}
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """A finished run on disk."""

    folder: Path
    manifest: Mapping[str, object]

    @property
    def exit_code(self) -> int:
        """Exit code that the run ended with."""
        code = self.manifest["exit_code"]
        assert isinstance(code, int)
        return code

    def text(self, name: str) -> str:
        """One of its files."""
        return (self.folder / name).read_text(encoding="utf-8")


def find(out: Path, run: str) -> Run | None:
    """The finished run of this id, verified against its manifest; None if there is none.

    Raises `DataError` when a file of it was changed, is missing, or was added.
    """
    folder = out / run
    if not folder.exists():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        hashes = dict(manifest["files"])
        code = manifest["exit_code"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _altered(folder, f"its {MANIFEST} cannot be read ({error})") from error
    if not isinstance(code, int):
        raise _altered(folder, f"its {MANIFEST} states no exit code")
    there = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(there ^ hashes.keys()):
        raise _altered(folder, f"{name} is {'missing' if name in hashes else 'not part of the run'}")
    for name, expected in sorted(hashes.items()):
        if _sha256((folder / name).read_bytes()) != expected:
            raise _altered(folder, f"{name} was changed")
    return Run(folder, manifest)


def _altered(folder: Path, what: str) -> DataError:
    return DataError(
        [Problem(str(folder), f"{what}; a run is never changed: move the folder away and run again")]
    )


def write(out: Path, run: str, files: Mapping[str, str], facts: Mapping[str, object]) -> Run:
    """Write a run folder whole: to a hidden folder first, then renamed in one step.

    If another process finished the same run meanwhile, its folder is verified and used.
    """
    out.mkdir(parents=True, exist_ok=True)
    _clear_dead(out, run)
    manifest = {
        "schema_version": 1,
        "run_id": run,
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **facts,
        "files": {name: _sha256(text.encode()) for name, text in sorted(files.items())},
    }
    partial = out / f"{_PARTIAL}{run}-{os.getpid()}"
    partial.mkdir()
    try:
        for name, text in {**files, MANIFEST: json.dumps(manifest, indent=2) + "\n"}.items():
            _write_durably(partial / name, text)
        try:
            partial.rename(out / run)
        except OSError:
            done = find(out, run)
            if done is None:
                raise
            return done
    finally:
        if partial.exists():
            shutil.rmtree(partial)
    return Run(out / run, manifest)


def _write_durably(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _clear_dead(out: Path, run: str) -> None:
    """Remove what a killed process left of the same run; a living one's folder stays."""
    for left in out.glob(f"{_PARTIAL}{run}-*"):
        owner = left.name.rpartition("-")[2]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
