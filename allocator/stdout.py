"""Standard output: what a command says, also to a reader that has gone or cannot show every character."""

from __future__ import annotations

import io
import os
import sys


def tolerate() -> None:
    """Write characters that the terminal's encoding lacks as escapes, rather than fail on them."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Write to stdout now. A reader that has gone (`hedge show | head`) is no error of the command."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
