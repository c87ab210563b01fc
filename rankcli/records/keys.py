"""Keys: numbers that stand for the ids of queries and documents on devices.

They are hashes of 64 bits, so that the same id has the same key in every batch, on every device and in a memory, and no
table of ids is needed. Two of a million different pairs have equal keys with a probability of 3e-8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from rankcli.shapes import Example, Ints, Keys


def query_key(qid: str) -> int:
    """The key of a query."""
    return _hash(qid, b"query")


def doc_key(docid: str) -> int:
    """The key of a document."""
    return _hash(docid, b"doc")


def _hash(text: str, kind: bytes) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=kind).digest(), "little", signed=True)


def keys_of(part: Sequence[Example], groups: int, docs: int) -> Keys:
    """The keys of a batch of `groups` groups with `docs` places for documents each."""
    keys = Keys(np.zeros(groups, np.int64), np.zeros((groups, docs), np.int64))
    for b, example in enumerate(part):
        keys.query[b] = query_key(example.qid)
        keys.doc[b, : len(example.docids)] = [doc_key(docid) for docid in example.docids]
    return keys


def pair_keys(relevant: Iterable[tuple[str, Iterable[str]]]) -> Ints:
    """The sorted keys of all pairs of a query and a document, given as queries with their documents."""
    found = [np.int64(query_key(qid)) + np.fromiter(map(doc_key, docids), np.int64) for qid, docids in relevant]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *found]))
