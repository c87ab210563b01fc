"""The second step of a conversion: every text that its samples need tokenised once, by several processes.

Files of the folder `texts`, per level: `LEVEL-ids`, for every stream of it `LEVEL-N` (the tokens), and `LEVEL-lengths`
(the number of tokens of all streams before the extractor cut them off). Each is written in parts of `TEXTS_PER_PART`
texts in the folder `parts`; a restarted conversion skips finished parts. When all parts are written, they are merged:
a reader opens the same few files for a collection of any size.
`Tokenised` reads them by the place of a text among those that are needed.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from rankcli import log
from rankcli.extractors.base import Extractor
from rankcli.records.codec import Codec, listed
from rankcli.records.flat import Flat, FlatBytes, Joined, intact, keep_flat, merge_flat
from rankcli.records.numbering import Numbers, wanted
from rankcli.records.texts import LEVELS, Features, Texts
from rankcli.records.workers import Workers
from rankcli.shapes import Encoded, Level, Record
from rankcli.storage.base import Storage
from rankcli.storage.disk import guard

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


TEXTS_PER_PART = 16_384
NUMBERS, TEXTS, PARTS = "numbers", "texts", "parts"  # folders of the work folder


class Tools(NamedTuple):
    """The means of a conversion process: `work` is the local folder to build in, `location` the cache in storage."""

    extractor: Extractor
    codec: Codec
    queries: Texts
    docs: Texts
    features: Features | None
    work: Path
    storage: Storage
    location: str
    tokenised: Tokenised

    @property
    def numbers(self) -> Path:
        """The folder of the first step."""
        return self.work / NUMBERS

    @property
    def texts(self) -> Path:
        """The folder of the second step."""
        return self.work / TEXTS

    @property
    def parts(self) -> Path:
        """The folder of parts that are not merged yet."""
        return self.work / PARTS

    def of(self, level: Level) -> Texts:
        """The texts of a level."""
        return self.queries if level == "query" else self.docs


class TextPart(NamedTuple):
    """Texts to tokenise: part `number` of a level."""

    level: Level
    number: int


def tokenise(tools: Tools, pool: Workers, bar: log.Progress) -> None:
    """Write the files that are missing."""
    for folder in (tools.texts, tools.parts):
        with guard(folder):
            folder.mkdir(exist_ok=True)
    for level in LEVELS:
        if not _whole(tools, level):
            for done in pool.map(write_tokens, _tasks(tools, level, bar)):
                bar.advance(done)
            _put_together(tools, level)
    with guard(tools.parts):
        shutil.rmtree(tools.parts)


def count_texts(tools: Tools) -> int:
    """The number of texts, queries and documents, that a conversion needs."""
    return sum(len(wanted(tools.numbers, level)) for level in LEVELS)


def _whole(tools: Tools, level: Level) -> bool:
    return all(intact(tools.texts / f"{level}-{kind}") for kind in kinds(tools.codec, level))


def _tasks(tools: Tools, level: Level, bar: log.Progress) -> Iterator[TextPart]:
    for number in range(_parts(tools, level)):
        if all(intact(_part(tools, level, kind, number)) for kind in kinds(tools.codec, level)):
            bar.advance(len(_ordinals(tools, TextPart(level, number))))
        else:
            yield TextPart(level, number)


def _parts(tools: Tools, level: Level) -> int:
    return -(-len(wanted(tools.numbers, level)) // TEXTS_PER_PART)


def _part(tools: Tools, level: Level, kind: str, number: int) -> Path:
    return tools.parts / f"{level}-{kind}-{number:06d}"


def _ordinals(tools: Tools, task: TextPart) -> npt.NDArray[np.int64]:
    first = task.number * TEXTS_PER_PART
    return wanted(tools.numbers, task.level)[first : first + TEXTS_PER_PART]


def write_tokens(tools: Tools, task: TextPart) -> int:
    """Tokenise the texts of one part and return their number; a task of a conversion process."""
    texts, ordinals = tools.of(task.level), _ordinals(tools, task).tolist()
    records = texts.records_at(ordinals)
    ids = [record.id.encode() for record in records]
    arrays = {"ids": Joined(np.frombuffer(b"".join(ids), np.uint8), list(map(len, ids)))}
    lengths = np.zeros(len(records), np.int64)
    for n, stream in enumerate(tools.codec.of_level(task.level)):
        encoded = encoded_texts(tools.extractor, stream, records)
        arrays[str(n)] = Joined.of(encoded.tokens)
        lengths += np.array(encoded.lengths, np.int64)
    arrays["lengths"] = Joined(lengths, [1] * len(records))
    for kind, dtype in kinds(tools.codec, task.level).items():
        keep_flat(_part(tools, task.level, kind, task.number), arrays[kind], dtype)
    return len(records)


def _put_together(tools: Tools, level: Level) -> None:
    """Merge all parts to one file of each kind, and then remove them."""
    files = kinds(tools.codec, level)
    parts = {kind: [_part(tools, level, kind, number) for number in range(_parts(tools, level))] for kind in files}
    for kind, dtype in files.items():
        merge_flat(tools.texts / f"{level}-{kind}", parts[kind], dtype)
    for part in (part for of_kind in parts.values() for part in of_kind):
        part.unlink()


def encoded_texts(extractor: Extractor, stream: str, records: Sequence[Record]) -> Encoded:
    """The tokens that the extractor makes of texts; ValueError if their number or their ids contradict its streams."""
    encoded = extractor.encode(stream, records)
    if not len(encoded.tokens) == len(encoded.lengths) == len(records):
        raise ValueError(f"the extractor made {len(encoded.tokens)} token lists of {len(records)} texts")
    joined = np.concatenate([np.zeros(1, np.int64), *encoded.tokens])
    size = extractor.streams[stream].vocab_size
    if not 0 <= joined.min() <= joined.max() < size:
        raise ValueError(f"the extractor made token ids outside its vocabulary of {size}")
    return encoded
