"""The numbered files of a work folder, read by number: ids, tokens, and how many tokens there were before the cut."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli.records.codec import listed
from rankcli.records.flat import Flat, Pieces
from rankcli.records.numbering import IDS_PER_FILE, id_files, ids_file

NUMBERS, TOKENS = "numbers", "tokens"  # folders of the work folder
DOCUMENTS_KEPT = 1 << 13  # at most, in memory


class Document(NamedTuple):
    """A document: its id as records list it, the bytes of its tokens, and how many there were before the cut."""

    docid: bytes
    tokens: bytes
    total: int


class Pages:
    """What a process has opened of a work folder, kept from one shard to the next: a shard of a large collection may
    need documents of all files. To another process go the paths alone.
    """

    def __init__(self, work: Path, token_bytes: int) -> None:
        self._made_of = work, token_bytes
        numbers, tokens = work / NUMBERS, work / TOKENS
        self.qids, self._docids = (_Paged(numbers, level, ids_file, 1) for level in ("query", "doc"))
        self.queries, self._docs = (_Paged(tokens, level, tokens_file, token_bytes) for level in ("query", "doc"))
        self._lengths = _Lengths(tokens)

    @functools.cached_property
    def document(self) -> Callable[[int], Document]:
        """Document n. Few are kept once they are read; of many, keeping some would cost more than it saves."""
        few = id_files(self._made_of[0] / NUMBERS, "doc") * IDS_PER_FILE <= DOCUMENTS_KEPT
        return functools.cache(self._read) if few else self._read

    def _read(self, n: int) -> Document:
        return Document(listed(self._docids[n]), self._docs[n], self._lengths[n])

    def __reduce__(self) -> tuple[type[Pages], tuple[Path, int]]:
        return Pages, self._made_of


class _Paged:
    """The arrays of numbered files as bytes, each file mapped when it is first needed."""

    def __init__(self, folder: Path, level: str, file: Callable[[Path, str, int], Path], item_bytes: int) -> None:
        self._folder, self._level, self._file, self._item_bytes = folder, level, file, item_bytes
        self._open: dict[int, Pieces] = {}

    def __getitem__(self, n: int) -> bytes:
        number, place = divmod(n, IDS_PER_FILE)
        pieces = self._open.get(number)
        if pieces is None:
            pieces = self._open[number] = Pieces(self._file(self._folder, self._level, number), self._item_bytes)
        return pieces[place]


class _Lengths:
    """The tokens of each document before it was cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, npt.NDArray[np.int64]] = {}

    def __getitem__(self, n: int) -> int:
        number, place = divmod(n, IDS_PER_FILE)
        lengths = self._open.get(number)
        if lengths is None:
            lengths = self._open[number] = Flat(lengths_file(self._folder, "doc", number), np.int64)[0]
        return int(lengths[place])


def tokens_file(folder: Path, level: str, number: int) -> Path:
    """The tokens of the texts whose ids are in file `number`."""
    return folder / f"{level}-{number:06d}"


def lengths_file(folder: Path, level: str, number: int) -> Path:
    """Their lengths before they were cut."""
    return folder / f"{level}-lengths-{number:06d}"
