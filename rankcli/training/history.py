"""`metrics.jsonl`: one line per iteration trained and one per validation, in a run that may be interrupted anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import google_crc32c

from rankcli.listeners.base import DEV, Entry
from rankcli.log import warn
from rankcli.storage.atomic import write_file
from rankcli.storage.disk import guard
from rankcli.storage.json_files import whole_file
from rankcli.training.base import State


class History:
    """Appends to the file. `rewind` first drops the lines that a resumed run will write again.

    `extent` is the size and the CRC32C of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.extent = [0, 0]

    def rewind(self, state: State) -> list[Entry]:
        """Keep and return the lines up to `state`: iterations up to its step, and validations that it has completed.

        A warning says that lines of before the checkpoint were changed or are gone.
        """
        with guard(self.path):
            data = whole_file(self.path) if self.path.exists() else b""
        if state.history and state.history != _extent(data[: state.history[0]]):
            warn(f"{self.path}: it is not what was written: the curves of the report may lack iterations")
        lines = data.decode(errors="replace").splitlines()
        kept = [(line, entry) for line in lines if (entry := _parsed(line)) and _known(entry, state)]
        content = "".join(f"{line}\n" for line, _ in kept).encode()
        if content != data:
            write_file(self.path, content)
        self.extent = _extent(content)
        return [entry for _, entry in kept]

    def append(self, entry: Entry) -> None:
        """Add one line."""
        line = (json.dumps(entry) + "\n").encode()
        with guard(self.path, len(line)), self.path.open("ab") as out:
            out.write(line)
        self.extent = [self.extent[0] + len(line), google_crc32c.extend(self.extent[1], line)]


def _extent(data: bytes) -> list[int]:
    return [len(data), google_crc32c.value(data)]


def _parsed(line: str) -> Entry | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # a line cut by a kill
        return None
    known = isinstance(entry, dict) and all(type(entry.get(key)) is int for key in ("iter", "step"))
    return entry if known else None


def _known(entry: Entry, state: State) -> bool:
    return bool(entry["iter"] <= state.validated if DEV in entry else entry["step"] <= state.step)
