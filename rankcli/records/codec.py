"""Examples to bytes and back: serialised `tf.train.Example` messages, made without TensorFlow.

Features, all of them bytes lists: `qid` and `docids` (UTF-8), `labels` and `column/NAME` (float32), and `tokens/STREAM`
(token ids in the dtype that the manifest names; one value in a stream of queries, else one per document). Numbers are
little-endian.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from rankcli.records.damage import damaged
from rankcli.shapes import Example, Floats, Ints, Level, StreamSpec

TOKEN_DTYPES = ("uint8", "uint16", "uint32")
_FLOATS = np.dtype("<f4")
_FIRST, _SECOND = 0x0A, 0x12  # protobuf's tags of the fields 1 and 2, their content preceded by its length


class Stream(NamedTuple):
    """The tokens of one stream in records: their level, and their dtype."""

    level: Level
    dtype: str

    @property
    def token(self) -> np.dtype[Any]:
        """The dtype of a token id."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def bytes(self) -> int:
        """The bytes of a token id."""
        return self.token.itemsize


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned integer dtype for token ids below `vocab_size`."""
    return np.dtype(next(name for name in TOKEN_DTYPES if vocab_size - 1 <= np.iinfo(name).max))


class Codec:
    """Turns examples with these streams and columns into bytes and back; equal examples give equal bytes."""

    def __init__(self, streams: Mapping[str, Stream], columns: Sequence[str] = ()) -> None:
        self.streams, self.columns = dict(sorted(streams.items())), tuple(sorted(columns))
        drawn, tokens = [f"column/{name}" for name in self.columns], [f"tokens/{name}" for name in self.streams]
        self._features = [*drawn, "docids", "labels", "qid", *tokens]  # in order
        self._wanted = set(self._features)

    @classmethod
    def of(cls, streams: Mapping[str, StreamSpec], columns: Sequence[str] = ()) -> Codec:
        """The codec for an extractor's streams."""
        kept = {name: Stream(spec.level, token_dtype(spec.vocab_size).name) for name, spec in streams.items()}
        return cls(kept, columns)

    def of_level(self, level: Level) -> dict[str, Stream]:
        """The streams of a level, in the order of their names."""
        return {name: stream for name, stream in self.streams.items() if stream.level == level}

    def encode(self, example: Example) -> bytes:
        """The bytes of an example that has these streams and columns."""
        tokens = []
        for name, stream in self.streams.items():
            texts = [example.queries[name]] if stream.level == "query" else example.docs[name]
            tokens.append(b"".join([listed(_bytes(text, stream.token)) for text in texts]))
        return self.encode_parts(
            qid=listed(example.qid.encode()),
            docids=[listed(docid.encode()) for docid in example.docids],
            labels=_bytes(example.labels, _FLOATS),
            tokens=tokens,
            columns=[_bytes(example.columns[name], _FLOATS) for name in self.columns],
        )

    def encode_parts(
        self,
        *,
        qid: bytes,
        docids: Sequence[bytes],
        labels: bytes,
        tokens: Sequence[bytes],
        columns: Sequence[bytes] = (),
    ) -> bytes:
        """`encode` of an example whose parts are bytes already: `tokens` of each stream and `columns`, in the order of
        their names; ids and tokens are results of `listed`.

        The result equals protobuf's deterministic serialisation: names in order.
        """
        values = [*map(listed, columns), b"".join(docids), listed(labels), qid, *tokens]
        features = zip(self._features, values, strict=True)
        parts = [part for name, value in features for part in (_before(name, len(value)), value)]
        return b"".join([_head(_FIRST, sum(map(len, parts))), *parts])

    def decode(self, data: bytes, where: str = "") -> Example:
        """The example in `data`, its tokens int32; StorageError at `where` if `data` are not an encoded example."""
        try:
            return self._decode(_Example.FromString(data).features.feature)
        except (DecodeError, UnicodeDecodeError, ValueError, IndexError) as error:
            raise damaged(f"not an example of this version: {error}", where) from error

    def _decode(self, features: Any) -> Example:
        read = {name: feature.bytes_list.value for name, feature in features.items()}
        if self._wanted - read.keys():
            raise ValueError(f"it has only the features {', '.join(sorted(read)) or 'none'}")
        docids = tuple(docid.decode() for docid in read["docids"])
        levels: dict[Level, dict[str, Any]] = {"query": {}, "doc": {}}
        for name, stream in self.streams.items():
            texts = tuple(_ints(tokens, stream.token) for tokens in read[f"tokens/{name}"])
            if len(texts) != (1 if stream.level == "query" else len(docids)):
                raise ValueError("its features differ in the number of documents")
            levels[stream.level][name] = texts[0] if stream.level == "query" else texts
        columns = {name: _column(read[f"column/{name}"][0], len(docids)) for name in self.columns}
        labels = _column(read["labels"][0], len(docids))
        return Example(read["qid"][0].decode(), docids, labels, levels["query"], levels["doc"], columns)


def listed(value: bytes) -> bytes:
    """Encode one value of a bytes list: tag, length, value."""
    return _head(_FIRST, len(value)) + value


@functools.lru_cache(maxsize=1 << 14)  # a few lengths come again and again
def _before(name: str, length: int) -> bytes:
    """The bytes before the values of a feature, which take `length` bytes.

    An entry of the map of features is its name and a `Feature`; that contains a `BytesList`, and that the values.
    """
    values = _head(_FIRST, length)
    feature = _head(_SECOND, len(values) + length) + values
    key = name.encode()
    entry = _head(_FIRST, len(key)) + key + feature
    return _head(_FIRST, len(entry) + length) + entry


@functools.lru_cache(maxsize=1 << 14)
def _head(tag: int, length: int) -> bytes:
    """The bytes before a field of `length` bytes: its tag, and the length as a varint."""
    head = bytearray([tag])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _bytes(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    return values.tobytes() if values.dtype == dtype else values.astype(dtype).tobytes()


def _ints(data: bytes, dtype: np.dtype[Any]) -> Ints:
    # Sums of unsigned 8- and 16-bit numbers wrap around; readers of tokens should not need to know.
    return np.frombuffer(data, dtype).astype(np.int32)


def _column(data: bytes, documents: int) -> Floats:
    """Decode float32 [K], or [K, W] if there are W numbers for each document."""
    values = np.frombuffer(data, _FLOATS).astype(np.float32)
    if len(values) == documents:
        return values
    if not documents or len(values) % documents:
        raise ValueError("its features differ in the number of documents")
    return values.reshape(documents, -1)


def _message_class() -> Any:
    """A class wire-compatible with `tf.train.Example`, under another name: TensorFlow registers its own."""
    file = descriptor_pb2.FileDescriptorProto(name="rankcli/example.proto", package="rankcli", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    _message(file, "BytesList", ("value", 1, field.TYPE_BYTES, field.LABEL_REPEATED, ""))
    _message(file, "Feature", ("bytes_list", 1, field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".rankcli.BytesList"))
    features = _message(
        file, "Features", ("feature", 1, field.TYPE_MESSAGE, field.LABEL_REPEATED, ".rankcli.Features.FeatureEntry")
    )
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL, type_name=".rankcli.Feature"
    )
    _message(file, "Example", ("features", 1, field.TYPE_MESSAGE, field.LABEL_OPTIONAL, ".rankcli.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("rankcli.Example"))


def _message(file: Any, message: str, field: tuple[str, int, int, int, str]) -> Any:
    name, number, kind, label, type_name = field
    made = file.message_type.add(name=message)
    made.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)
    return made


_Example = _message_class()
