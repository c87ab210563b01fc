"""Training triples of texts, which are a collection of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from rankcli.config.registry import DATASETS, option
from rankcli.data.hashes import input_sha256
from rankcli.data.lines import MAX_TEXT_LINE, Row, fail, read_rows
from rankcli.data.source import DatasetOptions, Source, SourceContext
from rankcli.data.store import store_from
from rankcli.data.triple_files import in_blocks
from rankcli.data.triple_views import TripleJudgments
from rankcli.data.triples import open_table

_BATCH = 1 << 16  # texts


@DATASETS.register("triples")
@dataclass(frozen=True, kw_only=True)
class TextTriples(DatasetOptions):
    """Lines `query<TAB>relevant text<TAB>other text`, as in MS MARCO's triples.train.small.tsv.

    Queries and documents are the different texts of the lines, by a hash of the text; the relevant documents of a query
    are judged 1. The file is read three times, in flat memory, and then cached.
    """

    version: ClassVar[int] = 1
    path: str = option(help="the file, which may be gzip", path="file")

    def build(self, ctx: SourceContext) -> Source:
        """Read the file, or its cached tables."""
        content = input_sha256(self.path)
        made_of = f"text-triples:{self.version}:{content}"
        docs = store_from(f"{made_of}:docs", lambda: _distinct(self._texts((1, 2))), self.path, ctx.scratch)
        queries = store_from(f"{made_of}:queries", lambda: _distinct(self._texts((0,))), self.path, ctx.scratch)
        triples = open_table(content, lambda: in_blocks(map(_ids, self._lines())), docs, self.path, ctx.scratch)
        judgments = TripleJudgments(triples, triples.qids)
        return Source(
            name=self.path,
            queries=dict(queries.iterate()),
            qrels={"": {qid: dict(grades) for qid, grades in judgments.items()}},
            docs=docs,
            triples=triples,
            fingerprint=docs.fingerprint,
        )

    def _lines(self) -> Iterator[list[str]]:
        """The three texts of every line."""
        for _, texts in self._numbered():
            yield texts

    def _numbered(self) -> Iterator[tuple[int, list[str]]]:
        for number, line in read_rows(self.path, MAX_TEXT_LINE):
            texts = [text.strip() for text in line.split("\t")]
            if len(texts) != 3:
                fail(self.path, number, f"{len(texts)} tab-separated columns, expected 3: query, text, text")
            yield number, texts

    def _texts(self, columns: tuple[int, ...]) -> Iterator[Row]:
        """The texts of some columns under their ids."""
        for number, texts in self._numbered():
            for column in columns:
                yield Row(number, _id(texts[column]), texts[column])


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _ids(texts: list[str]) -> tuple[str, str, str]:
    query, positive, negative = map(_id, texts)
    return query, positive, negative


def _distinct(rows: Iterator[Row]) -> Iterator[Row]:
    """The first row of each id, by the first 8 bytes of the id, which are kept in memory.

    In a collection of 10^7 texts, two share these 8 bytes with probability 10^-5. Then the second is missing, and lines
    that name it count as incomplete.
    """
    seen = np.array([(1 << 64) - 1], np.uint64)  # sorted; the end is never reached
    while batch := list(islice(rows, _BATCH)):
        keys, first = np.unique(np.array([int(row.id[:16], 16) for row in batch], np.uint64), return_index=True)
        places = np.searchsorted(seen, keys)
        fresh = seen[places] != keys
        yield from [batch[n] for n in np.sort(first[fresh]).tolist()]
        seen = np.insert(seen, places[fresh], keys[fresh])
