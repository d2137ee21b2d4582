"""One process at a time: the second to want the same run waits, and then finds it finished.

The lock is the operating system's, on a file beside the run folders: it ends with its process, however that
dies, so nothing is left to clear by hand.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PAUSE = 0.5  # seconds between two tries
log = logging.getLogger(__name__)


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Hold the lock `file` for the block; while another process holds it, say so once and wait."""
    told = False
    while (handle := _locked(file)) is None:
        if not told:
            log.warning("%s: another process computes this run; waiting for it", file.parent)
            told = True
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        _remove(file)
        os.close(handle)


def _locked(file: Path) -> int | None:
    """A handle that holds the lock; None where another process has it."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    # A file that its last holder removed meanwhile locks nobody out.
    if _try(handle) and _same(handle, file):
        return handle
    os.close(handle)
    return None


def _try(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _same(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except PermissionError:  # where open files cannot be removed, the empty file stays
        return
