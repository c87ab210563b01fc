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
from rankcli.records.codec import Codec, Stream, token_dtype
from rankcli.shapes import Example, StreamSpec

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FLOATS = st.floats(width=32, allow_nan=False)


def codec_of(vocab_size: int, *columns: str) -> Codec:
    """A stream of queries, two of documents, the second of which always has small numbers."""
    sizes = {"query": ("query", vocab_size), "doc": ("doc", vocab_size), "b/doc": ("doc", 200)}
    return Codec.of({name: StreamSpec(*spec) for name, spec in sizes.items()}, columns)


@st.composite
def examples(draw: Any, vocab_size: int) -> Example:
    tokens = st.lists(st.integers(0, vocab_size - 1), max_size=20).map(lambda ids: np.array(ids, np.int32))
    small = st.lists(st.integers(0, 199), max_size=20).map(lambda ids: np.array(ids, np.int32))
    docids = draw(st.lists(TEXT, min_size=1, max_size=4))
    floats = st.lists(FLOATS, min_size=len(docids), max_size=len(docids)).map(lambda x: np.array(x, np.float32))
    return Example(
        qid=draw(TEXT),
        docids=tuple(docids),
        labels=draw(floats),
        queries={"query": draw(tokens)},
        docs={"doc": tuple(draw(tokens) for _ in docids), "b/doc": tuple(draw(small) for _ in docids)},
        columns={"teacher": draw(floats), "features": np.stack([draw(floats), draw(floats)], axis=1)},
    )


COLUMNS = ("teacher", "features")


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([256, 30522, 250002]))
def test_what_is_encoded_comes_back(data: Any, vocab_size: int) -> None:
    example, codec = data.draw(examples(vocab_size)), codec_of(vocab_size, *COLUMNS)
    encoded = codec.encode(example)
    back = codec.decode(encoded)
    assert same(back, example)
    assert codec.encode(back) == encoded
    assert back.queries["query"].dtype == np.int32 and back.labels.dtype == np.float32
    assert back.columns["features"].shape == (len(example.docids), 2)


def of_protobuf(example: Example, dtype: np.dtype[Any]) -> bytes:
    """The same features, encoded by protobuf's own code."""
    features = {
        "labels": [example.labels.astype("<f4").tobytes()],
        "tokens/query": [example.queries["query"].astype(dtype.newbyteorder("<")).tobytes()],
        "tokens/doc": [tokens.astype(dtype.newbyteorder("<")).tobytes() for tokens in example.docs["doc"]],
        "tokens/b/doc": [tokens.astype(np.uint8).tobytes() for tokens in example.docs["b/doc"]],
        "column/teacher": [example.columns["teacher"].astype("<f4").tobytes()],
        "column/features": [example.columns["features"].astype("<f4").tobytes()],
        "docids": [docid.encode() for docid in example.docids],
        "qid": [example.qid.encode()],
    }
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
    query = np.full(long, vocab_size - 1, data.draw(st.sampled_from([dtype, np.int32])))
    example = dataclasses.replace(example, queries={"query": query})
    assert codec_of(vocab_size, *COLUMNS).encode(example) == of_protobuf(example, dtype)


WORDS = Codec({"query": Stream("query", "uint16"), "doc": Stream("doc", "uint16")})
TAUGHT = Codec(WORDS.streams, ["teacher"])


def test_tensorflow_reads_the_message_and_ours_reads_its() -> None:
    example = dataclasses.replace(expected(7), columns={"teacher": np.array([0.5, -1, 3], np.float32)})
    theirs = tf.train.Example.FromString(TAUGHT.encode(example))
    features = {name: list(feature.bytes_list.value) for name, feature in theirs.features.feature.items()}
    assert features["qid"] == [b"q7"] and features["docids"] == [b"d21", b"d22", b"d23"]
    assert np.frombuffer(features["tokens/doc"][1], "<u2").tolist() == example.docs["doc"][1].tolist()
    assert np.frombuffer(features["column/teacher"][0], "<f4").tolist() == [0.5, -1, 3]
    assert sorted(features) == ["column/teacher", "docids", "labels", "qid", "tokens/doc", "tokens/query"]
    assert same(TAUGHT.decode(theirs.SerializeToString()), example)


def test_features_lie_in_the_order_of_their_names() -> None:
    encoded = WORDS.encode(expected(7))
    names = [b"docids", b"labels", b"qid", b"tokens/doc", b"tokens/query"]
    positions = [encoded.index(b"\x0a%c%b\x12" % (len(name), name)) for name in names]
    assert positions == sorted(positions)


def test_an_example_of_ids_and_numbers_alone_comes_back() -> None:
    codec = Codec({}, ["features"])
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    example = Example("q", ("a", "b", "c"), np.ones(3, np.float32), columns={"features": features})
    assert same(codec.decode(codec.encode(example)), example)


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(2, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")]
)
def test_tokens_take_the_smallest_integer_that_holds_the_vocabulary(vocab_size: int, name: str) -> None:
    assert token_dtype(vocab_size).name == name
    codec = Codec({"query": Stream("query", name)})
    sizes = [
        len(codec.encode(Example("q", (), np.zeros(0, np.float32), {"query": np.zeros(n, np.int32)})))
        for n in (0, 1000)
    ]
    assert sizes[1] - sizes[0] == pytest.approx(1000 * np.dtype(name).itemsize, abs=10)


@pytest.mark.faults
def test_other_bytes_are_refused_with_their_place() -> None:
    whole = WORDS.encode(expected(3))
    bytes_of_one = Codec({name: Stream(level, "uint8") for name, (level, _) in WORDS.streams.items()})
    for data in (b"", b"\x0a\xff", whole[:-3], bytes_of_one.encode(expected(3))):
        with pytest.raises(StorageError, match="not an example of this version") as caught:
            WORDS.decode(data, "cache/shard:7")
        assert caught.value.where == "cache/shard:7" and caught.value.exit_code == 6
    with pytest.raises(StorageError, match="it has only the features docids, labels, qid, tokens/doc, tokens/query"):
        TAUGHT.decode(whole)


def test_features_that_differ_in_their_number_of_documents_are_refused() -> None:
    whole = expected(3)
    for changes in ({"labels": np.ones(2, np.float32)}, {"docs": {"doc": whole.docs["doc"][:2]}}):
        with pytest.raises(StorageError, match="differ in the number of documents"):
            WORDS.decode(WORDS.encode(dataclasses.replace(whole, **changes)))
