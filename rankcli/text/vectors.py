"""Word vectors from files of word2vec, GloVe and fastText, of the words of a vocabulary alone."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from rankcli.errors import DataError
from rankcli.log import say
from rankcli.shapes import Floats
from rankcli.storage.disk import guard
from rankcli.storage.inputs import local_copy
from rankcli.text.vocabulary import FIRST_ID, Vocabulary

_CHUNK = 1 << 20  # bytes
_LONGEST = 1 << 10  # bytes of a word in a binary file
_GZIP, _FASTTEXT_BIN = b"\x1f\x8b", b"\xba\x16\x4f\x2f"


class Row(NamedTuple):
    """A word of a file, as bytes, its numbers, and the place of both in the file."""

    word: bytes
    values: Floats
    where: str


def word_vectors(path: str, vocabulary: Vocabulary) -> Floats:
    """Vectors of the vocabulary's words by id, float32 [size, D]; ids that are no words have zeros.

    The file is read once, and no other vectors are kept. Words that it lacks get random vectors of the average length,
    which depend on the word alone. Says how many words and occurrences the file covers. DataError (file:line) for a
    line that is not a vector, and for a file without any word of the vocabulary.
    """
    found = _found(path, {word.encode(): n for n, word in enumerate(vocabulary.words)})
    if not found:
        fix = "is it of this language? see extractor.lowercase and extractor.stemmer"
        raise DataError("no word of the vocabulary has a vector", where=path, fix=fix)
    say(_coverage(path, vocabulary, set(found)))
    known = np.stack(list(found.values()))
    table = np.zeros((vocabulary.size, known.shape[1]), np.float32)
    table[FIRST_ID + np.array(list(found))] = known
    length = float(np.linalg.norm(known, axis=1).mean())
    for n in sorted({*range(len(vocabulary.words))} - set(found)):
        table[FIRST_ID + n] = _random(vocabulary.words[n], known.shape[1], length)
    return table


def _found(path: str, numbers: dict[bytes, int]) -> dict[int, Floats]:
    """The vectors of wanted words, by the numbers of the words; the first one of each word counts."""
    found: dict[int, Floats] = {}
    local = local_copy(path)
    with guard(local), _opened(local) as file:
        for row in _rows(file, path, numbers):
            if not np.isfinite(row.values).all():
                raise DataError("a number of this vector is not finite", where=row.where)
            found.setdefault(numbers[row.word], row.values)
    return found


def _coverage(path: str, vocabulary: Vocabulary, found: set[int]) -> str:
    df = np.array(vocabulary.frequencies, np.float64)
    words, uses = len(found) / len(df), df[sorted(found)].sum() / df.sum()
    count = f"{len(found)} of {len(df)} words of the vocabulary ({words:.1%})"
    return f"word vectors of {Path(path).name}: {count}, {uses:.1%} when counted by their documents"


def _random(word: str, width: int, length: float) -> npt.NDArray[np.float64]:
    drawn = np.random.default_rng(zlib.crc32(word.encode())).normal(size=width)
    scaled: npt.NDArray[np.float64] = drawn * (length / np.linalg.norm(drawn))
    return scaled


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        try:
            with gzip.open(file) as inside:
                yield cast(BinaryIO, inside)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"the gzip file is damaged: {error}", where=str(path)) from error


def _rows(file: BinaryIO, path: str, wanted: dict[bytes, int]) -> Iterator[Row]:
    """The rows of wanted words, of a file of any of the formats."""
    first = file.readline(_CHUNK)
    if first.startswith(_FASTTEXT_BIN):
        fix = "give the .vec file that lies beside it"
        raise DataError("a model of fastText, not a file of vectors", where=path, fix=fix)
    header = first.split()
    if len(header) == 2 and all(part.isdigit() for part in header):
        count, width = map(int, header)
        if not count or not width:
            raise DataError("the first line promises no vectors", where=f"{path}:1")
        second = file.readline(_CHUNK)
        if not _is_text(second, width):
            return (yield from _binary(file, second, path, wanted, (count, width)))
        read = yield from _lines(file, path, wanted, second, (2, width))
        if read != count:
            raise DataError(f"the first line promises {count} words, but there are {read}", where=f"{path}:1")
    else:
        yield from _lines(file, path, wanted, first, (1, len(header) - 1))


def _is_text(line: bytes, width: int) -> bool:
    """True unless a line after a header begins with a binary vector."""
    printable = all(byte >= 32 or byte in b"\t\r\n" for byte in line)
    return printable and (line.count(b" ") >= width or all(map(_is_number, line.split()[1:])))


def _lines(
    file: BinaryIO, path: str, wanted: dict[bytes, int], line: bytes, start: tuple[int, int]
) -> Generator[Row, None, int]:
    """The rows of a text file from `line` on, and at last their number. Only the numbers of wanted words are parsed."""
    number, width = start
    read = 0
    while line:
        where = f"{path}:{number}"
        if text := line.rstrip():
            read += 1
            if (spaces := text.count(b" ")) < max(width, 1):
                raise DataError(f"not a word and {max(width, 1)} numbers", where=where, fix="is the file cut off?")
            word, second, *_ = text.split(b" ", 2)
            if word in wanted and (spaces == width or _is_number(second)):  # else a phrase of several words
                yield Row(word, _parsed(text[len(word) + 1 :], width, where), where)
        line, number = file.readline(_CHUNK), number + 1
    return read


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parsed(text: bytes, width: int, where: str) -> Floats:
    try:
        values = np.array(text.split(b" "), np.float32)
    except ValueError as error:
        raise DataError(f"not a number in this vector: {error}", where=where) from error
    if len(values) != width:
        raise DataError(f"a vector of {len(values)} numbers, not {width} as the first", where=where)
    return values


def _binary(file: BinaryIO, begun: bytes, path: str, wanted: dict[bytes, int], shape: tuple[int, int]) -> Iterator[Row]:
    """The rows of word2vec's binary format: word, space, float32 numbers, perhaps a line feed; `begun` was read."""
    (count, width), at = shape, 0
    for n in range(1, count + 1):
        where = f"{path}: word {n} of {count}"
        while (space := begun.find(b" ", at)) < 0 or len(begun) < space + 1 + 4 * width:
            more = file.read(_CHUNK)
            if not more or (space < 0 and len(begun) - at > _LONGEST):
                raise DataError("the file ends, or is damaged, before this vector ends", where=where)
            begun, at = begun[at:] + more, 0
        word = begun[at:space].lstrip(b"\n")
        if word in wanted:
            yield Row(word, np.frombuffer(begun, "<f4", width, space + 1).astype(np.float32), where)
        at = space + 1 + 4 * width
