"""Weights on disk: what is read, what is written, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from rankcli.errors import MissingError, StorageError
from rankcli.text import _safetensors
from rankcli.text.weights import open_tensors, read_tensors, write_tensors

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "encoders"
TENSORS = {
    "b.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.bias": np.array([-1.5], np.float32),
    "none": np.zeros((0, 4), np.float32),
    "scalar": np.array(7.25, np.float32),
}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def raw(path: Path, header: object, numbers: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + numbers)
    return path.parent


def entry(begin: int, stop: int, shape: list[int], kind: str = "F32") -> dict[str, object]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, stop]}


def test_written_tensors_are_read_back_by_us_and_by_the_library(tmp_path):
    write_tensors(tmp_path, TENSORS)
    assert_same(read_tensors(tmp_path), TENSORS)
    assert_same(safetensors.numpy.load_file(tmp_path / "model.safetensors"), TENSORS)
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_equal_tensors_are_equal_bytes_in_any_order(tmp_path):
    files = []
    for n, names in enumerate((sorted(TENSORS), sorted(TENSORS, reverse=True))):
        (tmp_path / str(n)).mkdir()
        write_tensors(tmp_path / str(n), {name: TENSORS[name] for name in names}, {"z": "1", "k": "2"})
        files.append((tmp_path / str(n) / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_transposed_views_are_written_by_value(tmp_path):
    write_tensors(tmp_path, {"w": TENSORS["b.weight"].T})
    np.testing.assert_array_equal(read_tensors(tmp_path)["w"], [[0, 3], [1, 4], [2, 5]])


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    write_tensors(tmp_path, TENSORS)
    before = (tmp_path / "model.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_tensors(tmp_path, {"other": TENSORS["a.bias"]})
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_half_precision_becomes_float32_exactly(tmp_path):
    values = np.array([1.0, -2.5, 0.15625, 3e38], np.float32)
    upper = (values.view("<u4") >> 16).astype("<u2")
    halves = values[:3].astype("<f2")
    header = {"b": entry(0, 8, [4], "BF16"), "h": entry(8, 14, [3], "F16"), "n": entry(14, 22, [1], "I64")}
    found = read_tensors(raw(tmp_path / "model.safetensors", header, upper.tobytes() + halves.tobytes() + bytes(8)))
    assert found["b"].dtype == found["h"].dtype == np.float32
    np.testing.assert_array_equal(found["b"][:3], values[:3])
    assert found["b"][3] == pytest.approx(3e38, rel=0.01)
    np.testing.assert_array_equal(found["h"], values[:3])
    assert found["n"].dtype == np.int64


def test_shards_are_read_through_their_index(tmp_path):
    shards = {"model-00001-of-00002.safetensors": ["a.bias", "none"], "model-00002-of-00002.safetensors": ["b.weight"]}
    for shard, names in shards.items():
        safetensors.numpy.save_file({name: TENSORS[name] for name in names}, tmp_path / shard)
    weight_map = {name: shard for shard, names in shards.items() for name in names}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert_same(read_tensors(tmp_path), {name: TENSORS[name] for name in weight_map})
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingError, match="shard model-00002-of-00002.safetensors is missing"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", ".hidden"])
def test_shards_outside_the_directory_are_refused(tmp_path, shard):
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": shard}}))
    with pytest.raises(StorageError, match="not the plain name of a file"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("elsewhere", ["other", "a/b/model"])
def test_shards_that_are_links_to_elsewhere_are_refused_and_those_of_the_hub_s_cache_are_read(tmp_path, elsewhere):
    target, directory = tmp_path / elsewhere / "one.safetensors", tmp_path / "model"
    target.parent.mkdir(parents=True)
    safetensors.numpy.save_file({"w": TENSORS["b.weight"]}, target)
    directory.mkdir()
    index = json.dumps({"weight_map": {"w": "one.safetensors"}})
    (directory / "model.safetensors.index.json").write_text(index)
    (directory / "one.safetensors").symlink_to(target)
    with pytest.raises(StorageError, match="a link to elsewhere, which is not followed"):
        read_tensors(directory)
    snapshot, blob = tmp_path / "models--o--m/snapshots/c0ffee", tmp_path / "models--o--m/blobs/1234"
    snapshot.mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_bytes(target.read_bytes())
    (snapshot / "model.safetensors.index.json").write_text(index)
    (snapshot / "one.safetensors").symlink_to("../../blobs/1234")
    assert_same(read_tensors(snapshot), {"w": TENSORS["b.weight"]})


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json", "tf_model.h5"])
def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(StorageError, match="not a regular file"):
        read_tensors(tmp_path)


def test_a_name_in_two_shards_is_refused(tmp_path):
    for shard in ("a", "b"):
        safetensors.numpy.save_file({"w": TENSORS["b.weight"], shard: TENSORS["a.bias"]}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "a", "b": "b"}}))
    with pytest.raises(StorageError, match="two shards hold"):
        read_tensors(tmp_path)


def test_only_what_is_asked_for_is_read_and_only_once(tmp_path, monkeypatch):
    write_tensors(tmp_path, TENSORS)
    read, given = [], _safetensors._read_tensor
    monkeypatch.setattr(_safetensors, "_read_tensor", lambda *args: (read.append(args[2]["shape"]), given(*args))[1])
    tensors = open_tensors(tmp_path)
    assert tensors.shapes == {name: value.shape for name, value in TENSORS.items()} and read == []
    write_tensors(tmp_path, {"b.weight": TENSORS["b.weight"] + 1})  # what is put in its place is not mixed in
    renamed = tensors.renamed({"new": "b.weight"})
    np.testing.assert_array_equal(renamed["new"], TENSORS["b.weight"])
    assert renamed["new"] is tensors["b.weight"] and read == [[2, 3]]


@pytest.mark.parametrize("content", ["[]", "{", '{"weight_map": 3}', '{"weight_map": {"w": 1}}', "[" * 100_000])
def test_a_broken_index_is_named(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(StorageError, match="model.safetensors.index.json"):
        read_tensors(tmp_path)


@pytest.mark.parametrize(
    ("header", "numbers", "message"),
    [
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12), "tensor b overlaps another or leaves a gap"),
        ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, bytes(12), "tensor b overlaps another or leaves a gap"),
        ({"a": entry(0, 4, [1]), "b": entry(0, 4, [1])}, bytes(4), "tensor b overlaps another or leaves a gap"),
        ({"a": entry(0, 8, [2])}, bytes(7), "7 bytes of numbers where 8 are described"),
        ({"a": entry(0, 8, [2])}, bytes(9), "9 bytes of numbers where 8 are described"),
        ({"a": entry(0, 2**62, [2**60])}, bytes(8), "8 bytes of numbers where"),
        ({"a": entry(0, 8, [2**62, 2**62])}, bytes(8), "which is not its shape"),
        ({"a": entry(0, 8, [-2])}, bytes(8), "not whole numbers"),
        ({"a": entry(-8, 0, [2])}, bytes(8), "not whole numbers"),
        ({"a": entry(0, 8, [2], "F8_E4M3")}, bytes(8), "not described properly"),
        ({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, bytes(8), "not described properly"),
        ({"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}, bytes(8), "not described properly"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}}, bytes(8), "not described properly"),
        ({"a": 3}, b"", "not described properly"),
        ([], b"", "not an object"),
        (b'{"a": {"dtype": "F32"}, "a": 3}', b"", "'a' is there twice"),
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,8]}}', bytes(8), "is there twice"),
        (b"\xff\xfe", b"", "cannot be read"),
        (b"[" * 100_000, b"", "cannot be read"),
    ],
)
def test_headers_that_do_not_add_up_are_refused(tmp_path, header, numbers, message):
    with pytest.raises(StorageError, match=message):
        read_tensors(raw(tmp_path / "model.safetensors", header, numbers))


@pytest.mark.parametrize("length", [2**63, 10**9, 17 * 2**20])
def test_a_huge_header_takes_no_memory(tmp_path, length):
    raw(tmp_path / "model.safetensors", b"{}", length=length)
    with open(tmp_path / "model.safetensors", "ab") as file:
        file.truncate(2**30)  # a hole: nothing of it is on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StorageError, match="not safetensors, or damaged"):
        read_tensors(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # kilobytes


@pytest.mark.parametrize("size", [0, 7, 8, 40, 60])
def test_a_file_cut_short_is_refused(tmp_path, size):
    write_tensors(tmp_path, TENSORS)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:size])
    with pytest.raises(StorageError):
        read_tensors(tmp_path)


def test_a_pickle_is_never_opened_and_the_way_out_is_said(tmp_path):
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (canary,))

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(MissingError) as caught:
        read_tensors(tmp_path)
    assert not canary.exists()
    assert caught.value.exit_code == 4
    assert "python -c" in caught.value.fix and "save_pretrained" in caught.value.fix
    assert pickle.loads((tmp_path / "pytorch_model.bin").read_bytes()) is None and canary.exists()  # it would have run


def test_an_empty_directory_is_missing_weights(tmp_path):
    with pytest.raises(MissingError, match="no model.safetensors or tf_model.h5 here"):
        read_tensors(tmp_path)


def keras_name(name: str) -> str:
    """The name in Hugging Face's TensorFlow models of the variable that its PyTorch models call `name`."""
    parts = name.split(".")
    last = parts.pop()
    if parts[-1] == "LayerNorm":
        last = {"weight": "gamma", "bias": "beta"}[last]
    elif parts[-1] in ("position_embeddings", "token_type_embeddings"):
        last = "embeddings"
    elif last == "weight" and parts[-1] != "word_embeddings":
        last = "kernel"
    path = "/".join([*parts, last]).replace("layer/", "layer_._")
    return f"{parts[0]}/tf_bert_for_sequence_classification/{path}:0"


def test_tf_model_h5_gives_the_tensors_of_the_pytorch_model(tmp_path):
    expected = read_tensors(GOLDEN / "bert-classifier")
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file.create_group("dropout_37")  # layers without weights are there too
        for name, value in expected.items():
            path = keras_name(name)
            file[path] = value.T if path.endswith("kernel:0") else value
    assert "bert/tf_bert_for_sequence_classification/bert/encoder/layer_._1/attention/self/key/kernel:0" in map(
        keras_name, expected
    )
    assert_same(read_tensors(tmp_path), expected)


def h5(path: Path, fill) -> Path:
    with h5py.File(path / "tf_model.h5", "w") as file:
        fill(file)
    return path


def external_storage(file):
    secret = Path(file.filename).parent / "secret"
    secret.write_bytes(bytes(8))
    file.create_dataset("w", (2,), "f4", external=[(str(secret), 0, 8)])


def virtual(file):
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "w", (2,))
    file.create_virtual_dataset("w", layout)


def looped(file):
    group = file.create_group("g")
    group["g"] = group


def rooted(file):
    file["g"] = file["/"]


def doubled(file):
    file["a"] = np.zeros(2)
    file["b"] = file["a"]


def same_weight(file):
    file["a/x/dense/kernel:0"] = np.zeros((2, 2))
    file["b/x/dense/kernel:0"] = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda file: file.__setitem__("w", h5py.ExternalLink("/etc/secret.h5", "/w")), "link to elsewhere"),
        (lambda file: file.__setitem__("w", h5py.SoftLink("/other")), "link to elsewhere"),
        (external_storage, "not plain numbers"),
        (virtual, "not plain numbers"),
        (lambda file: file.__setitem__("w", "text"), "not plain numbers"),
        (lambda file: file.create_dataset("w", (2**60,), "f4", chunks=(1024,)), "claims more numbers"),
        (lambda file: file.create_dataset("w", data=np.zeros(2**20), compression="gzip"), "claims more numbers"),
        (looped, "under two names"),
        (rooted, "under two names"),
        (doubled, "under two names"),
        (same_weight, "the same weight"),
    ],
)
def test_h5_tricks_are_refused(tmp_path, fill, message):
    with pytest.raises(StorageError, match=message):
        read_tensors(h5(tmp_path, fill))


def test_a_damaged_h5_is_named(tmp_path):
    (tmp_path / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(StorageError, match="not a readable HDF5 file"):
        read_tensors(tmp_path)
