"""The vectors that a training looks up: how many of them are kept already, and how many it encodes before its steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.log import Progress
from rankcli.records.distinct import sequence_of, tokens_of
from rankcli.records.texts import InMemory, Texts
from rankcli.records.vector_cache import AT_ONCE
from rankcli.records.vector_sets import Keys, keys_of, why_missed
from rankcli.rerankers.base import Reranker
from rankcli.runs.sets import RecordSet
from rankcli.runs.vectors import Caches
from rankcli.shapes import Record


def looked_up(
    caches: Caches, reranker: Reranker, extractor: Extractor, sets: Iterable[RecordSet]
) -> dict[str, dict[str, Any]]:
    """Return, for each field with a cache, the texts of a run's sets and their vectors. Nothing is encoded or written.

    Texts that an encoder reads alike count once, as they have one vector.
    """
    found, each_set = {}, list(sets)
    for field in caches.options:
        cache = caches.seen(field, reranker, extractor)
        keys = np.unique(np.concatenate([_keys_of_set(field, each) for each in each_set]))
        missing = len(keys) - int(cache.known(keys).sum())
        manifest = dataclasses.replace(cache.manifest, width=reranker.bases[field].width)
        found[field] = {
            "set_id": cache.set_id,
            "texts": len(keys),
            "kept": len(keys) - missing,
            "encoded_first": missing,
            "bytes": manifest.total_bytes,
            "bytes_added": manifest.size_of(missing),
            "why": "" if len(cache) else why_missed(cache.storage, cache.identity),
        }
    return found


def encoded_first(found: Mapping[str, Mapping[str, Any]], reranker: Reranker) -> int | None:
    """Return the texts that are encoded in all; None if a field is encoded at every step, as it has no cache."""
    if not found or found.keys() != reranker.bases.keys():
        return None
    return sum(int(each["encoded_first"]) for each in found.values())


def described_lookups(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return lines about the vectors of each field; none without caches."""
    return ["", "vectors", *(f"  {field}: {_described(each)}" for field, each in found.items())] if found else []


def _described(each: Mapping[str, Any]) -> str:
    size = f"the set has {each['bytes']:,} bytes" if each["bytes"] else "there is no set of them yet"
    kept = f"{each['kept']:,} of {each['texts']:,} texts are kept, {size}"
    more = f"{each['encoded_first']:,} to encode, {each['bytes_added']:,} bytes"
    return "; ".join(filter(None, [kept, more, each["why"]]))


def _keys_of_set(field: str, each: RecordSet) -> Keys:
    """Return the keys of the sequences that a set has in a field."""
    queries = sequence_spec(each.extractor, field).level == "query"
    texts: Texts = InMemory(each.dataset.queries) if queries else each.texts
    ids = _ids(each, queries)
    with Progress(len(ids), f"looking up {field} of {each.name}", "texts") as bar:
        found = [_keys(field, each.extractor, records, bar) for records in _records(ids, texts)]
    return np.concatenate(found) if found else keys_of([])


def _ids(each: RecordSet, queries: bool) -> list[str]:
    """Return the ids of a set's queries, or of its documents, each once."""
    samples = (each.sampler(n) for n in range(each.samples))
    if queries:
        return list(dict.fromkeys(sample.qid for sample in samples))
    return list(dict.fromkeys(docid for sample in samples for docid in sample.docids))


def _records(ids: list[str], texts: Texts) -> Iterator[list[Record]]:
    for start in range(0, len(ids), AT_ONCE):
        yield texts.records(ids[start : start + AT_ONCE])


def _keys(field: str, extractor: Extractor, records: list[Record], bar: Progress) -> Keys:
    sequences = [sequence_of(extractor, field, tokens) for tokens in tokens_of(extractor, field, records)]
    bar.advance(len(records))
    return keys_of(sequences)
