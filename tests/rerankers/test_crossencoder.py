"""Cross-encoders: the formula in NumPy, Hugging Face's own logits, heads of other shapes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.encoders.build import Pretrained
from rankcli.errors import ConfigError
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.shapes import Batch, Field, Layout, SequenceSpec, StreamSpec
from rankcli.text.weights import read_tensors, write_tensors

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"
KINDS = ("bert", "electra")


def fake_extractor(vocab_size=60, max_length=24):
    return SimpleNamespace(
        streams={"doc": StreamSpec("doc", vocab_size)}, fields={"pair": SequenceSpec("doc", "doc", max_length)}
    )


def pretrained(directory, extractor=None):
    return CrossEncoder(pretrained="given").build(
        RerankerContext(extractor=extractor or fake_extractor(), models={"pretrained": Pretrained(directory)})
    )


def golden_batch(kind):
    golden = np.load(GOLDEN / f"{kind}-classifier" / "golden.npz")
    ids, segments, mask = (golden[name].astype(np.int32) for name in ("input_ids", "token_type_ids", "attention_mask"))
    rows = np.arange(len(ids), dtype=np.int32)
    positions = np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape)
    places = np.arange(ids.size, dtype=np.int32).reshape(ids.shape)
    layout = Layout(ids, positions, segments, np.where(mask, rows[:, None], -1), np.where(mask, places, -1), segments)
    zeros = np.zeros((len(ids), 1), np.float32)
    batch = Batch(zeros, np.ones(zeros.shape, bool), {}, {"pair": Field(layout, rows)})
    return tf.nest.map_structure(tf.constant, batch), golden["logits"]


def with_head(source, directory, change):
    """A copy of a golden classifier whose tensors `change` has altered."""
    directory.mkdir()
    shutil.copy(source / "config.json", directory)
    tensors = read_tensors(source)
    change(tensors)
    write_tensors(directory, tensors)
    return directory


def test_scores_are_the_formula_of_a_bert_classifier():
    model = tiny.built("crossencoder", encoder=tiny.DEEPER)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups)).scores.numpy()
    for b, group in enumerate(groups):
        sequences = model.extractor.extract(group)["pair"]
        logits = [numpy_models.bert_logit(model.reranker.tensors(), s.ids, s.segments, 2) for s in sequences]
        np.testing.assert_allclose(scores[b, : len(logits)], logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pretrained_classifier_gives_the_logits_of_hugging_face(kind, capsys):
    batch, logits = golden_batch(kind)
    np.testing.assert_allclose(pretrained(GOLDEN / f"{kind}-classifier")(batch).scores, logits, atol=1e-4, rtol=1e-4)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_have_the_names_and_values_that_the_classifier_came_with(kind):
    stored = read_tensors(GOLDEN / f"{kind}-classifier")
    tensors = pretrained(GOLDEN / f"{kind}-classifier").tensors()
    assert {name: value.shape for name, value in tensors.items()} == {name: v.shape for name, v in stored.items()}
    assert all(np.array_equal(value, stored[name]) for name, value in tensors.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_two_labels_scores_by_the_difference_of_its_logits(kind, tmp_path, capsys):
    last = "classifier" if kind == "bert" else "classifier.out_proj"

    def second_label(tensors):
        for part in ("weight", "bias"):
            one = tensors[f"{last}.{part}"]
            tensors[f"{last}.{part}"] = np.concatenate([0.25 * one, 1.25 * one])

    batch, logits = golden_batch(kind)
    directory = with_head(GOLDEN / f"{kind}-classifier", tmp_path / "two", second_label)
    np.testing.assert_allclose(pretrained(directory)(batch).scores, logits, atol=1e-4, rtol=1e-4)
    assert "two labels; scores are the difference" in capsys.readouterr().err


@pytest.mark.parametrize("labels", [0, 3])
def test_without_a_usable_head_a_new_one_starts_and_says_so(labels, tmp_path, capsys):
    def other_head(tensors):
        weight, bias = tensors.pop("classifier.weight"), tensors.pop("classifier.bias")
        if labels:
            tensors.update(
                {"classifier.weight": np.repeat(weight, labels, 0), "classifier.bias": np.repeat(bias, labels)}
            )

    directory = with_head(GOLDEN / "bert-classifier", tmp_path / "headless", other_head)
    head = pretrained(directory).tensors()["classifier.weight"]
    assert "no classifier of one or two labels" in capsys.readouterr().err
    assert head.shape == (1, 16)
    assert 0 < np.abs(head).max() <= 2 * 0.02


def test_an_encoder_without_head_and_pooler_is_completed(capsys):
    tensors = pretrained(GOLDEN / "electra").tensors()
    assert {"classifier.dense.weight", "classifier.out_proj.weight"} <= tensors.keys()
    assert "starts from random values" in capsys.readouterr().err


def test_vocabularies_and_lengths_beyond_the_encoder_are_refused():
    with pytest.raises(ConfigError, match="61 tokens, but the encoder embeds only 60"):
        pretrained(GOLDEN / "bert-classifier", fake_extractor(vocab_size=61))
    with pytest.raises(ConfigError, match="sequences of 25 tokens, but the encoder has only 24"):
        pretrained(GOLDEN / "bert-classifier", fake_extractor(max_length=25))


@pytest.mark.parametrize("kind", KINDS)
def test_config_json_says_what_the_classifier_is(kind, tmp_path):
    pretrained(GOLDEN / f"{kind}-classifier").save_config(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    original = json.loads((GOLDEN / f"{kind}-classifier" / "config.json").read_text())
    ours = {"classifier_dropout": 0.1, "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    assert {key: value for key, value in written.items() if key not in ours} == {
        key: original[key] for key in written if key not in ours
    }
    assert {key: written[key] for key in ours} == ours
