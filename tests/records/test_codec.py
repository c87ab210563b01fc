"""Examples as bytes: a lossless round trip, and messages that TensorFlow reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_fakes import expected, same

from rankcli.backend import tf
from rankcli.errors import StorageError
from rankcli.records.codec import decode, encode, token_dtype
from rankcli.shapes import Example

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(width=32, allow_nan=False)


@st.composite
def examples(draw: Any, vocab_size: int) -> Example:
    tokens = st.lists(st.integers(0, vocab_size - 1), max_size=20).map(lambda ids: np.array(ids, np.int32))
    docids = draw(st.lists(TEXT, max_size=4))
    floats = st.lists(FLOATS, min_size=len(docids), max_size=len(docids)).map(lambda x: np.array(x, np.float32))
    return Example(
        qid=draw(TEXT),
        docids=tuple(docids),
        query=draw(tokens),
        docs=tuple(draw(tokens) for _ in docids),
        labels=draw(floats),
        weights=draw(floats),
        teacher_scores=draw(st.none() | floats),
    )


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([256, 30522, 250002]))
def test_what_is_encoded_comes_back(data: Any, vocab_size: int) -> None:
    example, dtype = data.draw(examples(vocab_size)), token_dtype(vocab_size)
    encoded = encode(example, dtype)
    back = decode(encoded, dtype)
    assert same(back, example)
    assert encode(back, dtype) == encoded
    assert back.query.dtype == np.int32 and back.labels.dtype == np.float32


def of_protobuf(example: Example, dtype: np.dtype[Any]) -> bytes:
    """What protobuf's own code makes of the same features."""
    features = {
        "weights": [example.weights.astype("<f4").tobytes()],
        "labels": [example.labels.astype("<f4").tobytes()],
        "query": [example.query.astype(dtype.newbyteorder("<")).tobytes()],
        "docs": [tokens.astype(dtype.newbyteorder("<")).tobytes() for tokens in example.docs],
        "docids": [docid.encode() for docid in example.docids],
        "qid": [example.qid.encode()],
    }
    if example.teacher_scores is not None:
        features["teacher_scores"] = [example.teacher_scores.astype("<f4").tobytes()]
    message = tf.train.Example()
    for name, values in features.items():
        message.features.feature[name].bytes_list.value.extend(values)
    return bytes(message.SerializeToString(deterministic=True))


@settings(max_examples=100, deadline=None)
@given(
    st.data(), st.sampled_from([256, 30522, 250002]), st.sampled_from([0, 31, 32, 63, 64, 127, 128, 8191, 8192, 2**20])
)
def test_the_bytes_are_those_of_protobufs_deterministic_serialisation(data: Any, vocab_size: int, long: int) -> None:
    example, dtype = data.draw(examples(vocab_size)), token_dtype(vocab_size)
    # lengths around the places where protobuf writes them with one byte more
    example = dataclasses.replace(
        example, query=np.full(long, vocab_size - 1, data.draw(st.sampled_from([dtype, np.int32])))
    )
    assert encode(example, dtype) == of_protobuf(example, dtype)


def test_tensorflow_reads_the_message_and_ours_reads_its() -> None:
    example = dataclasses.replace(expected(7), teacher_scores=np.array([0.5, -1, 3], np.float32))
    theirs = tf.train.Example.FromString(encode(example, np.uint16))
    features = {name: list(feature.bytes_list.value) for name, feature in theirs.features.feature.items()}
    assert features["qid"] == [b"q7"] and features["docids"] == [b"d21", b"d22", b"d23"]
    assert np.frombuffer(features["docs"][1], "<u2").tolist() == example.docs[1].tolist()
    assert np.frombuffer(features["teacher_scores"][0], "<f4").tolist() == [0.5, -1, 3]
    assert sorted(features) == ["docids", "docs", "labels", "qid", "query", "teacher_scores", "weights"]
    assert same(decode(theirs.SerializeToString(), np.uint16), example)


def test_features_lie_in_the_order_of_their_names() -> None:
    encoded = encode(expected(7), np.uint16)
    names = [b"docids", b"docs", b"labels", b"qid", b"query", b"weights"]
    positions = [encoded.index(b"\x0a%c%b\x12" % (len(name), name)) for name in names]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")]
)
def test_tokens_take_the_smallest_integer_that_holds_the_vocabulary(vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size).name == name
    stored = len(encode(dataclasses.replace(expected(0), query=np.zeros(1000, np.int32)), name))
    assert stored - len(encode(expected(0), name)) == pytest.approx(1000 * np.dtype(name).itemsize, abs=10)


@pytest.mark.faults
def test_other_bytes_are_refused_with_their_place() -> None:
    whole = encode(expected(3), np.uint16)
    for data in (b"", b"\x0a\xff", whole[:-3], encode(expected(3), np.uint8)):
        with pytest.raises(StorageError, match="not an example of this version") as caught:
            decode(data, np.uint16, "cache/shard:7")
        assert caught.value.where == "cache/shard:7" and caught.value.exit_code == 6


def test_features_that_differ_in_their_number_of_documents_are_refused() -> None:
    example = dataclasses.replace(expected(3), labels=np.ones(2, np.float32))
    with pytest.raises(StorageError, match="differ in the number of documents"):
        decode(encode(example, np.uint16), np.uint16)
