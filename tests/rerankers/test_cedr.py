"""Kernels over the states of all layers: golden values, the formula in NumPy, options, counts of parameters."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.encoders.parameters import Parameters
from rankcli.errors import ConfigError
from rankcli.rerankers._kernels import kernel_weights
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.cedr import CEDRKNRM, layer_features
from rankcli.shapes import DOC, QUERY, SequenceSpec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rerankers.json").read_text())["cedr_knrm"]
TWO = {"encoder": tiny.DEEPER}


def test_golden_values_of_each_passages_own_query_states():
    given, expected = GOLDEN["inputs"], GOLDEN["expected"]
    query, doc = (tf.math.l2_normalize(tf.constant(given[name]), axis=-1) for name in ("query", "doc"))
    kernels, counted = Parameters(kernel_weights(True, 0.01)), tf.constant(given["doc_mask"], tf.float32)
    owner, mask = tf.constant([0, 0]), tf.constant([[True]])
    phi = [
        layer_features(kernels, query[n], doc[n], tf.ones([2, 3]), counted, owner, mask).numpy()[0, 0] for n in (0, 1)
    ]
    np.testing.assert_allclose(phi, expected["phi_capreolus"], atol=1e-5)
    score = np.concatenate([np.mean(given["cls"], axis=0), *phi]) @ given["w"] + given["b"]
    assert score == pytest.approx(expected["score_capreolus_avg"], abs=1e-5)


def restated(model, group):
    """The scores of a group, from unpadded passages."""
    options, tensors = model.options[0], model.reranker.tensors()
    chosen, scores = options.simmat_layers or range(options.encoder.layers + 1), []
    for k in range(len(group.docids)):
        passages = [one for one in model.extractor.extract(group)["pair"] if one.doc == k]
        states = [numpy_models.bert_layers(tensors, one.ids, one.segments, 2) for one in passages]
        first = np.array([each[-1][0] for each in states])
        features = {"avg": [first.mean(0)], "max": [first.max(0)], "none": []}[options.cls]
        for layer in chosen:
            counts = 0
            for one, each in zip(passages, states, strict=True):
                unit = each[layer] / np.linalg.norm(each[layer], axis=1, keepdims=True)
                cosines = (unit[one.parts == QUERY] @ unit[one.parts == DOC].T)[..., None]
                powers = -((cosines - tensors["kernels.mu"]) ** 2) / (2 * tensors["kernels.sigma"] ** 2)
                counts = counts + np.exp(powers).sum(1)
            features.append(0.01 * np.log(np.maximum(counts, 1e-6)).sum(0))
        found = np.concatenate(features)
        for name in ("combine", "output") if options.combine_hidden else ("output",):
            found = tensors[f"{name}.weight"] @ found + tensors[f"{name}.bias"]
        scores.append(float(found[0]))
    return scores


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"cls": "max", "simmat_layers": (2, 0)}, {"cls": "none"}, {"combine_hidden": 3, "simmat_layers": (1,)}],
)
def test_scores_are_the_formula_passage_by_passage(options, static):
    model = tiny.built("TFCEDRKNRM", **TWO, **options)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups, static=static)).scores.numpy()
    for row, group in zip(scores, groups, strict=True):
        expected = restated(model, group)
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5, atol=1e-5)


def test_a_document_without_tokens_has_the_least_soft_counts():
    model = tiny.built("TFCEDRKNRM", cls="none")
    group = tiny.example(model.extractor, "cat mat", ("",))
    asked = int((model.extractor.extract(group)["pair"][0].parts == QUERY).sum())
    tensors = model.reranker.tensors()
    expected = 0.01 * asked * math.log(1e-6) * tensors["output.weight"].sum() + tensors["output.bias"][0]
    score = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()
    assert score == pytest.approx(expected, rel=1e-5)


def test_parameters_are_those_of_the_paper_and_of_capreolus():
    def own(**options):
        model = tiny.built("TFCEDRKNRM", **TWO, **options)
        return {path: v.shape.num_elements() for path, v in model.reranker.variables.items() if path[:7] != "encoder"}

    size = tiny.DEEPER.hidden + 3 * 11  # 768 + 13 * 11 in the paper: 912 with the offset
    assert own() == {"output/kernel": size, "output/bias": 1, "kernels/mu": 11, "kernels/sigma": 11}
    hidden = own(combine_hidden=1024)  # Capreolus: 911 * 1024 + 1024 + 1025
    assert sum(hidden.values()) - 22 == size * 1024 + 1024 + 1025
    fixed = tiny.built("TFCEDRKNRM", gradkernels=False).reranker.variables
    assert [path for path, v in fixed.items() if not v.trainable] == ["kernels/mu", "kernels/sigma"]
    np.testing.assert_allclose(fixed["kernels/sigma"], [0.1] * 10 + [0.01])


def test_layers_and_extractors_that_do_not_fit_are_one_error():
    extractor = tiny.extractor_of("TFCEDRKNRM")[1]
    with pytest.raises(ConfigError, match=r"layer 3, but the encoder has 1\n  -> name layers from 0 to 1"):
        CEDRKNRM(encoder=tiny.TINY, simmat_layers=(0, 3)).check(RerankerContext(extractor=extractor))
    silent = SimpleNamespace(fields={"pair": SequenceSpec("doc", "doc", 16)})
    with pytest.raises(ConfigError, match="does not say where the query's tokens are"):
        CEDRKNRM().check(RerankerContext(extractor=silent))
    for wrong in ((), (1, 1)):
        with pytest.raises(ValueError, match="at least one layer, and none twice"):
            CEDRKNRM(simmat_layers=wrong)
