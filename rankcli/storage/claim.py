"""One process at a time in a directory; a second one gets an error with the name of the first, and does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankcli.errors import ConfigError
from rankcli.storage.locks import exclusive

LOCK = ".tmp.lock"  # temporary, like everything with `.tmp.` in its name, and no part of the directory's content


@contextmanager
def claimed(directory: Path, name: str) -> Iterator[None]:
    """Have a directory alone; ConfigError if another process has it. `name` is the directory's name in that error."""

    def refuse(owner: str) -> None:
        raise ConfigError(f"{owner} is training there", where=name, fix="wait until it ends, or give another --out")

    path = directory / LOCK
    with exclusive(path, refuse):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
