"""Titles with a head of their own: vectors in NumPy, files, and what does not fit together."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.config.validate import component_from
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.records.vector_sets import keys_of
from rankcli.rerankers._towers import START
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.shapes import SPECIAL, TITLE, Example, Record
from rankcli.training.bases import identity_of

RECORDS = (Record("a", "the cat sat on the mat", 7), Record("b", "cats and dogs"), Record("c", "gradient descent", 8))
HEADS: dict[str, Any] = {"head": {"name": "linear"}, "titlehead": {"name": "mlp", "sizes": [8], "last": "tanh"}}


def made(options: dict[str, Any], titles: bool = True, shaken: bool = True) -> tiny.Tiny:
    encoder = dataclasses.asdict(tiny.TINY)
    reranker = component_from(RERANKERS, {"name": "biencoder", "encoder": encoder, **options})
    extractor_options = EXTRACTORS.get("apart")(**tiny.EXTRACTORS_OF["apart"], titles=titles)
    extractor = extractor_options.build(ExtractorContext(texts=lambda: (*tiny.TEXTS, *tiny.QUERIES)))
    ctx = RerankerContext(extractor=extractor)
    reranker.check(ctx)
    model = reranker.build(ctx)
    if shaken:
        tiny.shake(model)
    return tiny.Tiny(model, extractor, (reranker, extractor_options))


def group(extractor: Any) -> Example:
    (query,) = extractor.encode("query", [Record("q", tiny.QUERIES[0])]).tokens
    docs = tuple(extractor.encode("doc", RECORDS).tokens)
    return Example("q", ("a", "b", "c"), np.ones(3, np.float32), {"query": query}, {"doc": docs})


def batch_of(model: tiny.Tiny, **places: Any) -> Any:
    return tiny.batch(model.extractor, [group(model.extractor)], **places)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_documents_vector_is_its_texts_and_the_weighted_vector_of_its_title(pooling):
    model = made({**HEADS, "pooling": pooling})
    tensors = model.reranker.tensors()

    def affine(x: Any, name: str) -> Any:
        return tensors[f"{name}.0.weight"] @ x + tensors[f"{name}.0.bias"]

    def normalised(vector: Any) -> Any:
        return vector / np.linalg.norm(vector)

    fields = model.extractor.extract(group(model.extractor))
    (asked,) = fields["query"]
    states = numpy_models.bert_states(tensors, asked.ids, asked.segments, 2)
    query = normalised(affine(states[0] if pooling == "cls" else states.mean(0), "head"))
    expected = []
    for sequence in fields["doc"]:
        states, of_title = (
            numpy_models.bert_states(tensors, sequence.ids, sequence.segments, 2),
            sequence.parts == TITLE,
        )
        doc = affine(states[0] if pooling == "cls" else states[~of_title].mean(0), "head")
        if of_title.any():
            doc += tensors["titlehead.weight"] * np.tanh(affine(states[of_title].mean(0), "titlehead"))
        expected.append(20 * query @ normalised(doc))
    assert [int((each.parts == TITLE).sum() > 0) for each in fields["doc"]] == [1, 0, 1]
    for places in ({}, {"size": 2, "docs": 4, "static": True}):
        scores = model.reranker(batch_of(model, **places)).scores.numpy()
        np.testing.assert_allclose(scores[0, :3], expected, rtol=1e-5, atol=1e-5)


def test_its_base_has_the_vectors_of_text_and_title_and_everything_is_computed_from_it():
    model = made({**HEADS, "frozen": True})
    bases, batch = model.reranker.bases, batch_of(model)
    vectors = {field: base.encode(batch.fields[field].layout, None) for field, base in bases.items()}
    assert {field: base.width for field, base in bases.items()} == {"query": 8, "doc": 16} and bases["doc"].frozen
    assert vectors["doc"].shape == (3, 16) and not vectors["doc"][1, 8:].numpy().any()
    whole = model.reranker(batch).scores
    np.testing.assert_array_equal(model.reranker.from_bases(batch, vectors).scores, whole)
    plain = made({"head": {"name": "linear"}, "frozen": True})
    about = [identity_of(each.reranker, each.extractor, "doc", "float32")["encoder"] for each in (model, plain)]
    assert about[0] != about[1]


def test_untrained_it_adds_a_tenth_of_the_titles_vector_and_the_weight_is_trained():
    model = made({"titlehead": {"name": "skip"}, "similarity": "dot"}, shaken=False)
    batch = batch_of(model)
    base = model.reranker.bases["doc"].encode(batch.fields["doc"].layout, None)
    vectors = model.reranker.towers["doc"](batch.fields["doc"].layout)
    np.testing.assert_allclose(vectors, base[:, :8] + START * base[:, 8:], rtol=1e-6, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.reranker(batch).scores ** 2)
    weight = model.reranker.variables["titlehead/weight"]
    np.testing.assert_allclose(weight, [START])
    assert abs(float(tape.gradient(loss, weight)[0])) > 0


def test_saved_and_opened_it_has_the_same_scores_and_no_other_tool_opens_it(tmp_path):
    model = made({**HEADS, "similarity": "dot"})
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / "model")
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    assert sections == sections_of(*model.options) and extractor.streams == model.extractor.streams
    np.testing.assert_array_equal(reranker(batch_of(model)).scores, model.reranker(batch_of(model)).scores)
    (module,) = json.loads((tmp_path / "model" / "modules.json").read_text())
    assert module["type"] == "rankcli.SeveralEncoders"
    untitled = made({})  # a title in the sequence, but no head for it: another tool would leave out what ends it
    save_reranker(untitled.reranker, untitled.extractor, sections_of(*untitled.options), tmp_path / "other")
    assert json.loads((tmp_path / "other" / "modules.json").read_text()) == [module]


@pytest.mark.parametrize(
    ("options", "titles", "said"),
    [
        ({"titlehead": "skip"}, False, "say `extractor.titles: true`"),
        ({"titlehead": {"name": "linear", "size": 4}}, True, "4 numbers of a title, but the vector of .* text has 8"),
        ({"head": {"name": "linear", "size": 4}, "titlehead": "skip"}, True, "8 numbers of a title, .* text has 4"),
    ],
)
def test_what_does_not_fit_together_is_one_error(options, titles, said):
    with pytest.raises(ConfigError) as error:
        made(options, titles)
    assert error.value.where == "reranker.titlehead"
    assert error.match(said) if "say" not in said else said in f"{error.value.fix}"


def test_kept_vectors_know_where_a_title_ends():
    extractor = made({"titlehead": "skip"}).extractor
    records = [Record("", "the cat sat", length) for length in (0, 3, 7, 11)]
    docs = tuple(extractor.encode("doc", records).tokens)
    one = Example("", ("1", "2", "3", "4"), np.zeros(4, np.float32), {"query": docs[0][:0]}, {"doc": docs})
    sequences = extractor.extract(one)["doc"]
    assert len(set(keys_of(sequences).tolist())) == 4
    assert [each.parts.tolist().count(SPECIAL) for each in sequences] == [2, 3, 3, 3]
