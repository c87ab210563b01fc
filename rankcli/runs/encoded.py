"""The distinct texts of a run, and their vectors, which a rerank that is not finished keeps batch by batch.

The vectors of a batch are written to a file per field, and then a line about them. A batch is a pure function of the
run and the options, so the same command goes on after the last whole line as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import google_crc32c
import numpy as np

from rankcli.errors import DataError
from rankcli.evaluation.interpolate import Scores
from rankcli.extractors.base import Extractor
from rankcli.log import Progress, say
from rankcli.records.distinct import SORT_TEXTS, Part, sequence_of, tokens_of
from rankcli.records.prefetch import prefetch
from rankcli.records.vectors import Vectors
from rankcli.runs.journal import ENCODED, VECTORS, Journal, checked, checked_lines
from rankcli.runs.stream import Counts, Inputs, RankedQuery, blocks
from rankcli.shapes import Ints, Record
from rankcli.storage.disk import guard
from rankcli.training.encode import Encoded, VectorScorer
from rankcli.training.hosts import Hosts

ScoredBlocks = Generator[tuple[list[RankedQuery], Scores], None, None]


def scored_by_vectors(
    scorer: VectorScorer, inputs: Inputs, depth: int | None, counts: Counts, kept: Journal
) -> ScoredBlocks:
    """Yield every block of the run with its scores, after all its distinct texts are encoded."""
    texts = RunTexts(inputs, depth, scorer.hosts)
    for field in scorer.kept.known:
        parts = (part for part in texts.parts(scorer, 0)[0] if part.field == field)
        windows = ([sequence_of(scorer.extractor, field, each) for each in part.tokens] for part in parts)
        scorer.kept.fill(field, windows, len(texts.qids if field == scorer.query else texts.docs))
    with kept_vectors(kept, (scorer.query, scorer.doc)) as vectors:
        _encode(scorer, texts, vectors)
        with Progress(counts.pairs, "reranking", "pairs") as bar, closing(prefetch(texts.groups(), ahead=1)) as groups:
            for block, own in groups:
                found = {each.query.qid: _compared(scorer, each, vectors.vectors) for each in own}
                yield block, scorer.gathered(found)
                bar.advance(sum(map(len, found.values())))


def _encode(scorer: VectorScorer, texts: RunTexts, kept: KeptVectors) -> None:
    parts, skip = texts.parts(scorer, kept.batches)
    with Progress(len(texts), "encoding", "texts") as bar:
        bar.advance(kept.texts)
        bar.start_here()

        def steps() -> Iterator[int]:
            for encoded in scorer.encode(parts, skip):
                kept.add(encoded)
                yield len(encoded.numbers)

        for done in scorer.in_step(steps()):
            bar.advance(done)


def _compared(scorer: VectorScorer, group: NumberedQuery, vectors: dict[str, Vectors]) -> dict[str, float]:
    scores = scorer.compare(np.full(len(group.docs), group.number, np.int64), group.docs, vectors)
    return dict(zip(group.query.top, scores, strict=True))


class NumberedQuery(NamedTuple):
    """A query of a run, its number, and those of the documents to score."""

    query: RankedQuery
    number: int
    docs: Ints


class RunTexts:
    """The queries of a run that one of several hosts scores, and their documents, each numbered once.

    `qids` are in the order of the run, `docs` are ordinals of the collection, ascending: 8 bytes for a document.
    """

    def __init__(self, inputs: Inputs, depth: int | None, hosts: Hosts) -> None:
        self._inputs, self._depth, self._hosts = inputs, depth, hosts
        self.qids: list[str] = []
        wanted = np.zeros(len(inputs.store), np.bool_)
        for _, own in self._blocks():
            for query in own:
                self.qids.append(query.qid)
                wanted[inputs.store.ordinals(query.top)] = True
        self.docs: Ints = np.flatnonzero(wanted)

    def __len__(self) -> int:
        return len(self.qids) + len(self.docs)

    def parts(self, scorer: VectorScorer, done: int) -> tuple[Iterator[Part], int]:
        """Return the texts without those of the first `done` batches, but for so many batches that are to be skipped.

        Parts that are left out whole are not read.
        """
        query, doc, batch = scorer.query, scorer.doc, scorer.batch
        windows = [
            (field, first, min(first + SORT_TEXTS, count))
            for field, count in ((query, len(self.qids)), (doc, len(self.docs)))
            for first in range(0, count, SORT_TEXTS)
        ]
        while windows and done >= (batches := -(-(windows[0][2] - windows[0][1]) // batch)):
            windows, done = windows[1:], done - batches
        reads = {query: self._queries, doc: self._docs}
        return (_part(scorer.extractor, field, first, reads[field](first, end)) for field, first, end in windows), done

    def groups(self) -> Iterator[tuple[list[RankedQuery], list[NumberedQuery]]]:
        """Yield each block of the run, and this host's queries in it with the numbers of their texts."""
        number = 0
        for block, own in self._blocks():
            yield block, [NumberedQuery(each, n, self._numbers(each)) for n, each in enumerate(own, number)]
            number += len(own)

    def _blocks(self) -> Iterator[tuple[list[RankedQuery], list[RankedQuery]]]:
        for block in blocks(self._inputs, self._depth):
            yield block, [query for query in block if query.top][self._hosts.index :: self._hosts.count]

    def _numbers(self, query: RankedQuery) -> Ints:
        ordinals = self._inputs.store.ordinals(query.top)
        numbers = np.searchsorted(self.docs, ordinals)
        if (self.docs[numbers % len(self.docs)] != ordinals).any():
            raise DataError("the run has changed while it was read", where=self._inputs.source, fix="run again")
        return numbers

    def _queries(self, first: int, end: int) -> list[Record]:
        return [Record(qid, self._inputs.queries[qid]) for qid in self.qids[first:end]]

    def _docs(self, first: int, end: int) -> list[Record]:
        return self._inputs.store.records_at(self.docs[first:end].tolist())


def _part(extractor: Extractor, field: str, first: int, records: Sequence[Record]) -> Part:
    return Part(field, first, tokens_of(extractor, field, records), [1] * len(records))


class KeptVectors:
    """Vectors by field in a folder, of which `batches` batches with `texts` texts were whole when it was opened."""

    def __init__(self, vectors: dict[str, Vectors], lines: BinaryIO, where: Path) -> None:
        self.vectors, self._lines, self._where = vectors, lines, where
        self.batches = self.texts = size = 0
        for content, end in checked_lines(lines):
            if not self._whole(content):
                say(f"{where}: vectors are damaged from text {self.texts:,} on, and made again")
                break
            self.batches, self.texts, size = self.batches + 1, self.texts + len(content["numbers"]), end
        lines.truncate(size)
        lines.seek(size)

    def add(self, encoded: Encoded) -> None:
        """Keep the vectors of one more batch."""
        vectors = self.vectors[encoded.field]
        vectors.put(encoded.numbers, encoded.vectors)
        line = {"field": encoded.field, "numbers": encoded.numbers, "width": vectors.width}
        with guard(self._where):
            self._lines.write(checked({**line, "crc": self._crc(encoded.field, encoded.numbers)}))
            self._lines.flush()

    def _whole(self, line: Any) -> bool:
        vectors = self.vectors[line["field"]]
        vectors.width = line["width"]
        try:
            return bool(self._crc(line["field"], line["numbers"]) == line["crc"])
        except IndexError:  # the file ends before these rows
            return False

    def _crc(self, field: str, numbers: list[int]) -> int:
        return int(google_crc32c.value(self.vectors[field].get(numbers).tobytes()))


@contextmanager
def kept_vectors(journal: Journal, fields: Sequence[str]) -> Iterator[KeptVectors]:
    """The vectors of the fields of queries and documents in the folder of a journal."""
    folder = journal.folder
    with ExitStack() as stack:

        def opened(name: str) -> BinaryIO:
            (folder / name).touch()
            return stack.enter_context((folder / name).open("r+b"))

        with guard(folder):
            vectors = {field: Vectors(opened(name), folder) for field, name in zip(fields, VECTORS, strict=True)}
            kept = KeptVectors(vectors, opened(ENCODED), folder)
        if kept.texts:
            say(f"{journal.output}: going on after {kept.texts:,} texts that are encoded")
        yield kept
