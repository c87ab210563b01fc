"""The contract of searchers: functions from queries to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rankcli.data.source import Documents
from rankcli.data.trec import Run
from rankcli.errors import ConfigError
from rankcli.shapes import Floats


class TextVectors(Protocol):
    """Vectors of one bi-encoder whose products are its scores; those of a collection are kept from run to run."""

    def queries(self, texts: Sequence[str]) -> Floats:
        """The vectors of query texts, [N, width]."""

    def docs(self, docids: Sequence[str]) -> Floats:
        """The vectors of some documents, [N, width]."""

    def blocks(self) -> Iterator[tuple[list[str], Floats]]:
        """Yield ids and vectors of all documents, a part of the collection at a time."""


def no_vectors(pretrained: str) -> TextVectors:
    """Raise ConfigError: a context without encoders."""
    raise ConfigError("texts cannot be encoded here", where=pretrained)


@dataclass(frozen=True)
class SearcherContext:
    """The inputs of a searcher besides its options: the collection, and the vectors of its texts by a model."""

    docs: Documents
    vectors: Callable[[str], TextVectors] = no_vectors
    shared: dict[Any, Any] = field(default_factory=dict)  # what several searchers make of the collection alike


class Searcher(Protocol):
    """Finds documents for queries. The same collection, in any order, and the same queries give the same run."""

    def search(self, queries: Mapping[str, str]) -> Run:
        """The best documents of each query text; a query that matches nothing has an empty entry."""


Values = npt.NDArray[np.float64]
Asked = tuple[str, Sequence[str]]  # the text of a query, and ids of documents


class DocumentScores(Protocol):
    """A searcher that has a score for any document of the collection."""

    def scores(self, asked: Sequence[Asked]) -> list[Values]:
        """The scores of documents for each of some queries."""
