"""Trainings on words whose vectors come from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankcli.errors import ConfigError
from rankcli.runs.model import find_model
from rankcli.runs.opened import open_model
from rankcli.runs.prepare import prepare
from rankcli.verbs.train import train
from tests.conftest import WORDS, Tiny


def write_vectors(file: Path, seed: int) -> np.ndarray:
    """Vectors of four numbers for all words of the tiny collection."""
    table = np.random.default_rng(seed).normal(size=(len(WORDS), 4)).round(3)
    file.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in zip(WORDS, table, strict=True)))
    return table


def test_a_training_starts_from_vectors_that_the_saved_model_holds(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "glove.txt"
    table = write_vectors(file, 1)
    overrides = (f"extractor.vectors={file}", "reranker.dim=4", "reranker.finetune=false", "trainer.niters=1")
    config = tiny("TFKNRM", *overrides)
    train(config, out=tmp_path / "run")
    assert "word vectors of glove.txt: 20 of 20 words of the vocabulary (100.0%)" in capsys.readouterr().err
    run_id = prepare(config).identity.run_id
    write_vectors(file, 2)
    assert prepare(config).identity.run_id != run_id
    file.unlink()
    model = open_model(find_model(str(tmp_path / "run"), "best"), "best", "float32")
    vocabulary = model.extractor.vocabulary  # type: ignore[attr-defined]
    rows = [2 + vocabulary.words.index(word) for word in WORDS]
    np.testing.assert_allclose(model.reranker.tensors()["word_embeddings.weight"][rows], table, rtol=1e-6)


def test_vectors_of_another_size_are_an_error_with_the_option_to_change(tiny: Tiny, tmp_path: Path) -> None:
    write_vectors(tmp_path / "glove.txt", 1)
    config = tiny("TFKNRM", f"extractor.vectors={tmp_path}/glove.txt")
    with pytest.raises(ConfigError, match="have 4 numbers, not 128\n  -> reranker.dim=4"):
        train(config, out=tmp_path / "run")
