"""The third step of a conversion: the shards, each written by one process from the files of the first two steps.

A shard is put into storage as soon as it is complete, and then its receipt, which is its future entry in the manifest.
A restarted conversion skips shards with a receipt; several machines find each other's shards by their receipts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli import log
from rankcli.records.codec import listed
from rankcli.records.flat import Flat
from rankcli.records.manifest import PARTS, Manifest, Shard
from rankcli.records.numbering import shard_file
from rankcli.records.stripes import Range
from rankcli.records.texts import FEATURES
from rankcli.records.tfrecord import write_records
from rankcli.records.tokens import Text, Tools, kept_if_few
from rankcli.storage.base import Storage
from rankcli.storage.sealed import sealed, unsealed


def write_shard(tools: Tools, shard: Range) -> Shard:
    """Write one shard, put it into storage and then its receipt; a task of a conversion process."""
    built = build_shard(tools, shard)
    path, name = tools.work / built.name, f"{tools.location}/{built.name}"
    if not tools.storage.put(path, name):  # another file of this name, without a receipt, is damaged
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
    """The receipt of a finished shard; None if it is missing, damaged or of other samples."""
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
    """True if a shard in storage has the size and the checksum of its entry."""
    found = storage.stat(f"{location}/{shard.name}")
    return found is not None and (found.bytes, found.crc32c) == (shard.bytes, shard.crc32c)


def receipt_name(location: str, shard: Range) -> str:
    """The name in storage of the receipt of a shard."""
    return f"{location}/{PARTS}/{shard.name}.json"


def remove_receipts(storage: Storage, manifest: Manifest) -> None:
    """Remove the receipts of the shards of a cache; those of an unfinished extension stay."""
    folder = f"{manifest.location}/{PARTS}"
    found = storage.list(folder)
    done = {f"{shard.name}.json" for shard in manifest.shards}
    if done.issuperset(found):
        storage.delete(folder)
        return
    for name in done.intersection(found):
        storage.delete(f"{folder}/{name}")


_FLOAT = np.dtype(np.float32).itemsize


class _Cut(NamedTuple):
    """A stream of documents: its place among the streams and among those of documents, the bytes of a token, and how
    many bytes of a document are kept beside a query.
    """

    stream: int
    text: int
    size: int
    most: int


class _Query(NamedTuple):
    """A query: its text, its tokens as entries of a bytes list at their places among the streams, and the cuts of the
    other streams.
    """

    text: Text
    tokens: list[bytes]
    cuts: list[_Cut]


class _Records:
    """Joins records from the files of the work folder, without decoding tokens, and counts the documents' tokens."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._texts, self._codec = tools, tools.tokenised, tools.codec
        self._query_bytes = {name: stream.bytes for name, stream in self._codec.of_level("query").items()}
        self._doc_bytes = {name: stream.bytes for name, stream in self._codec.of_level("doc").items()}
        self._drawn = [name for name in self._codec.columns if name != FEATURES]
        self.documents = self.tokens_total = self.tokens_kept = 0

    def of(self, shard: Range) -> Iterator[bytes]:
        """The records of a shard, in order."""
        folder, texts = self._tools.numbers, self._texts
        queries = texts.queries.places(Flat(shard_file(folder, "queries", shard), np.int64)[0]).tolist()
        query_at = kept_if_few(self._query, len(texts.queries.wanted))
        groups = Flat(shard_file(folder, "groups", shard), np.int64)
        labels = Flat(shard_file(folder, "labels", shard), np.float32)
        drawn = Flat(shard_file(folder, "columns", shard), np.float32) if self._drawn else labels
        label_bytes = labels.values.tobytes()  # one label per document, so they end where groups end
        found = texts.docs.places(groups.values)
        self.documents += len(found)
        self.tokens_total += texts.docs.total(found)
        places, first = found.tolist(), 0
        for n, end in enumerate(groups.ends.tolist()):
            documents = list(map(texts.document, places[first:end]))
            query = query_at(queries[n])
            columns = self._columns(query.text, documents, drawn[n]) if self._codec.columns else []
            yield self._record(query, documents, label_bytes[first * _FLOAT : end * _FLOAT], columns)
            first = end

    def _query(self, place: int) -> _Query:
        text, streams = self._texts.queries.text(place), list(self._codec.streams)
        of_query = dict(zip(self._query_bytes, text.tokens, strict=True))
        lengths = {name: len(tokens) // self._query_bytes[name] for name, tokens in of_query.items()}
        budget = self._tools.extractor.budget
        cuts = [
            _Cut(streams.index(name), n, size, budget(name, lengths) * size)
            for n, (name, size) in enumerate(self._doc_bytes.items())
        ]
        return _Query(text, [listed(of_query[name]) if name in of_query else b"" for name in streams], cuts)

    def _record(self, query: _Query, documents: list[Text], labels: bytes, columns: list[bytes]) -> bytes:
        tokens = query.tokens.copy()
        for stream, place, size, most in query.cuts:
            kept = [document.tokens[place][:most] for document in documents]
            self.tokens_kept += sum(map(len, kept)) // size
            tokens[stream] = b"".join(map(listed, kept))
        return self._codec.encode_parts(
            qid=query.text.listed_id,
            docids=[document.listed_id for document in documents],
            labels=labels,
            tokens=tokens,
            columns=columns,
        )

    def _columns(self, query: Text, documents: list[Text], drawn: npt.NDArray[np.float32]) -> list[bytes]:
        """The columns in the order of their names: those drawn with the sample, and the features of its documents."""
        given = zip(self._drawn, np.split(drawn, max(len(self._drawn), 1)), strict=False)
        found = {name: values.tobytes() for name, values in given}
        if self._tools.features is not None:
            docids = tuple(document.id.decode() for document in documents)
            values = self._tools.features.features(query.id.decode(), docids)
            found[FEATURES] = values.astype("<f4").tobytes()
        return [found[name] for name in self._codec.columns]
