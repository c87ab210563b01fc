"""`metrics.jsonl`: one line per iteration trained and one per validation, in a run that may be interrupted anywhere."""

from __future__ import annotations

import json
from pathlib import Path

from rankcli.listeners.base import DEV, Entry
from rankcli.storage.atomic import write_file
from rankcli.storage.disk import guard
from rankcli.training.base import State


class History:
    """Appends to the file. `rewind` first drops the lines that a resumed run will write again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, state: State) -> list[Entry]:
        """Keep and return the lines up to `state`: iterations up to its step, and validations that it has completed."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [(line, entry) for line in lines if (entry := _parsed(line)) and _known(entry, state)]
        if len(kept) != len(lines):
            write_file(self.path, "".join(f"{line}\n" for line, _ in kept).encode())
        return [entry for _, entry in kept]

    def append(self, entry: Entry) -> None:
        """Add one line."""
        with guard(self.path), self.path.open("a") as out:
            out.write(json.dumps(entry) + "\n")


def _parsed(line: str) -> Entry | None:
    try:
        entry: Entry = json.loads(line)
    except ValueError:  # a line cut by a kill
        return None
    return entry


def _known(entry: Entry, state: State) -> bool:
    return bool(entry["iter"] <= state.validated if DEV in entry else entry["step"] <= state.step)
