"""A bi-encoder of a frozen encoder with a head, and another half frozen one for queries, through the real pipeline."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.encoders.config import TINY
from rankcli.errors import ConfigError, Interrupted
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import save_reranker, sections_of
from rankcli.runs.prepare import prepare
from rankcli.training.variables import open_variables
from rankcli.verbs.train import train
from tests.conftest import WORDS
from tests.training.test_loop import lines, tensors

FROZEN = re.compile(r"encoder/(?!query/)|encoder/query/(embeddings|layer_0)/")
LAST = "iter-00002"
ENCODER = dataclasses.replace(TINY, layers=2, hidden=12, dropout=0.2)


def save_encoder(folder: Path) -> None:
    """Save a bi-encoder with the words of the tiny collection as its tokens: one each, unlike a trained vocabulary."""
    extractor_options = EXTRACTORS.get("apart")(maxqlen=6, maxdoclen=16, vocab_size=200)
    extractor = extractor_options.build(ExtractorContext(texts=lambda: [word for word in WORDS for _ in range(3)]))
    options = RERANKERS.get("biencoder")(encoder=ENCODER)
    model = options.build(RerankerContext(extractor=extractor, seed=7))
    save_reranker(model, extractor, sections_of(options, extractor_options), folder)


@pytest.fixture
def config(tiny, tmp_path: Path):
    save_encoder(tmp_path / "queries")
    query = f"{{pretrained: {tmp_path / 'queries'}, frozen: 1, pooling: cls}}"
    head = "{name: linear, size: 12, dropout: 0.1}"
    parts = (f"reranker.query={query}", f"reranker.head={head}", "reranker.queryhead=skip", "reranker.frozen=true")
    return tiny("biencoder", *parts, "trainer.niters=2")


def test_it_trains_resumes_and_reranks_to_the_same_bits(config, tmp_path: Path, stop_after) -> None:
    first = prepare(config).start.build(config.trainer.seed, config.trainer.dtype)
    assert first.bases["doc"].frozen and not first.bases["query"].frozen
    train(config, out=tmp_path / "whole")
    after = open_variables(tmp_path / f"whole/checkpoints/{LAST}")
    kept = {path for path, value in first.variables.items() if np.array_equal(value, after[path])}
    assert kept == {path for path in first.variables if FROZEN.match(path)} != set()
    reader = tf.train.load_checkpoint(str(tmp_path / f"whole/checkpoints/{LAST}/ckpt"))
    sizes = {key: shape for key, shape in reader.get_variable_to_shape_map().items() if not key.startswith("model/")}
    slots = sum(int(np.prod(shape)) for shape in sizes.values() if shape)
    trained = sum(variable.shape.num_elements() for path, variable in first.variables.items() if path not in kept)
    assert slots == 2 * trained  # Adam's two moments, of these alone

    stop_after(4)
    with pytest.raises(Interrupted):
        train(config, out=tmp_path / "parts")
    train(config, out=tmp_path / "parts")
    assert tensors(tmp_path / "whole", LAST) == tensors(tmp_path / "parts", LAST)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")

    command = f"{sys.executable} -m rankcli rerank --model whole --output again.run --strategy cpu -q"
    subprocess.run(
        command.split(), check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert (tmp_path / "again.run").read_bytes() == (tmp_path / "whole/test.run").read_bytes()
    best = next((tmp_path / "whole/best").iterdir())
    assert json.loads((best / "modules.json").read_text())[0]["type"].endswith("Router")


def test_nothing_to_train_is_said_before_any_work(tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every encoder is frozen, and nothing else is trained"):
        train(tiny("biencoder", "reranker.frozen=true"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
