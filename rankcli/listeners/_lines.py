"""A file of JSON lines in the run directory that a resumed run goes on with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankcli.log import warn
from rankcli.storage.disk import guard


class Lines:
    """Appends to a file. What was written after the checkpoint that a run resumes from is cut off, and written anew."""

    def __init__(self, path: Path) -> None:
        self.path, self._bytes = path, 0

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to the size of a checkpoint."""
        self._bytes = int(state["bytes"])

    def state(self) -> dict[str, int]:
        """Return the size."""
        return {"bytes": self._bytes}

    def start(self) -> None:
        """Cut off the rest of the file. A warning says that lines of before are gone."""
        with guard(self.path), self.path.open("ab") as out:
            if (size := out.tell()) < self._bytes:
                warn(f"{self.path}: {self._bytes - size} bytes of what was written are gone")
            self._bytes = min(self._bytes, size)
            out.truncate(self._bytes)

    def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add one line for each entry."""
        lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()
        with guard(self.path, len(lines)), self.path.open("ab") as out:
            out.write(lines)
        self._bytes += len(lines)
