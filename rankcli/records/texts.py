"""Queries and documents to convert, by id and by ordinal; ordinals never change during a conversion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from rankcli.errors import DataError
from rankcli.shapes import Floats, Ints, Level, Record

LEVELS: tuple[Level, ...] = ("query", "doc")
FEATURES = "features"  # the column of a source's features


class Texts(Protocol):
    """A collection of queries or documents. Can be pickled: conversion processes read it themselves."""

    def records(self, ids: Iterable[str]) -> list[Record]:
        """The query or document of each id; DataError for an unknown id."""

    def ordinals(self, ids: Iterable[str]) -> Ints:
        """The ordinal of each id, int64, the same in every process; -1 for an unknown id."""

    def ids_at(self, ordinals: Iterable[int]) -> list[str]:
        """The id of each ordinal."""

    def records_at(self, ordinals: Iterable[int]) -> list[Record]:
        """The query or document of each ordinal."""


class Features(Protocol):
    """Features of queries with documents, from a source that has them."""

    width: int

    def features(self, qid: str, docids: tuple[str, ...]) -> Floats:
        """The features of a query with documents, float32 [K, width]; DataError for an unknown pair."""


class InMemory:
    """Texts by id in memory; their ordinals are their order. `noun` is their name in messages."""

    def __init__(self, texts: Mapping[str, str], noun: str = "query") -> None:
        self._texts, self._noun = texts, noun
        self._ids = list(texts)
        self._numbers = {name: n for n, name in enumerate(self._ids)}

    def records(self, ids: Iterable[str]) -> list[Record]:
        """The text of each id; DataError for an unknown id."""
        wanted = list(ids)
        known(self.ordinals(wanted), wanted, self._noun)
        return [Record(name, self._texts[name]) for name in wanted]

    def ordinals(self, ids: Iterable[str]) -> Ints:
        """The ordinal of each id; -1 for an unknown id."""
        return np.array([self._numbers.get(name, -1) for name in ids], np.int64)

    def ids_at(self, ordinals: Iterable[int]) -> list[str]:
        """The id of each ordinal."""
        return [self._ids[n] for n in ordinals]

    def records_at(self, ordinals: Iterable[int]) -> list[Record]:
        """The text of each ordinal."""
        return self.records(self.ids_at(ordinals))


def known(ordinals: Ints, ids: Sequence[str], noun: str) -> Ints:
    """Return `ordinals`; DataError with the first id whose ordinal is -1."""
    missing = np.flatnonzero(ordinals < 0)
    if len(missing):
        fix = "check that all files belong together and use the same ids"
        raise DataError(f"{noun} {ids[missing[0]]!r} has no text", fix=fix)
    return ordinals
