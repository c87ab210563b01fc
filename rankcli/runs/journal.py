"""The scores of a rerank that is not finished, kept batch by batch, so that the same command can go on.

Every line has the scores of one batch as JSON, and a checksum before it. A batch is a pure function of the run and the
options, so what follows can be computed as if nothing had happened.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from rankcli.config.identity import differences, digest
from rankcli.errors import StorageError
from rankcli.evaluation.interpolate import Scores
from rankcli.log import say
from rankcli.storage.atomic import make_directory, write_file
from rankcli.storage.disk import guard
from rankcli.storage.json_files import small_file
from rankcli.storage.locks import exclusive, taken
from rankcli.storage.sealed import sealed, unsealed

FOLDER, LOCK, ABOUT, SCORES, RUN = "rerank", "lock", "about.json", "scores", "run"
ENCODED, VECTORS = "encoded", ("query.vectors", "doc.vectors")  # in place of scores, for a model that compares vectors
FILES = (SCORES, RUN, ENCODED, *VECTORS, LOCK, ABOUT)


@dataclass
class Journal:
    """The scores in `folder`: `size` bytes of whole lines with `pairs` scores when it was opened.

    `output` is the name of the rerank in messages.
    """

    output: str
    folder: Path
    reading: BinaryIO
    writing: BinaryIO
    size: int
    pairs: int

    def take(self, pairs: int) -> list[Scores]:
        """Return the next kept batches, until they have `pairs` scores or none is left."""
        batches: list[Scores] = []
        while pairs > 0 and self.reading.tell() < self.size:
            batches.append(json.loads(self.reading.readline()[9:]))
            pairs -= count(batches[-1])
        return batches

    def add(self, scores: Scores) -> None:
        """Keep the scores of one more batch."""
        with guard(self.folder):
            self.writing.write(checked(scores))


@contextmanager
def journal(root: Path, identity: Mapping[str, Any], output: str) -> Iterator[Journal]:
    """The journal of this rerank in a folder of `root`, for this process alone; removed if the block has no error.

    The folder is named after `identity`, what the scores depend on. Journals of other scores for the same `output` are
    removed, with a line.
    """
    home = root / FOLDER
    folder = home / digest(identity)
    with guard(home):
        make_directory(home)
        if home.stat().st_uid != os.geteuid():  # in a folder of all users anybody could have made it
            raise StorageError("belongs to another user", where=str(home), fix="set RANKCLI_CACHE to a folder of yours")
    with exclusive(folder / LOCK), guard(folder):
        _remove_outdated(home, folder, identity, output)
        write_file(folder / ABOUT, sealed({"identity": dict(identity), "output": output}))
        with open(folder / SCORES, "ab", buffering=0) as writing, open(folder / SCORES, "rb") as reading:
            size, pairs = _whole(reading)
            writing.truncate(size)
            reading.seek(0)
            if pairs:
                say(f"{output}: going on after {pairs:,} pairs that are scored")
            yield Journal(output, folder, reading, writing, size, pairs)
        shutil.rmtree(folder)
        with suppress(OSError):  # others use it
            home.rmdir()


def about(folder: Path) -> dict[str, Any] | None:
    """Return `identity` and `output` of a journal; None if the folder is not named after the identity in it."""
    try:
        found = unsealed(small_file(folder / ABOUT))
        return found if digest(found["identity"]) == folder.name else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _remove_outdated(home: Path, folder: Path, identity: Mapping[str, Any], output: str) -> None:
    for other in home.iterdir():
        found = about(other) if other != folder and other.is_dir() and not other.is_symlink() else None
        if found and found.get("output") == output and not taken(other / LOCK):
            changed = ", ".join(each.key for each in differences(found["identity"], dict(identity)))
            say(f"{output}: begun anew, because what was kept of it differs in {changed}")
            shutil.rmtree(other)


def _whole(file: BinaryIO) -> tuple[int, int]:
    """Count the bytes and scores of the lines before the first that is cut off or damaged."""
    size = pairs = 0
    for scores, end in checked_lines(file):
        size, pairs = end, pairs + count(scores)
    return size, pairs


def checked(content: Any) -> bytes:
    """Return content as a line of JSON with a checksum before it."""
    text = json.dumps(content).encode()
    return b"%08x %s\n" % (google_crc32c.value(text), text)


def checked_lines(file: BinaryIO) -> Iterator[tuple[Any, int]]:
    """Yield the content of each line of `checked` and its end in bytes, up to the first one cut off or damaged."""
    end = 0
    for line in file:
        if not line.endswith(b"\n") or line[:9] != b"%08x " % google_crc32c.value(line[9:-1]):
            say(f"{file.name}: {os.fstat(file.fileno()).st_size - end:,} bytes are incomplete and made again")
            return
        end += len(line)
        yield json.loads(line[9:]), end


def count(scores: Scores) -> int:
    """Return the number of pairs."""
    return sum(map(len, scores.values()))
