"""Run folders: named by what went in, written whole or not at all, never changed afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from allocator.errors import DataError, Problem, ScenarioError
from allocator.scenario.load import LoadedScenario, canonical_bytes
from allocator.snapshot.read import SnapshotData

MANIFEST = "manifest.json"
LOG = "log.jsonl"
_PACKAGES = ("hedge-allocator", "cvxpy", "clarabel")
_PARTIAL = ".partial-"
_DEAD_SECONDS = 3600.0
_SEAL = "manifest_sha256"
_RUN_ID = re.compile(r"([a-z]+-)?[0-9a-f]{16}")


def versions() -> dict[str, str]:
    """Versions that may change an answer: this package, the modeller and the solver."""
    return {name: version(name) for name in _PACKAGES}


def run_id(loaded: LoadedScenario, snapshot: SnapshotData) -> str:
    """Sixteen hex digits of the hash of resolved scenario, table contents and versions; no path, no clock.

    The order of maps, comments and the layout of files do not matter: a reused run cites the lines of the
    scenario that it was first made from.
    """
    digest = hashlib.sha256(canonical_bytes(loaded.scenario))
    parts = {"tables": dict(snapshot.digests), "versions": versions()}
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Run:
    """A finished run on disk."""

    folder: Path
    manifest: Mapping[str, object] = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code that the run ended with."""
        code = self.manifest["exit_code"]
        assert isinstance(code, int)
        return code

    def text(self, name: str) -> str:
        """One of its files."""
        return (self.folder / name).read_text(encoding="utf-8")


def find(out: Path, run: str, suffix: str = "") -> Run | None:
    """The finished run of this id, verified against its manifest; None if there is none.

    `suffix` follows the id in the name of what lies beside the run.
    Raises `DataError` when a file of it was changed, is missing, or was added.
    """
    folder = out / f"{run}{suffix}"
    if not os.path.lexists(folder):
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        hashes = dict(manifest["files"])
        seal, code = manifest.pop(_SEAL), manifest["exit_code"]
        there = {path.name for path in folder.iterdir()} - {MANIFEST}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _altered(folder, f"its {MANIFEST} cannot be read ({error})") from error
    if seal != _seal(manifest) or not isinstance(code, int):
        raise _altered(folder, f"{MANIFEST} was changed")
    if manifest["run_id"] != run:
        raise _altered(folder, f"it holds run {manifest['run_id']}")
    for name in sorted(there ^ hashes.keys()):
        raise _altered(folder, f"{name} is {'missing' if name in hashes else 'not part of the run'}")
    for name, expected in sorted(hashes.items()):
        if not (folder / name).is_file() or _sha256((folder / name).read_bytes()) != expected:
            raise _altered(folder, f"{name} was changed")
    return Run(folder, manifest)


def in_folder(folder: Path) -> Run | None:
    """The finished run in a folder, verified, or what lies beside a run; None without one.

    Raises `DataError` when a file of it was changed, is missing, or was added.
    """
    whole = folder.resolve()
    # What follows the id, as in `<run id>.withheld`, belongs to the folder's name, not to the run's.
    known = _RUN_ID.match(whole.name)
    run = known[0] if known else whole.name
    return find(whole.parent, run, whole.name.removeprefix(run)) if (whole / MANIFEST).is_file() else None


def _altered(folder: Path, what: str) -> DataError:
    return DataError(
        [Problem(str(folder), f"{what}; a run is never changed: move the folder away and run again")]
    )


def make_parent(out: Path) -> None:
    """Make the parent of run folders, before anything is computed for it. Raises `ScenarioError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(out, error) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise _unwritable(out, "no permission to write there")


def _unwritable(out: Path, error: OSError | str) -> ScenarioError:
    reason = error if isinstance(error, str) else error.strerror or error
    return ScenarioError([Problem("--out", f"{out}: {reason}; name a folder that can be written")])


def write(
    out: Path,
    run: str,
    files: Mapping[str, str | bytes],
    facts: Mapping[str, object],
    suffix: str = "",
) -> Run:
    """Write a run folder whole: to a hidden folder first, then renamed in one step.

    If another process finished the same run meanwhile, its folder is verified and used. `suffix` follows the
    id in the folder's name. Raises `ScenarioError` where `out` cannot be written.
    """
    make_parent(out)
    _clear_dead(out)
    manifest = {
        "schema_version": 1,
        "run_id": run,
        "versions": versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **facts,
        "files": {name: _sha256(_bytes(content)) for name, content in sorted(files.items())},
    }
    sealed = json.dumps({**manifest, _SEAL: _seal(manifest)}, indent=2) + "\n"
    # Not named by process id: those repeat in containers that share a disk.
    partial = out / f"{_PARTIAL}{run}-{secrets.token_hex(8)}"
    try:
        partial.mkdir()
        for name, content in {**files, MANIFEST: sealed}.items():
            _write_durably(partial / name, content)
        _sync(partial)
        try:
            partial.rename(out / f"{run}{suffix}")
        except OSError:
            done = find(out, run, suffix)
            if done is None:
                raise
            return done
        _sync(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Run(out / f"{run}{suffix}", manifest)


def write_file(file: Path, text: str) -> None:
    """Write a file beside runs, in one step: what was there stays until all of it is written.

    Raises `ScenarioError` where it cannot be written.
    """
    partial = file.with_name(f"{_PARTIAL}{file.name}-{secrets.token_hex(8)}")
    try:
        _write_durably(partial, text)
        partial.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise ScenarioError(
            [Problem("--out", f"{file}: {error.strerror}; name a file that can be written")]
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _write_durably(path: Path, content: str | bytes) -> None:
    with path.open("xb") as file:
        file.write(_bytes(content))
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clear_dead(out: Path) -> None:
    """Remove what killed processes left; a folder is written within seconds, so an old one is dead."""
    for left in out.glob(f"{_PARTIAL}*"):
        try:
            if time.time() - left.stat().st_mtime > _DEAD_SECONDS:
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()
        except FileNotFoundError:
            continue  # another process cleared it first


def _seal(manifest: Mapping[str, object]) -> str:
    return _sha256(json.dumps(manifest, sort_keys=True).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
