"""Model directories for sentence-transformers and from it: files only, without the library."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.errors import MissingError
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of

MODULES = "sentence_transformers.base.modules.transformer.Transformer"


def saved(name: str, directory: Path) -> tiny.Tiny:
    model = tiny.built(name)
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), directory)
    return model


@pytest.mark.parametrize(("name", "longest"), [("crossencoder", 24), ("TFBERTMaxP", 13), ("biencoder", 24)])
def test_the_tokenizer_s_settings_name_the_longest_sequence_and_keep_the_rest(name, longest, tmp_path):
    model = saved(name, tmp_path / "model")
    model.extractor.save(tmp_path)
    before = json.loads((tmp_path / "tokenizer_config.json").read_text())
    after = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert before["model_max_length"] == 512
    assert after == {**before, "model_max_length": longest}


def test_a_cross_encoder_that_lists_its_transformer_as_a_module_opens_as_one(tmp_path):
    model = saved("crossencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    (tmp_path / "model" / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": MODULES}]))
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    assert sections["reranker"]["name"] == "crossencoder"
    assert (sections["extractor"]["maxseqlen"], sections["extractor"]["maxqlen"]) == (24, None)
    groups = tiny.examples(model.extractor)
    np.testing.assert_array_equal(
        reranker(tiny.batch(extractor, groups)).scores.numpy(),
        model.reranker(tiny.batch(model.extractor, groups)).scores.numpy(),
    )


def test_a_cross_encoder_with_a_head_of_modules_is_refused(tmp_path):
    saved("crossencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    modules = [{"path": "", "type": MODULES}, {"path": "1_LogitScore", "type": "sentence_transformers.LogitScore"}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(MissingError, match="a sentence-transformers model of Transformer, LogitScore"):
        load_reranker(tmp_path / "model")


@pytest.mark.parametrize(
    ("prompts", "said"),
    [({"query": "", "document": ""}, ""), ({"query": "search: ", "doc": ""}, "its prompts (query) are not put before")],
)
def test_prompts_that_are_left_out_are_said(prompts, said, tmp_path, capsys):
    saved("biencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    settings = {"similarity_fn_name": "cosine", "prompts": prompts}
    (tmp_path / "model" / "config_sentence_transformers.json").write_text(json.dumps(settings))
    load_reranker(tmp_path / "model")
    told = capsys.readouterr().err
    assert said in told and bool(told) == bool(said)
