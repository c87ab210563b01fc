"""`metrics.jsonl`: one line per iteration trained and one per validation, in a run that may be interrupted anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rankcli.storage.atomic import write_file
from rankcli.storage.base import guard
from rankcli.trainers._base import State


class History:
    """Appends to the file; `rewind` first drops what a resumed run will do again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, state: State) -> None:
        """Keep the lines that `state` knows of: iterations up to its step, validations in its history."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if self._known(line, state)]
        if len(kept) != len(lines):
            write_file(self.path, "".join(f"{line}\n" for line in kept).encode())

    @staticmethod
    def _known(line: str, state: State) -> bool:
        try:
            entry = json.loads(line)
        except ValueError:  # a line cut by a kill
            return False
        return state.validated(entry["iter"]) if "dev" in entry else bool(entry["step"] <= state.step)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one line."""
        with guard(self.path), self.path.open("a") as out:
            out.write(json.dumps(entry) + "\n")
