"""The contract of data sources: queries, judgments, and documents, features or both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from rankcli.data.trec import Qrels
from rankcli.errors import ConfigError, DataError
from rankcli.shapes import Floats, Ints, Record


class DocIds(Protocol):
    """The ids of a collection by ordinal, 0..len-1. Can be pickled."""

    def __len__(self) -> int:
        """The number of documents."""

    def id_at(self, ordinal: int) -> str:
        """The id of an ordinal; IndexError where there is none."""

    def ids_at(self, ordinals: Iterable[int]) -> list[str]:
        """The ids of ordinals."""

    def ordinals(self, docids: Iterable[str]) -> Ints:
        """The ordinal of each id, int64; -1 for an id that is not in the collection."""


class Documents(DocIds, Protocol):
    """A collection of texts by id; `data.store.DocStore` is one, made from any texts by `data.store.store_of`."""

    source: str  # its name in messages
    fingerprint: str  # of ids and texts, in any order
    order: str  # of ids and texts, in the order of their ordinals
    titles: str  # of what is title and what is text; empty without any title
    empty: int  # documents without text

    def texts(self, docids: Iterable[str]) -> list[str]:
        """The text of each id; an id that is not in the collection is a DataError."""

    def records(self, docids: Iterable[str]) -> list[Record]:
        """The document of each id; an id that is not in the collection is a DataError."""

    def records_at(self, ordinals: Iterable[int]) -> list[Record]:
        """The document of each ordinal."""

    def absent(self, docids: Iterable[str]) -> set[str]:
        """The ids among `docids` that are not in the collection."""

    def iterate(self) -> Iterator[tuple[str, str]]:
        """Id and text of every document, by ordinal."""


class FeatureStore(Protocol):
    """Features of queries with documents, computed elsewhere. Can be pickled."""

    width: int

    def features(self, qid: str, docids: tuple[str, ...]) -> Floats:
        """The features of some documents for a query, float32 [K, width]; a pair without features is a DataError."""


class TrainingTriples(Protocol):
    """Queries with a relevant document and a not relevant one; see `data.triples.Triples`."""

    @property
    def docs(self) -> DocIds:
        """The collection that the ordinals refer to."""

    @property
    def source(self) -> str:
        """The name of the triples in messages."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content."""

    @property
    def qids(self) -> tuple[str, ...]:
        """The queries."""

    def pairs(self, qid: str) -> Ints:
        """The lines of one query in the order of the file: ordinals of relevant and not relevant document, [L, 2]."""

    def lines(self, qids: Iterable[str]) -> Ints:
        """The line numbers of some queries, ascending; only lines with both documents in the collection."""

    def line(self, number: int) -> tuple[str, str, str]:
        """The ids of one line: query, relevant and not relevant document."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A collection with queries and judgments; missing parts are None.

    `qrels` are by part of the split (train, dev, test), or all under an empty name: then `data.folds` makes the split.
    Without documents, or with `listed`, the candidates of a query are the documents that are judged for it.
    `fingerprint` changes whenever documents or features do. `name` is its name in messages.
    """

    name: str
    queries: Mapping[str, str]
    qrels: Mapping[str, Qrels]
    fingerprint: str
    docs: Documents | None = None
    features: FeatureStore | None = None
    triples: TrainingTriples | None = None
    listed: bool = False


@dataclass(frozen=True)
class SourceContext:
    """The inputs of a source besides its options: a local folder for files that it keeps from run to run."""

    scratch: Path


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """The base of the options of every source."""

    version: ClassVar[int]  # raise it when the same options give other data
    gives: ClassVar[tuple[str, ...]] = ()  # columns of its documents, such as `features`

    def build(self, ctx: SourceContext) -> Source:
        """Read the source."""
        raise NotImplementedError

    def at(self, path: str, width: int | None, scores: str | None = None) -> DatasetOptions:
        """Return the options of the same source for another file of features, with `width` of them, the scores of a run
        among them; ConfigError for a source that has none in a file.
        """
        raise ConfigError("the data of this model are no file of features", where=path, fix="leave --features out")


class NoDocuments:
    """The documents of a source without texts: every id counts as known, and no document has a text."""

    fingerprint, order, titles, empty = "", "", "", 0

    def __init__(self, source: str) -> None:
        self.source = source

    def __len__(self) -> int:
        return 0

    def id_at(self, ordinal: int) -> str:
        """Raise IndexError."""
        raise IndexError(f"there is no document {ordinal} of 0")

    def ids_at(self, ordinals: Iterable[int]) -> list[str]:
        """Raise IndexError for any ordinal."""
        return [self.id_at(n) for n in ordinals]

    def ordinals(self, docids: Iterable[str]) -> Ints:
        """Raise DataError: without a collection, documents have no ordinals."""
        raise self._missing()

    def texts(self, docids: Iterable[str]) -> list[str]:
        """Raise DataError for any id."""
        if any(True for _ in docids):
            raise self._missing()
        return []

    def records(self, docids: Iterable[str]) -> list[Record]:
        """Raise DataError for any id."""
        return [Record(*each) for each in zip(docids, self.texts(docids), strict=True)]

    def records_at(self, ordinals: Iterable[int]) -> list[Record]:
        """Raise IndexError for any ordinal."""
        return [Record(docid, "") for docid in self.ids_at(ordinals)]

    def absent(self, docids: Iterable[str]) -> set[str]:
        """An empty set: every id counts as known."""
        return set()

    def iterate(self) -> Iterator[tuple[str, str]]:
        """Raise DataError."""
        raise self._missing()

    def _missing(self) -> DataError:
        return DataError(
            "this source has no texts", where=self.source, fix="use an extractor and a searcher that read none"
        )
