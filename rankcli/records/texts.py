"""Queries and documents to convert: by id, and by a number that never changes while a conversion goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from rankcli.errors import DataError
from rankcli.shapes import Floats, Level, Record

LEVELS: tuple[Level, ...] = ("query", "doc")
FEATURES = "features"  # the column of numbers that a source gives


class Texts(Protocol):
    """A collection of queries or documents. Can be pickled: conversion processes read it themselves."""

    def texts(self, ids: Sequence[str]) -> list[str]:
        """The text of each id; DataError for an id that is not there."""

    def ordinals(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """The number of each id, the same in every process; DataError for an id that is not there."""

    def records(self, ordinals: Sequence[int]) -> list[Record]:
        """Id and text of each number."""


class Features(Protocol):
    """Numbers of queries with documents, from a source that has them."""

    width: int

    def features(self, qid: str, docids: Sequence[str]) -> Floats:
        """Float32 [K, width]; DataError for a pair that is not there."""


class Topics:
    """Queries that lie in memory, numbered in their order."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        self._queries = queries
        self._ids = list(queries)
        self._numbers = {qid: n for n, qid in enumerate(self._ids)}

    def texts(self, ids: Sequence[str]) -> list[str]:
        """The text of each query."""
        return [record.text for record in self.records(self.ordinals(ids).tolist())]

    def ordinals(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """The place of each query; DataError for one without a text."""
        missing = next((qid for qid in ids if qid not in self._numbers), None)
        if missing is not None:
            raise DataError(f"query {missing!r} has no text", fix="check that queries and qrels use the same ids")
        return np.array([self._numbers[qid] for qid in ids], np.int64)

    def records(self, ordinals: Sequence[int]) -> list[Record]:
        """Id and text of each place."""
        return [Record(self._ids[n], self._queries[self._ids[n]]) for n in ordinals]
