"""Examples to bytes and back: serialised `tf.train.Example` messages, made without TensorFlow.

Features, all of them bytes lists: `qid` and `docids` (UTF-8), `query` and `docs` (token ids in the dtype that the
manifest names), `labels`, `weights` and, where there are any, `teacher_scores` (float32). Numbers are little-endian.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from rankcli.errors import StorageError
from rankcli.shapes import Example, Floats, Ints

TOKEN_DTYPES = ("uint8", "uint16", "uint32")
_FLOATS = np.dtype("<f4")
_PER_DOCUMENT = ("labels", "weights", "teacher_scores")


def token_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned integer that holds every token id below `vocab_size`."""
    return np.dtype(next(name for name in TOKEN_DTYPES if vocab_size - 1 <= np.iinfo(name).max))


def encode(example: Example, dtype: npt.DTypeLike) -> bytes:
    """The bytes of `example` with token ids as `dtype`; equal examples give equal bytes."""
    message = _Example()
    _set(message, "qid", [example.qid.encode()])
    _set(message, "docids", [docid.encode() for docid in example.docids])
    _set(message, "query", [_bytes(example.query, dtype)])
    _set(message, "docs", [_bytes(tokens, dtype) for tokens in example.docs])
    for name in _PER_DOCUMENT:
        values = getattr(example, name)
        if values is not None:
            _set(message, name, [_bytes(values, _FLOATS)])
    return bytes(message.SerializeToString(deterministic=True))


def decode(data: bytes, dtype: npt.DTypeLike, where: str = "") -> Example:
    """The example that `encode` made `data` from, its tokens as int32; StorageError at `where` if `data` is none."""
    try:
        return _decode(_Example.FromString(data).features.feature, np.dtype(dtype))
    except (DecodeError, UnicodeDecodeError, ValueError, IndexError) as error:
        raise StorageError(
            f"not an example of this version: {error}", where=where, fix="delete the cache; the next run converts anew"
        ) from error


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


def _set(message: Any, name: str, values: list[bytes]) -> None:
    message.features.feature[name].bytes_list.value.extend(values)


def _bytes(values: npt.NDArray[Any], dtype: npt.DTypeLike) -> bytes:
    return np.asarray(values).astype(np.dtype(dtype).newbyteorder("<")).tobytes()


def _ints(data: bytes, dtype: np.dtype[Any]) -> Ints:
    # Sums and comparisons of unsigned 8- and 16-bit numbers wrap around; whoever reads tokens should not have to know.
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(np.int32)


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
