"""A package of its own adds a component of every kind, one file each, and all of them train together."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.data.trec import read_run
from rankcli.text.weights import read_tensors, write_tensors
from rankcli.text.wordpiece import train_wordpiece
from tests.conftest import WORDS, write_collection

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "allsorts"
CONFIG = """
data:
  source: {name: measured, docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt}
  folds: {k: 3, fold: 0}
reranker: {name: incontext, pretrained: bag}
extractor: {name: twostreams}
sampler: {name: taught, scores: teacher.run, base: {name: LCE, nneg: 2}}
trainer:
  {batch: 4, niters: 3, itersize: 24, bertlr: 1e-2, lr: 1e-2, loss: inbatch, hooks: [steady], checkpointsteps: 1,
   threshold: 10, testthreshold: 20, strategy: mirrored}
"""
RUN = """
import sys
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.cli import main
main(sys.argv[1:])
"""


def installed(folder: Path) -> None:
    """The package's metadata, as an installer writes them; its code lies in `tests/plugins`."""
    project = (PACKAGE / "pyproject.toml").read_text()
    info = folder / "allsorts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: allsorts\nVersion: 1.0\n")
    _, *groups = project.split('[project.entry-points."')
    (info / "entry_points.txt").write_text("".join("[" + group.replace('"', "") for group in groups))


def write_bag(folder: Path) -> None:
    """A model directory of the package's family of encoders."""
    tokenizer = train_wordpiece(lambda: [" ".join(WORDS)] * 3, 60, True)
    folder.mkdir()
    tokenizer.save(folder)
    draw, words = np.random.default_rng(1), tokenizer.vocab_size
    (folder / "config.json").write_text(json.dumps({"model_type": "bag", "vocab_size": words, "width": 8}))
    shapes = {"bag.embeddings.weight": (words, 8), "bag.dense.weight": (8, 8), "bag.dense.bias": (8,)}
    write_tensors(folder, {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with the package installed, a collection, an encoder, a teacher's run and a config."""
    installed(tmp_path)
    write_collection(tmp_path)
    write_bag(tmp_path / "bag")
    draw = random.Random(2)
    (tmp_path / "teacher.run").write_text(
        "".join(f"q{q} Q0 d{d} {d + 1} {draw.random():.3f} teacher\n" for q in range(12) for d in range(24))
    )
    (tmp_path / "all.yaml").write_text(CONFIG)
    return tmp_path


def started(folder: Path, *args: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(folder), str(PACKAGE.parent), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "RANKCLI_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", RUN, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=folder)


def done(folder: Path, *args: str, code: int = 0) -> str:
    process = started(folder, *args)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == code, stderr
    return stdout if code == 0 else stderr


def killed(folder: Path, *args: str) -> None:
    """Kill a training once it has written a checkpoint within its second iteration."""
    process = started(folder, *args)
    while process.poll() is None and not list((folder / "parts/checkpoints").glob("iter-00001-step-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (folder / "parts/result.json").exists()


def state(run: Path) -> dict[str, Any]:
    """The best weights, and the hook's measures of each iteration."""
    tensors = read_tensors(next((run / "best").iterdir()))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "weights": {name: value.tobytes() for name, value in tensors.items()},
        "measures": [line["measures"] for line in lines if "measures" in line],
        "losses": [line["loss"] for line in lines if "loss" in line],
    }


def test_all_train_together_survive_a_kill_to_the_bit_and_rerank(house: Path) -> None:
    train = ["train", "--config", "all.yaml", "--out"]
    done(house, *train, "whole")
    killed(house, *train, "parts")
    done(house, *train, "parts")
    whole, parts = state(house / "whole"), state(house / "parts")
    assert whole == parts and len(whole["measures"]) == 3 and "steady/score" in whole["measures"][0]
    assert len(set(whole["losses"])) == 3 and whole["losses"][-1] < whole["losses"][0]
    assert {"embeddings.weight", "letters.weight", "mix.weight", "apart"} <= {name for name in whole["weights"]}
    done(house, "rerank", "--model", "whole", "--split", "test", "--depth", "20", "--output", "again.run")
    tested, again = read_run(house / "whole/test.run"), read_run(house / "again.run")
    assert tested.keys() == again.keys() and len(tested) == 4
    for qid, scores in tested.items():
        top = sorted(scores, key=scores.__getitem__)[-20:]
        np.testing.assert_allclose([again[qid][docid] for docid in top], [scores[docid] for docid in top], atol=1e-5)
    files = ["--docs", "docs.jsonl", "--queries", "queries.jsonl", "--run", "again.run"]
    said = done(house, "rerank", "--model", "whole", *files, "--output", "no.run", code=2)
    assert "the model reads features, which these documents do not have" in said
    assert not (house / "no.run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["sampler=LCE"], "loss 'inbatch' reads the column 'teacher', but sampler 'LCE' gives first_stage"),
        (["trainer.accumulate=2"], "'inbatch' compares the groups of a batch with each other"),
        (["reranker={name: crossencoder}", "extractor=passage"], "'inbatch' reads the vectors doc, query"),
        (
            ["data={docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3}}", "data.source=null"],
            "'twostreams' reads the column 'features'",
        ),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_read(house: Path, changes: list[str], said: str) -> None:
    assert said in done(house, "train", "--config", "all.yaml", "--out", "run", *changes, code=2)
    assert not (house / "run").exists()


def test_an_edited_teacher_makes_other_records_and_a_moved_one_the_same(house: Path) -> None:
    def ids(*changes: str) -> dict[str, str]:
        found = json.loads(done(house, "train", "--config", "all.yaml", "--dry-run", "--json", *changes))
        return {name: cache["cache_id"] for name, cache in found["cache"].items()}

    before = ids()
    (house / "moved.run").write_text((house / "teacher.run").read_text())
    assert ids("sampler.scores=moved.run") == before
    (house / "teacher.run").write_text((house / "moved.run").read_text().replace(" 0.", " 0.1", 1))
    after = ids()
    assert after["train"] != before["train"] and after["dev"] == before["dev"]
