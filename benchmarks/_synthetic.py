"""A collection of any size, made on the spot, the same every time: texts of Zipf-distributed made-up words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS = 60  # of a document, on average
VOCABULARY = 50_000
DEPTH = 100  # candidates of a query
_BLOCK = 1000
_SYLLABLES = [f"{consonant}{vowel}" for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]


def write_collection(folder: Path, documents: int) -> None:
    """Write `docs.jsonl`, `queries.jsonl`, `first.run` and, per split, `SPLIT.qrels`.

    Query q has `DEPTH` candidates of its own, documents `DEPTH` q and on, one of them relevant. One query in a hundred
    is for dev, one for test.
    """
    _write(folder / "docs.jsonl", (json.dumps({"_id": f"doc{n}", "text": text}) for n, text in _texts(documents)))
    queries = range(documents // DEPTH)
    _write(folder / "queries.jsonl", (json.dumps({"_id": f"q{q}", "text": _word(q)}) for q in queries))
    _write(folder / "first.run", (line for q in queries for line in _candidates(q)))
    parts = {"dev": queries[::100], "test": queries[1::100], "train": [q for q in queries if q % 100 > 1]}
    for split, part in parts.items():
        _write(folder / f"{split}.qrels", (f"q{q} 0 doc{DEPTH * q + q % DEPTH} 1" for q in part))


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _candidates(query: int) -> Iterator[str]:
    for rank in range(DEPTH):
        yield f"q{query} Q0 doc{DEPTH * query + rank} {rank + 1} {DEPTH - rank} synthetic"


def _texts(documents: int) -> Iterator[tuple[int, str]]:
    words = np.array([_word(number) for number in range(VOCABULARY)])
    shares = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    for block in range(-(-documents // _BLOCK)):
        draw = np.random.default_rng(block)
        lengths = draw.integers(WORDS // 2, WORDS * 3 // 2, _BLOCK, endpoint=True)
        drawn = words[np.searchsorted(shares, draw.random(lengths.sum()) * shares[-1])].tolist()
        ends = np.cumsum(lengths).tolist()
        for place, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if block * _BLOCK + place < documents:
                yield block * _BLOCK + place, " ".join(drawn[start:end])


def _word(number: int) -> str:
    """Two or more syllables, another word for every number."""
    syllables: list[str] = []
    while number or len(syllables) < 2:
        number, syllable = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[syllable])
    return "".join(syllables)
