"""The contract of every registered reranker, of a tiny configuration each."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.encoders.dropout import Dropout
from rankcli.errors import StorageError
from rankcli.rerankers.base import RerankerOptions

LISTWISE = {"duobert", "listattention", "setencoder"}
every = pytest.mark.parametrize("name", tiny.NAMES)
on_words = [name for name in tiny.NAMES if RERANKERS.get(name).default_extractor == "embedtext"]
encoding = pytest.mark.parametrize("name", sorted({*tiny.ON_TEXTS} - {*on_words}))
pointwise = pytest.mark.parametrize("name", [name for name in tiny.NAMES if not RERANKERS.get(name).listwise])


def scores_of(model, groups=None, **layout):
    groups = tiny.examples(model.extractor) if groups is None else groups
    return model.reranker(tiny.batch(model.extractor, groups, **layout)).scores.numpy()


@every
def test_options_declare_what_a_reranker_reads_and_a_tiny_model(name):
    options = RERANKERS.get(name)
    assert issubclass(options, RerankerOptions) and options.tiny
    assert options.columns == () and options.listwise is (name in LISTWISE)


@every
def test_reads_what_its_default_extractor_makes(name):
    options = RERANKERS.get(name)
    assert set(options.fields) <= set(EXTRACTORS.get(options.default_extractor).fields)


@every
def test_scores_are_float32_logits_of_each_place(name):
    model = tiny.built(name)
    scores = scores_of(model)
    assert (scores.shape, scores.dtype) == ((2, 3), np.float32)
    assert len(np.unique(scores)) >= 5


@every
def test_outputs_have_the_vectors_that_the_options_declare_one_per_sequence(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    outputs = model.reranker(laid_out)
    assert tuple(outputs.vectors) == tuple(outputs.owners) == RERANKERS.get(name).vectors
    for field, vectors in outputs.vectors.items():
        assert vectors.dtype == tf.float32 and len(vectors) == len(laid_out.fields[field].layout.places)
        np.testing.assert_array_equal(outputs.owners[field], laid_out.fields[field].owner)


@every
def test_padding_tokens_sequences_documents_and_groups_change_nothing(name):
    model = tiny.built(name)
    plain = scores_of(model)
    padded = scores_of(model, size=4, docs=5, static=True)
    assert padded.shape == (4, 5)
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(padded[0, :3], plain[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(padded[1, :2], plain[1, :2], rtol=1e-5, atol=1e-5)


@pointwise
def test_a_score_does_not_depend_on_the_other_documents_and_groups(name):
    model = tiny.built(name)
    groups = tiny.examples(model.extractor)
    together = scores_of(model, groups)
    np.testing.assert_allclose(scores_of(model, groups[1:])[0], together[1, :2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores_of(model, groups[::-1])[1], together[0], rtol=1e-5, atol=1e-5)


@every
def test_a_batch_that_only_pads_has_finite_scores(name):
    model = tiny.built(name)
    scores = model.reranker(tiny.padding(model.extractor)).scores.numpy()
    assert scores.shape == (2, 3)
    assert np.isfinite(scores).all()


@every
def test_traced_with_unknown_shapes_it_computes_the_same(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    loose = tf.nest.map_structure(lambda x: tf.TensorSpec([None] * x.shape.rank, x.dtype), laid_out)
    traced = tf.function(lambda groups: model.reranker(groups).scores, input_signature=[loose])
    np.testing.assert_allclose(traced(laid_out).numpy(), scores_of(model), rtol=1e-5, atol=1e-5)


@every
def test_xla_computes_the_same_scores_and_gradients(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor), size=3, docs=4, static=True)
    variables = [v for v in model.reranker.variables.values() if v.trainable]

    def step(groups):
        with tf.GradientTape() as tape:
            scores = model.reranker(groups).scores
            loss = tf.reduce_sum(tf.where(groups.doc_mask, tf.sin(scores), 0.0))
        return scores, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    scores, gradients = tf.function(step)(laid_out)
    compiled, compiled_gradients = tf.function(step, jit_compile=True)(laid_out)
    np.testing.assert_allclose(compiled, scores, rtol=1e-4, atol=1e-4)
    for gradient, other in zip(gradients, compiled_gradients, strict=True):
        np.testing.assert_allclose(other, gradient, rtol=1e-3, atol=1e-3 * (1 + np.abs(gradient).max()))


@every
def test_the_gradient_reaches_every_trainable_variable(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    trainable = {path: v for path, v in model.reranker.variables.items() if v.trainable}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(model.reranker(laid_out).scores))
    gradients = tape.gradient(loss, trainable)
    still = [path for path, g in gradients.items() if g is None or not np.any(tf.convert_to_tensor(g))]
    assert still == []


@every
def test_paths_are_unique_names_of_their_variables_and_the_encoders_start_with_encoder(name):
    reranker = tiny.built(name).reranker
    assert len({v.ref() for v in reranker.variables.values()}) == len(reranker.variables)
    assert all(variable.name.split(":")[0].endswith(path) for path, variable in reranker.variables.items())
    assert any(path.startswith("encoder/") for path in reranker.variables) == (name in tiny.ON_TEXTS)
    parts = reranker.parameters.values()
    assert len(reranker.variables) == sum(len(part.variables) for part in parts)
    assert len(reranker.tensors()) == sum(len(part.tensors()) for part in parts)


@encoding
def test_dropout_is_a_function_of_its_key(name):
    model = tiny.built(name)
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    one, again, other = (model.reranker(laid_out, Dropout.of(1, step)).scores.numpy() for step in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    assert not np.allclose(one, scores_of(model))


@encoding
def test_bfloat16_computes_nearly_the_same_in_float32_scores(name):
    exact, coarse = scores_of(tiny.built(name)), scores_of(tiny.built(name, dtype="bfloat16"))
    assert coarse.dtype == np.float32
    assert not np.array_equal(exact, coarse)
    np.testing.assert_allclose(coarse, exact, atol=0.1 * np.abs(exact).max() + 0.1)


@every
def test_initial_weights_are_a_function_of_the_seed(name):
    one, again, other = (tiny.built(name, seed=seed, shaken=False).reranker.tensors() for seed in (1, 1, 2))
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert any(not np.array_equal(one[key], other[key]) for key in one)


@every
def test_assigned_tensors_come_back_and_give_the_same_scores(name):
    model, other = tiny.built(name), tiny.built(name, seed=9, shaken=False)
    tensors = model.reranker.tensors()
    other.reranker.assign(tensors)
    assert all(np.array_equal(value, tensors[key]) for key, value in other.reranker.tensors().items())
    np.testing.assert_array_equal(scores_of(other), scores_of(model))


@every
def test_tensors_that_do_not_fit_are_named_and_nothing_is_set(name):
    reranker = tiny.built(name).reranker
    tensors = reranker.tensors()
    first, second, *_ = sorted(tensors)
    wrong = {key: value + 1 for key, value in tensors.items() if key != first}
    wrong[second] = np.zeros((7, 7, 7), np.float32)
    wrong["surplus"] = np.zeros(1, np.float32)
    with pytest.raises(StorageError) as error:
        reranker.assign(wrong)
    assert f"{first} is missing" in str(error.value)
    assert f"{second} has shape [7, 7, 7]" in str(error.value)
    assert "surplus is not a weight" in str(error.value)
    assert all(np.array_equal(value, tensors[key]) for key, value in reranker.tensors().items())
