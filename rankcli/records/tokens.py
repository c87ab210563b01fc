"""The second step of a conversion: every text that its samples need tokenised once, by several processes.

Files of the folder `tokens`, one per file of ids: `query-N` and `doc-N` (the tokens), `query-lengths-N` and
`doc-lengths-N` (how many there were before the extractor cut them). What a killed conversion has left is used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from rankcli import log
from rankcli.errors import DataError
from rankcli.extractors.base import Extractor
from rankcli.records.codec import token_dtype
from rankcli.records.flat import intact, write_flat
from rankcli.records.numbering import id_files, read_ids
from rankcli.records.pages import NUMBERS, TOKENS, Pages, lengths_file, tokens_file
from rankcli.records.workers import Workers
from rankcli.shapes import Encoded, Level
from rankcli.storage.atomic import replacing_file
from rankcli.storage.base import Storage
from rankcli.storage.disk import guard

LEVELS: tuple[Level, ...] = ("query", "doc")


class Texts(Protocol):
    """Where documents' texts come from."""

    def texts(self, docids: Sequence[str]) -> list[str]:
        """The text of each document."""


class Tools(NamedTuple):
    """What a conversion process works with: `work` is the local folder to build in, `location` the cache in storage."""

    extractor: Extractor
    docs: Texts
    work: Path
    storage: Storage
    location: str
    pages: Pages

    @property
    def numbers(self) -> Path:
        """The folder of the first step."""
        return self.work / NUMBERS

    @property
    def tokens(self) -> Path:
        """The folder of the second step."""
        return self.work / TOKENS


class Task(NamedTuple):
    """One file of ids to tokenise; the texts of queries come along, those of documents are read."""

    level: Level
    number: int
    texts: list[str] | None


def tokenise(tools: Tools, queries: Mapping[str, str], pool: Workers, bar: log.Progress) -> None:
    """Write the token files that are missing."""
    with guard(tools.tokens):
        tools.tokens.mkdir(exist_ok=True)
    for texts in pool.map(write_tokens, _tasks(tools, queries, bar)):
        bar.advance(texts)


def _tasks(tools: Tools, queries: Mapping[str, str], bar: log.Progress) -> Iterator[Task]:
    for level in LEVELS:
        for number in range(id_files(tools.numbers, level)):
            ids = read_ids(tools.numbers, level, number)
            if all(intact(file(tools.tokens, level, number)) for file in (tokens_file, lengths_file)):
                bar.advance(len(ids))
            else:
                yield Task(level, number, [_text(queries, qid) for qid in ids] if level == "query" else None)


def _text(queries: Mapping[str, str], qid: str) -> str:
    if qid not in queries:
        raise DataError(f"query {qid!r} has no text", fix="check that queries and qrels use the same ids")
    return queries[qid]


def write_tokens(tools: Tools, task: Task) -> int:
    """Tokenise the texts of one file of ids, and say how many; a task of a conversion process."""
    texts = task.texts
    if texts is None:
        texts = tools.docs.texts(read_ids(tools.numbers, task.level, task.number))
    encoded = encoded_texts(tools.extractor, task.level, texts)
    lengths = lengths_file(tools.tokens, task.level, task.number)
    with guard(lengths), replacing_file(lengths) as path:
        write_flat(path, [np.array(encoded.lengths, np.int64)], np.int64)
    tokens = tokens_file(tools.tokens, task.level, task.number)
    with guard(tokens), replacing_file(tokens) as path:
        write_flat(path, encoded.tokens, token_dtype(tools.extractor.vocab_size))
    return len(texts)


def encoded_texts(extractor: Extractor, level: Level, texts: Sequence[str]) -> Encoded:
    """What the extractor makes of `texts`; ValueError where that is not what it says of itself."""
    encoded = extractor.encode(level, texts)
    if not len(encoded.tokens) == len(encoded.lengths) == len(texts):
        raise ValueError(f"the extractor made {len(encoded.tokens)} token lists of {len(texts)} texts")
    joined = np.concatenate([np.zeros(1, np.int64), *encoded.tokens])
    if not 0 <= joined.min() <= joined.max() < extractor.vocab_size:
        raise ValueError(f"the extractor made token ids outside its vocabulary of {extractor.vocab_size}")
    return encoded
