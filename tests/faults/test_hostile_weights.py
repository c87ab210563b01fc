"""Model directories made to run code, to read what is elsewhere or to fill the memory: one clear error, no more.

Each is given to `rerank --model`, to `train --init-from` and as `reranker.pretrained`, in a child process whose memory
is measured.
"""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.load import load_config
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from rankcli.runs.prepare import prepare
from tests.checked import forge
from tests.conftest import EXTRACTORS, RERANKERS, write_collection

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]
COMMANDS = ("rerank", "init-from", "pretrained")
MOST = 300  # MiB
GIB = 2**30
WEIGHTS = "model.safetensors"


class Payload:
    """Unpickled, it makes the file that must never be there."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def pickled(model: Path, canary: Path, name: str) -> None:
    (model / WEIGHTS).unlink()
    (model / name).write_bytes(pickle.dumps(Payload(canary)))


def keras_archive(model: Path, canary: Path) -> None:
    """A model with a Lambda layer, as Keras saves it: code, marshalled, in a zip."""
    code = base64.b64encode(marshal.dumps(compile(f"open({str(canary)!r}, 'w')", "x", "exec"))).decode()
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": code}}}}
    (model / WEIGHTS).unlink()
    with zipfile.ZipFile(model / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {"layers": [layer]}}))


def zip_bomb(model: Path, _: Path) -> None:
    with zipfile.ZipFile(model / WEIGHTS, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("w", "w") as file:
        for _ in range(32):
            file.write(bytes(2**24))


def h5(fill: Callable[[h5py.File, Path], None]) -> Callable[[Path, Path], None]:
    def change(model: Path, canary: Path) -> None:
        (model / WEIGHTS).unlink()
        with h5py.File(model / "tf_model.h5", "w") as file:
            fill(file, canary.parent / "secret.h5")

    return change


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((1, 16), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "w", (1, 16))
    file.create_virtual_dataset("classifier/x/classifier/kernel:0", layout)


def raw(header: bytes, length: int | None = None, size: int = 0) -> Callable[[Path, Path], None]:
    """A safetensors file of any header, with a hole behind it that makes it `size` bytes long."""

    def change(model: Path, _: Path) -> None:
        (model / WEIGHTS).write_bytes(struct.pack("<Q", len(header) if length is None else length) + header)
        os.truncate(model / WEIGHTS, max(size, 8 + len(header)))

    return change


def entry(begin: int, stop: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, stop]}


def header(**tensors: Any) -> bytes:
    return json.dumps(tensors).encode()


def huge(model: Path, _: Path) -> None:
    """Every tensor as it should be but one, whose 4 GiB are a hole."""
    text = (model / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", text[:8])
    content = json.loads(text[8 : 8 + length])
    end = max(each["data_offsets"][1] for name, each in content.items() if name != "__metadata__")
    begin, stop = content["classifier.weight"]["data_offsets"]
    content["padding"] = entry(begin, stop, [1, 16])
    content["classifier.weight"] = entry(end, end + 4 * GIB, [GIB // 16, 16])
    changed = json.dumps(content).encode()
    (model / WEIGHTS).write_bytes(struct.pack("<Q", len(changed)) + changed + text[8 + length :])
    os.truncate(model / WEIGHTS, 8 + len(changed) + end + 4 * GIB)


def sharded(shard: str, link: bool = False) -> Callable[[Path, Path], None]:
    """An index whose only shard lies elsewhere."""

    def change(model: Path, canary: Path) -> None:
        outside = canary.parent / "outside.safetensors"
        (model / WEIGHTS).replace(outside)
        name = shard.format(outside=outside)
        if link:
            (model / name).symlink_to(outside)
        (model / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"classifier.bias": name}}))

    return change


def described(**changed: Any) -> Callable[[Path, Path], None]:
    """A `config.json` of other sizes."""

    def change(model: Path, _: Path) -> None:
        file = model / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    return change


def grown(name: str, size: int = 2 * GIB) -> Callable[[Path, Path], None]:
    return lambda model, _: os.truncate(model / name, size)


def written(name: str, content: str) -> Callable[[Path, Path], None]:
    return lambda model, _: (model / name).write_text(content) and None


def pipe(model: Path, _: Path) -> None:
    (model / WEIGHTS).unlink()
    os.mkfifo(model / WEIGHTS)


def checkpoint(shape: list[int] | None) -> Callable[[Path, Path], None]:
    """A run directory whose last checkpoint holds a variable of another shape; or whose index is cut."""

    def change(model: Path, _: Path) -> None:
        best, last = model / "best/ndcg_cut_10", model / "checkpoints/iter-00001"
        files = [path for path in model.iterdir() if path.is_file()]
        best.mkdir(parents=True)
        for path in files:
            path.rename(best / path.name)
        bag = tf.Module()
        bag.by_path = {"classifier/bias": tf.Variable(np.zeros(shape or [1], np.float32))}
        tf.train.Checkpoint(model=bag).write(str(last / "ckpt"))
        if shape is None:
            os.truncate(last / "ckpt.index", 40)
        (model / "run.json").write_text("{}")
        shutil.copy(model.parent / "run.yaml", model / "config.yaml")

    return change


def knrm(**changed: Any) -> Callable[[Path, Path], None]:
    """A saved TFKNRM whose description claims other sizes."""

    def change(model: Path, canary: Path) -> None:
        shutil.rmtree(model)
        shutil.copytree(canary.parent / "knrm", model)
        forge(model / "rankcli.json", lambda content: content["reranker"].update(changed))

    return change


ABUSES: dict[str, Callable[[Path, Path], None]] = {
    "pickle": lambda model, canary: pickled(model, canary, "pytorch_model.bin"),
    "pickle called safetensors": lambda model, canary: pickled(model, canary, WEIGHTS),
    "pickle called h5": lambda model, canary: pickled(model, canary, "tf_model.h5"),
    "keras Lambda": keras_archive,
    "zip bomb": zip_bomb,
    "h5 external link": h5(lambda file, secret: file.__setitem__("w", h5py.ExternalLink(str(secret), "/w"))),
    "h5 soft link": h5(lambda file, _: file.__setitem__("w", h5py.SoftLink("/elsewhere"))),
    "h5 virtual": h5(virtual),
    "h5 external storage": h5(
        lambda file, secret: file.create_dataset("w", (1, 16), "f4", external=[(str(secret), 0, 64)]) and None
    ),
    "h5 bomb": h5(lambda file, _: file.create_dataset("w", (GIB,), "f4", chunks=(2**20,), compression="gzip") and None),
    "overlapping": raw(header(a=entry(0, 8, [2]), b=entry(4, 12, [2])), size=120),
    "huge header": raw(b"{}", length=2**62, size=4 * GIB),
    "huge header that is there": raw(b'{"a":', length=2 * GIB, size=4 * GIB),
    "negative offsets": raw(header(a=entry(-8, 0, [2])), size=80),
    "a name twice": raw(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":3}', size=72),
    "header of many lists": raw(b'{"a":[' + b"[]," * 1_300_000 + b"[]]}"),
    "huge tensor": huge,
    "index to above": sharded("../outside.safetensors"),
    "index to anywhere": sharded("{outside}"),
    "index to a link": sharded("shard.safetensors", link=True),
    "huge index": lambda model, _: ((model / WEIGHTS).unlink(), grown_index(model))[1],
    "pipe": pipe,
    "config of many layers": described(num_hidden_layers=2**60),
    "config of wide layers": described(hidden_size=2**30, num_attention_heads=2),
    "config of many words": described(vocab_size=2**40),
    "config deeply nested": written("config.json", "[" * 200_000),
    "huge config": grown("config.json"),
    "wrong shapes": checkpoint([2, 3]),
    "checkpoint cut": checkpoint(None),
    "TFKNRM of wide embeddings": knrm(dim=2**30),
}
CODES = {(abuse, command): 4 for abuse in ("pickle", "keras Lambda") for command in COMMANDS}
CODES |= {("config of wide layers", "init-from"): 2}  # the encoder that is trained is another one
# Neither of these is a directory of weights.
CODES |= {(abuse, "pretrained"): 4 for abuse in ("wrong shapes", "checkpoint cut", "TFKNRM of wide embeddings")}
# The encoder that is trained has its sizes from elsewhere, and the weights are as they should be.
HARMLESS = {("config of many layers", "init-from"), ("config of many words", "init-from")}


def grown_index(model: Path) -> None:
    (model / f"{WEIGHTS}.index.json").write_text("{}")
    os.truncate(model / f"{WEIGHTS}.index.json", 2 * GIB)


def saved(folder: Path, name: str, directory: Path) -> None:
    config, _ = load_config([folder / f"{name}.yaml"])
    prepared = prepare(config)
    reranker = config.reranker.build(RerankerContext(prepared.start.extractor))
    save_reranker(reranker, prepared.start.extractor, sections_of(config.reranker, config.extractor), directory)


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection, and what must not be made beside it."""
    folder = tmp_path_factory.mktemp("hostile")
    write_collection(folder)
    for name in ("crossencoder", "TFKNRM"):
        (folder / f"{name}.yaml").write_text(
            "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
            f"reranker: {RERANKERS[name]}\nextractor: {EXTRACTORS[name]}\ntrainer: {{strategy: cpu}}\n"
        )
    (folder / "first.run").write_text("".join(f"q{n} Q0 d{2 * n} 1 1.0 t\n" for n in range(3)))
    (folder / "secret.h5").write_bytes(bytes(64))
    return folder / "canary"


Outcomes = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def measured(canary: Path) -> Callable[[list[tuple[str, str]]], Outcomes]:
    """The outcome of a command with a directory, for each of the pairs, in a process of their own."""
    folder = canary.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKCLI_CACHE", str(folder / "cache"))
        saved(folder, "crossencoder", folder / "good")
        saved(folder, "TFKNRM", folder / "knrm")
    for name in ("good", "knrm"):
        forge(folder / name / "rankcli.json")  # whoever means harm writes no checksums that would show the change
    shutil.copy(folder / "crossencoder.yaml", folder / "run.yaml")
    for name, change in ABUSES.items():
        shutil.copytree(folder / "good", folder / name)
        change(folder / name, canary)

    def run(pairs: list[tuple[str, str]]) -> Outcomes:
        given = {"PYTHONPATH": str(ROOT), "RANKCLI_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        asked = [f"{command}={folder / model}" for model, command in pairs]
        child = [sys.executable, "-m", "tests.faults.weights_child", str(folder), *asked]
        done = subprocess.run(child, env={**os.environ, **given}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return {(each["model"], each["command"]): each for each in map(json.loads, done.stdout.splitlines())}

    return run


EVERY = [(abuse, command) for abuse in ABUSES for command in COMMANDS if (abuse, command) not in HARMLESS]
LOUD = ("pickle", "h5 external link", "huge tensor", "wrong shapes")  # tried with every command in every run
SMALL = [pair for pair in EVERY if pair[1] == "rerank" or pair[0] in LOUD]
TAKEN = [*(("good", command) for command in COMMANDS), *sorted(HARMLESS)]


@pytest.fixture(scope="module")
def outcomes(measured: Any) -> Outcomes:
    """Of what is always tried."""
    return dict(measured([*TAKEN, *SMALL]))


@pytest.fixture(scope="module")
def outcomes_in_full(measured: Any) -> Outcomes:
    """Of everything else."""
    return dict(measured([pair for pair in EVERY if pair not in SMALL]))


@pytest.mark.parametrize(("model", "command"), TAKEN)
def test_what_harms_nobody_is_taken(model: str, command: str, outcomes: Outcomes) -> None:
    assert outcomes[model, command]["code"] == 0, outcomes[model, command]["err"]
    assert outcomes[model, command]["grown"] <= MOST


def wrong_with(done: dict[str, Any], canary: Path) -> list[str]:
    """The faults of a command that was given hostile weights."""
    errors = [line for line in done["err"].splitlines() if "error: " in line]
    checks = {
        "one error": len(errors) == 1 and errors[0].startswith("error: "),
        "of ours": "bug of ours" not in done["err"] and "Traceback" not in done["err"],
        "place": done["model"] in done["err"],
        "length": len(done["err"]) < 4000,
        "code": done["code"] == CODES.get((done["model"], done["command"]), 6),
        "memory": done["grown"] <= MOST,
        "canary": not canary.exists(),
    }
    return [name for name, right in checks.items() if not right]


@pytest.mark.parametrize(("abuse", "command"), SMALL)
def test_hostile_weights_are_one_clear_error(abuse: str, command: str, outcomes: Outcomes, canary: Path) -> None:
    assert wrong_with(outcomes[abuse, command], canary) == [], outcomes[abuse, command]


@pytest.mark.slow
@pytest.mark.parametrize(("abuse", "command"), [pair for pair in EVERY if pair not in SMALL])
def test_so_they_are_with_every_command(abuse: str, command: str, outcomes_in_full: Outcomes, canary: Path) -> None:
    assert wrong_with(outcomes_in_full[abuse, command], canary) == [], outcomes_in_full[abuse, command]


def test_the_payload_would_have_run(canary: Path) -> None:
    pickle.loads(pickle.dumps(Payload(canary)))
    assert canary.exists()
    canary.unlink()
