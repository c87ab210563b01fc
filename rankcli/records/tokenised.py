"""The texts that the second step of a conversion wrote, read by their place among the texts that it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from rankcli.records.codec import Codec, listed
from rankcli.records.flat import Flat, FlatBytes
from rankcli.records.numbering import Numbers, wanted
from rankcli.shapes import Level

TEXTS_KEPT = 1 << 13  # in memory at most
Value = TypeVar("Value")


class Text(NamedTuple):
    """A query or document: its id, the id as an entry of a bytes list, and the bytes of its tokens in every stream of
    its level.
    """

    id: bytes
    listed_id: bytes
    tokens: tuple[bytes, ...]


class Tokenised:
    """The texts of both levels, opened when they are first read; a few memory maps for a collection of any size.

    Is pickled as its paths.
    """

    def __init__(self, numbers: Path, texts: Path, codec: Codec) -> None:
        self._made_of = numbers, texts, codec

    @functools.cached_property
    def queries(self) -> TextsOfLevel:
        """The queries."""
        return TextsOfLevel(*self._made_of, "query")

    @functools.cached_property
    def docs(self) -> TextsOfLevel:
        """The documents."""
        return TextsOfLevel(*self._made_of, "doc")

    @functools.cached_property
    def document(self) -> Callable[[int], Text]:
        """The document at a place."""
        return kept_if_few(self.docs.text, len(self.docs.wanted))

    def __reduce__(self) -> tuple[type[Tokenised], tuple[Path, Path, Codec]]:
        return Tokenised, self._made_of


class TextsOfLevel:
    """The texts of one level."""

    def __init__(self, numbers: Path, texts: Path, codec: Codec, level: Level) -> None:
        files = {kind: texts / f"{level}-{kind}" for kind in kinds(codec, level)}
        self.wanted = wanted(numbers, level)
        self._ids = FlatBytes(files["ids"])
        self._tokens = [
            FlatBytes(files[str(n)], stream.bytes) for n, stream in enumerate(codec.of_level(level).values())
        ]
        self._lengths = Flat(files["lengths"], np.int64).values

    def places(self, ordinals: Numbers) -> Numbers:
        """The place of each ordinal of the collection among the needed ones."""
        return np.searchsorted(self.wanted, ordinals)

    def text(self, place: int) -> Text:
        """The text at a place."""
        found, tokens = self._ids[place], tuple([pieces[place] for pieces in self._tokens])
        return Text(found, listed(found), tokens)

    def total(self, places: Numbers) -> int:
        """The number of tokens at some places before they were cut off."""
        return int(self._lengths[places].sum())


def kept_if_few(read: Callable[[int], Value], count: int) -> Callable[[int], Value]:
    """`read`, whose values are kept in memory if all `count` of them fit: a partial cache costs more than it saves."""
    return functools.cache(read) if count <= TEXTS_KEPT else read


def kinds(codec: Codec, level: Level) -> dict[str, npt.DTypeLike]:
    """The files of a level and the dtype of each: ids, lengths, and the tokens of every stream by its number."""
    streams = {str(n): stream.token for n, stream in enumerate(codec.of_level(level).values())}
    return {"ids": np.uint8, "lengths": np.int64, **streams}
