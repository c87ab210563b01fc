"""Examples to bytes and back: serialised `tf.train.Example` messages, made without TensorFlow.

Features, all of them bytes lists: `qid` and `docids` (UTF-8), `query` and `docs` (token ids in the dtype that the
manifest names), `labels`, `weights` and, where there are any, `teacher_scores` (float32). Numbers are little-endian.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from rankcli.records.damage import damaged
from rankcli.shapes import Example, Floats, Ints

TOKEN_DTYPES = ("uint8", "uint16", "uint32")
_FLOATS = np.dtype("<f4")
_FIRST, _SECOND = 0x0A, 0x12  # protobuf's tags of the fields 1 and 2, their content preceded by its length
_PER_DOCUMENT = ("labels", "weights", "teacher_scores")


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned integer that holds every token id below `vocab_size`."""
    return np.dtype(next(name for name in TOKEN_DTYPES if vocab_size - 1 <= np.iinfo(name).max))


def encode(example: Example, dtype: npt.DTypeLike) -> bytes:
    """The bytes of `example` with token ids as `dtype`; equal examples give equal bytes."""
    tokens, teacher = _little_endian(np.dtype(dtype)), example.teacher_scores
    return encode_parts(
        qid=example.qid.encode(),
        docids=[listed(docid.encode()) for docid in example.docids],
        query=_bytes(example.query, tokens),
        docs=[listed(_bytes(document, tokens)) for document in example.docs],
        labels=_bytes(example.labels, _FLOATS),
        weights=_bytes(example.weights, _FLOATS),
        teacher_scores=None if teacher is None else _bytes(teacher, _FLOATS),
    )


def encode_parts(
    *,
    qid: bytes,
    docids: Sequence[bytes],
    query: bytes,
    docs: Sequence[bytes],
    labels: bytes,
    weights: bytes,
    teacher_scores: bytes | None = None,
) -> bytes:
    """`encode` of an example whose parts are bytes already, those of each document as `listed` made them.

    It is what protobuf's deterministic serialisation writes: names in order.
    """
    features = [
        ("docids", b"".join(docids)),
        ("docs", b"".join(docs)),
        ("labels", listed(labels)),
        ("qid", listed(qid)),
        ("query", listed(query)),
        ("weights", listed(weights)),
    ]
    if teacher_scores is not None:
        features.insert(-1, ("teacher_scores", listed(teacher_scores)))
    parts = [part for name, values in features for part in (_before(name, len(values)), values)]
    return b"".join([_head(_FIRST, sum(map(len, parts))), *parts])


def listed(value: bytes) -> bytes:
    """One value of a list of bytes, as it stands in a message."""
    return _head(_FIRST, len(value)) + value


def decode(data: bytes, dtype: npt.DTypeLike, where: str = "") -> Example:
    """The example that `encode` made `data` from, its tokens as int32; StorageError at `where` if `data` is none."""
    try:
        return _decode(_Example.FromString(data).features.feature, _little_endian(np.dtype(dtype)))
    except (DecodeError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise damaged(f"not an example of this version: {error}", where) from error


def _decode(features: Any, dtype: np.dtype[Any]) -> Example:
    read = {name: feature.bytes_list.value for name, feature in features.items()}
    if not {"qid", "docids", "query", "docs", "labels", "weights"} <= read.keys():
        raise ValueError(f"it has only the features {', '.join(sorted(read)) or 'none'}")
    per_document: dict[str, Floats] = {
        name: np.frombuffer(read[name][0], _FLOATS).astype(np.float32) for name in _PER_DOCUMENT if name in read
    }
    example = Example(
        qid=read["qid"][0].decode(),
        docids=tuple(docid.decode() for docid in read["docids"]),
        query=_ints(read["query"][0], dtype),
        docs=tuple(_ints(tokens, dtype) for tokens in read["docs"]),
        **per_document,
    )
    if any(len(values) != len(example.docids) for values in (example.docs, *per_document.values())):
        raise ValueError("its features differ in the number of documents")
    return example


@functools.lru_cache(maxsize=1 << 14)  # the same few lengths come again and again
def _before(name: str, length: int) -> bytes:
    """What stands before the values of a feature that take `length` bytes: an entry of the map of features has its
    name, and a message that holds a message that holds the values.
    """
    values = _head(_FIRST, length)
    feature = _head(_SECOND, len(values) + length) + values
    key = name.encode()
    entry = _head(_FIRST, len(key)) + key + feature
    return _head(_FIRST, len(entry) + length) + entry


@functools.lru_cache(maxsize=1 << 14)
def _head(tag: int, length: int) -> bytes:
    """What stands before a field of `length` bytes: its tag, and the length as a varint."""
    head = bytearray([tag])
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


@functools.cache
def _little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _bytes(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    return values.tobytes() if values.dtype == dtype else values.astype(dtype).tobytes()


def _ints(data: bytes, dtype: np.dtype[Any]) -> Ints:
    # Sums and comparisons of unsigned 8- and 16-bit numbers wrap around; whoever reads tokens should not have to know.
    return np.frombuffer(data, dtype).astype(np.int32)


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
