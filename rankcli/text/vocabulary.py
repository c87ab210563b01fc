"""Vocabularies of whole words with their document frequencies, for rerankers over word embeddings."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rankcli.errors import MissingError, StorageError
from rankcli.shapes import Floats, Ints
from rankcli.storage.json_files import parse_object
from rankcli.text.stemming import stemmer

PAD_ID, OOV_ID, FIRST_ID = 0, 1, 2
IDS = 1 << 31  # of all words, known or not: the number of a token is a 32-bit integer
FILE = "vocabulary.json"
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Rules:
    """The rules that cut a text into words: runs of letters and digits, lower-cased or not, stemmed or not."""

    lowercase: bool = True
    stemmer: str = "none"

    def words(self, text: str) -> list[str]:
        """The words of a text, in order."""
        return stemmer(self.stemmer)(_WORD.findall(text.lower() if self.lowercase else text))


@dataclass(frozen=True)
class Vocabulary:
    """Words with ids from 2 on (0 pads, 1 is no word), each with the number of texts that it occurs in.

    `frequencies[i]` belongs to `words[i]`, whose id is i + 2; `texts` is N, the number of texts counted. Every other
    word has an id from `size` on, below 2^31, a hash of the word: two of them share one with a probability of 5e-10.
    """

    words: tuple[str, ...]
    frequencies: tuple[int, ...]
    texts: int
    rules: Rules

    @classmethod
    def learn(cls, texts: Iterable[str], *, min_df: int, limit: int, rules: Rules) -> Vocabulary:
        """The `limit` most frequent words that are in at least `min_df` texts; ties are ordered by code points."""
        total, counts = 0, Counter[str]()
        for text in texts:
            total += 1
            counts.update(set(rules.words(text)))
        ranked = sorted((-df, word) for word, df in counts.items() if df >= min_df)[:limit]
        return cls(tuple(word for _, word in ranked), tuple(-df for df, _ in ranked), total, rules)

    @classmethod
    def open(cls, directory: Path) -> Vocabulary:
        """The vocabulary that `save` wrote; MissingError if it is missing, StorageError if it is damaged."""
        file = directory / FILE
        if not file.is_file():
            raise MissingError("no word vocabulary", where=str(file), fix="name a directory that rankcli saved")
        fix = "save the model again"
        content = parse_object(file.read_bytes(), str(file), fix=fix)
        try:
            kept = {key: tuple(content[key]) for key in ("words", "frequencies")}
            return cls(**kept, texts=content["texts"], rules=Rules(**content["rules"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"damaged word vocabulary: {error!r}", where=str(file), fix=fix) from error

    def save(self, directory: Path) -> None:
        """Write `vocabulary.json`."""
        (directory / FILE).write_bytes(self._serialised)

    def encode(self, texts: Sequence[str]) -> list[Ints]:
        """The ids, int32 [T], of the words of each text."""
        known = self._ids
        rows = (
            [known[word] if word in known else self._hash(word) for word in self.rules.words(text)] for text in texts
        )
        return [np.array(ids, np.int32) for ids in rows]

    @property
    def size(self) -> int:
        """The number of ids of known words, with the two before them."""
        return FIRST_ID + len(self.words)

    @cached_property
    def idf(self) -> Floats:
        """Float32 [size]: log(1 + (N - df + 0.5) / (df + 0.5)), as in BM25; 0 on padding, df = 0 at `OOV_ID`."""
        df = np.array([0, 0, *self.frequencies], np.float64)
        idf = np.log1p((self.texts - df + 0.5) / (df + 0.5))
        idf[PAD_ID] = 0
        return idf.astype(np.float32)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of words, frequencies and rules."""
        return hashlib.sha256(self._serialised).hexdigest()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: id for id, word in enumerate(self.words, FIRST_ID)}

    def _hash(self, word: str) -> int:
        return self.size + zlib.crc32(word.encode()) % (IDS - self.size)

    @property
    def _serialised(self) -> bytes:
        content = {
            "texts": self.texts,
            "rules": asdict(self.rules),
            "words": self.words,
            "frequencies": self.frequencies,
        }
        return json.dumps(content).encode()
