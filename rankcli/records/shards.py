"""The third step of a conversion: the shards, each written by one process from the files of the first two steps.

A shard is put into storage as soon as it is complete, and then its receipt: what the manifest will say of it. A
conversion that starts again skips what has a receipt; several machines find each other's shards by them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from rankcli import log
from rankcli.records.codec import encode_parts, listed, token_dtype
from rankcli.records.flat import Flat
from rankcli.records.manifest import PARTS, Manifest, Shard
from rankcli.records.numbering import groups_file, labels_file
from rankcli.records.stripes import Range
from rankcli.records.tfrecord import write_records
from rankcli.records.tokens import Tools
from rankcli.storage.base import Storage
from rankcli.storage.sealed import sealed, unsealed

_ONE = np.ones(1, "<f4").tobytes()


def write_shard(tools: Tools, shard: Range) -> Shard:
    """Write one shard, put it into storage and then its receipt; a task of a conversion process."""
    built = build_shard(tools, shard)
    path, name = tools.work / built.name, f"{tools.location}/{built.name}"
    if not tools.storage.put(path, name):  # something else than what a killed conversion got as far as
        tools.storage.put(path, name, replace=True)
    path.unlink(missing_ok=True)
    tools.storage.write_bytes(receipt_name(tools.location, shard), sealed(dataclasses.asdict(built)))
    return built


def build_shard(tools: Tools, shard: Range) -> Shard:
    """Write one shard into the work folder; a task of a conversion process."""
    records = _Records(tools)
    path = tools.work / shard.name
    path.unlink(missing_ok=True)
    written = write_records(path, records.of(shard))
    return Shard(
        **shard._asdict(),
        bytes=written.bytes,
        crc32c=written.crc32c,
        documents=records.documents,
        tokens_total=records.tokens_total,
        tokens_kept=records.tokens_kept,
    )


def read_receipt(storage: Storage, location: str, shard: Range) -> Shard | None:
    """What a finished shard must be, by its receipt; None where there is none, or a damaged one."""
    name = receipt_name(location, shard)
    if storage.size(name) is None:
        return None
    try:
        done = Shard(**unsealed(storage.read_bytes(name)))
    except (ValueError, KeyError, TypeError):
        log.warn(f"{storage.uri}/{name}: damaged; the shard is written again")
        return None
    return done if done.range == shard else None


def is_complete(storage: Storage, location: str, shard: Shard) -> bool:
    """Whether a shard in storage has the size and the checksum that are said of it."""
    found = storage.stat(f"{location}/{shard.name}")
    return found is not None and (found.bytes, found.crc32c) == (shard.bytes, shard.crc32c)


def receipt_name(location: str, shard: Range) -> str:
    """Where the receipt of a shard lies."""
    return f"{location}/{PARTS}/{shard.name}.json"


def remove_receipts(storage: Storage, manifest: Manifest) -> None:
    """Remove the receipts of the shards of a cache; those of an extension that is being written stay."""
    folder = f"{manifest.location}/{PARTS}"
    found = storage.list(folder)
    done = {f"{shard.name}.json" for shard in manifest.shards}
    if done.issuperset(found):
        storage.delete(folder)
        return
    for name in done.intersection(found):
        storage.delete(f"{folder}/{name}")


class _Records:
    """Puts records together from the work folder, bytes as they lie there, and counts their documents' tokens."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._pages = tools, tools.pages
        self._token_bytes = token_dtype(tools.extractor.vocab_size).itemsize
        self.documents = self.tokens_total = self.tokens_kept = 0

    def of(self, shard: Range) -> Iterator[bytes]:
        """The records of a shard, in order."""
        groups = Flat(groups_file(self._tools.numbers, shard), np.int32)
        labels = Flat(labels_file(self._tools.numbers, shard), np.float32)
        for n in range(len(groups)):
            query, *documents = groups[n].tolist()
            yield self._record(query, documents, labels[n].tobytes())

    def _record(self, number: int, documents: list[int], labels: bytes) -> bytes:
        query = self._pages.queries[number]
        most = self._tools.extractor.doc_budget(len(query) // self._token_bytes) * self._token_bytes
        docids, docs = [], []
        for document in map(self._pages.document, documents):
            tokens = document.tokens if len(document.tokens) <= most else document.tokens[:most]
            docids.append(document.docid)
            docs.append(listed(tokens))
            self.tokens_total += document.total
            self.tokens_kept += len(tokens) // self._token_bytes
        self.documents += len(docs)
        return encode_parts(
            qid=self._pages.qids[number],
            docids=docids,
            query=query,
            docs=docs,
            labels=labels,
            weights=_ONE * len(documents),
        )
