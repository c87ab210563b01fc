"""The first half of a conversion: samples as numbers, and every text that they need tokenised once.

Files of the build folder: `groups` (per sample the numbers of its query and its documents), `labels`, `qids` and
`docids` (the ids by number), `query` and `doc` (their tokens), `query.lengths` and `doc.lengths` (how many there were
before the extractor cut them).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rankcli import log
from rankcli.extractors._base import Extractor
from rankcli.records.codec import token_dtype
from rankcli.records.flat import FlatWriter
from rankcli.shapes import Encoded, Level, Sample

TEXTS_PER_TASK = 256


class Texts(Protocol):
    """Where documents' texts come from."""

    def texts(self, docids: Sequence[str]) -> list[str]:
        """The text of each document."""


class Tools(NamedTuple):
    """What a conversion process works with."""

    extractor: Extractor
    docs: Texts
    build: Path


@dataclass(frozen=True)
class Ids:
    """The ids that the samples need, each with its number: they are counted as they first appear."""

    queries: dict[str, int]
    docs: dict[str, int]

    def __len__(self) -> int:
        return len(self.queries) + len(self.docs)


def write_samples(samples: Iterable[Sample], build: Path, bar: log.Progress) -> Ids:
    """Write the samples one by one, so that no list of them is ever held, and then their ids."""
    queries: dict[str, int] = {}
    docs: dict[str, int] = {}
    with FlatWriter(build / "groups", np.int64) as groups, FlatWriter(build / "labels", np.float32) as labels:
        for sample in samples:
            numbers = [docs.setdefault(docid, len(docs)) for docid in sample.docids]
            groups.append([np.array([queries.setdefault(sample.qid, len(queries)), *numbers], np.int64)])
            labels.append([np.array(sample.labels, np.float32)])
            bar.advance()
    _write_ids(build / "qids", queries)
    _write_ids(build / "docids", docs)
    return Ids(queries, docs)


def _write_ids(path: Path, ids: Iterable[str]) -> None:
    with FlatWriter(path, np.uint8) as file:
        for chunk in chunks(ids, TEXTS_PER_TASK):
            file.append([np.frombuffer(name.encode(), np.uint8) for name in chunk])


def chunks(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` items; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def encode_queries(tools: Tools, texts: list[str]) -> Encoded:
    """Tokens of queries; a task of a conversion process."""
    return _encode(tools.extractor, "query", texts)


def encode_docs(tools: Tools, docids: list[str]) -> Encoded:
    """Tokens of documents; a task of a conversion process."""
    return _encode(tools.extractor, "doc", tools.docs.texts(docids))


def _encode(extractor: Extractor, level: Level, texts: Sequence[str]) -> Encoded:
    encoded = extractor.encode(level, texts)
    arrays = [np.asarray(tokens) for tokens in encoded.tokens]
    if any(len(array) and not 0 <= array.min() <= array.max() < extractor.vocab_size for array in arrays):
        raise ValueError(f"the extractor made token ids outside its vocabulary of {extractor.vocab_size}")
    if not len(arrays) == len(encoded.lengths) == len(texts):
        raise ValueError(f"the extractor made {len(arrays)} token lists of {len(texts)} texts")
    dtype = token_dtype(extractor.vocab_size)
    return Encoded([array.astype(dtype) for array in arrays], encoded.lengths)


def write_tokens(path: Path, dtype: npt.DTypeLike, results: Iterable[Encoded], bar: log.Progress) -> None:
    """Write what `encode_queries` or `encode_docs` made, in order."""
    with FlatWriter(path, dtype) as tokens, FlatWriter(path.with_name(f"{path.name}.lengths"), np.int64) as lengths:
        for result in results:
            tokens.append(result.tokens)
            lengths.append([np.array(result.lengths, np.int64)])
            bar.advance(len(result.tokens))
