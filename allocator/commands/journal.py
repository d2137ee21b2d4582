"""What a run logs, kept as lines of JSON beside being shown."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from types import TracebackType

PACKAGE = "allocator"


class Journal(logging.Handler):
    """Keeps every record of the package, while open, as a line of JSON with its time."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Append one record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        self.lines.append(
            json.dumps({"time": time, "level": record.levelname.lower(), "message": record.getMessage()})
        )

    def __enter__(self) -> Journal:
        logging.getLogger(PACKAGE).addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(PACKAGE).removeHandler(self)
