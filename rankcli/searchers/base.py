"""The contract of searchers: functions from queries to a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Searcher(Protocol):
    """Finds documents for queries. The same collection, in any order, and the same queries give the same run."""

    def search(self, queries: Mapping[str, str]) -> Run:
        """The best documents of each query text; a query that matches nothing has an empty entry."""
