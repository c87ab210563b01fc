"""The option `recipe`: ordinary values that a configuration's own are laid over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankcli.config.load import load_config
from rankcli.config.recipes import MODEL
from rankcli.errors import ConfigError
from tests.conftest import write_collection

DATA = "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3}}\n"


def config(folder: Path, text: str, *overrides: str) -> tuple[Any, dict[str, str]]:
    write_collection(folder)
    (folder / "config.yaml").write_text(DATA + text)
    return load_config([folder / "config.yaml"], list(overrides))


def test_small_is_a_careful_mixture_without_training(tmp_path: Path) -> None:
    found, places = config(tmp_path, "recipe: small\n")
    assert found.trainer.niters == 0 and found.mixture.careful
    assert (found.data.run.tune, found.data.run.feedback) == (True, "rm3")
    assert found.reranker.pretrained == MODEL == found.mixture.signals[1].pretrained
    assert places["trainer.niters"] == "recipe small" and places["data.docs"].endswith("config.yaml:1")


def test_own_values_and_arguments_come_before_those_of_the_recipe(tmp_path: Path) -> None:
    own = "recipe: small\ntrainer: {niters: 3}\nmixture: {signals: [first_stage, length]}\n"
    found, _ = config(tmp_path, own, "data.run=bm25")
    assert found.trainer.niters == 3 and list(map(str, found.mixture.signals)) == ["first_stage", "length"]
    assert found.mixture.careful and found.data.run.tune
    found, _ = config(tmp_path, f"reranker: {{name: biencoder, pretrained: {tmp_path}}}\n", "recipe=small")
    assert found.mixture.signals[2].pretrained == str(tmp_path), "one model for all"


def test_standard_trains_a_bi_encoder(tmp_path: Path) -> None:
    found, _ = config(tmp_path, "recipe: standard\n")
    assert found.trainer.niters == 2 and found.mixture is None and found.reranker.pretrained == MODEL


def test_another_word_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe: 'tiny' is no recipe: small or standard") as caught:
        config(tmp_path, "reranker: TFKNRM\nrecipe: tiny\n")
    assert caught.value.exit_code == 2
