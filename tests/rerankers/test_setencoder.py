"""The Set-Encoder: golden attention, exact tokens, the formula in NumPy, what the list may and may not change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.data.trec import read_run
from rankcli.encoders.attention import Attention
from rankcli.encoders.build import Pretrained
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.setpassage import SetPassage
from rankcli.records.layout import flat, packed
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.setencoder import SetEncoder, sharing
from rankcli.shapes import Field, TokenSequence
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.encoders.golden_families import written

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/crossencoders.json").read_text())["set_encoder_attention"]
BOTH = pytest.mark.parametrize("static", [False, True], ids=["flat", "packed"])


def built(**options):
    """A model of two layers; in one, what a document takes from another comes from its embeddings alone."""
    return tiny.built("setencoder", encoder=tiny.DEEPER, **options)


def scores_of(model, groups, **layout):
    return model.reranker(tiny.batch(model.extractor, groups, **layout)).scores.numpy()


@BOTH
def test_golden_attention_beside_another_group(static):
    """The group of three documents comes after one of a single document, in one batch."""
    given = {name: np.array(value, np.float32) for name, value in GOLDEN["inputs"].items()}
    states, lengths = given["states"], given["mask"].sum(1).astype(int)
    rows = [states[0, : lengths[0]], *(one[:count] for one, count in zip(states, lengths, strict=True))]
    made = [TokenSequence(*np.zeros((3, len(row)), np.int32), n) for n, row in enumerate(rows)]
    (layout,) = packed([made], 6, 12, 0) if static else flat([made], 6, 0)
    layout = tf.nest.map_structure(tf.constant, layout)
    mask = tf.constant([[True, False, False, False], [True, True, True, False]])
    layout = sharing(Field(layout, tf.constant([0, 4, 5, 6, -1, -1])), 1, mask)
    parts = np.full((int(tf.size(layout.ids)), 12), 9.0, np.float32)  # padding has numbers, too
    for row, places in zip(rows, layout.places.numpy(), strict=False):
        parts[places[places >= 0]] = row @ np.concatenate([given["Wq"], given["Wk"], given["Wv"]], axis=1)
    found = Attention(layout, 1)(tf.constant(parts)).numpy()
    expected = GOLDEN["expected"]
    for n, row in enumerate([expected["context_of_doc_0_alone"][0], *expected["context"]]):
        places = layout.places.numpy()[n]
        places = places[places >= 0]
        np.testing.assert_allclose(found[places], np.array(row)[: len(places)], rtol=1e-5, atol=1e-6)


def test_a_sequence_has_the_marker_after_cls():
    _, extractor = tiny.extractor_of("setencoder")
    query, docs = tiny.QUERIES[0], tiny.TEXTS[:3]
    marker = extractor.tokenizer.id_of("[unused0]")
    ids, words = extractor.tokenizer.encode([query, docs[1]])
    cls, sep = (extractor.tokenizer.pair_template.pieces[n][0][0] for n in (0, 1))
    made = extractor.extract(tiny.example(extractor, query, docs))["pair"][1]
    assert made.ids.tolist() == [cls, marker, *ids, sep, *words, sep][: len(made.ids) - 1] + [sep]
    assert made.ids[extractor.shared] == marker and extractor.shared == 1
    assert made.parts[:3].tolist() == [0, 0, 1] and made.segments[:3].tolist() == [0, 0, 0]
    assert extractor.fields["pair"].leading == 2 + 4 and len(made.ids) <= 24


@BOTH
def test_scores_are_those_of_the_formula(static):
    model = built()
    groups = tiny.examples(model.extractor)
    scores = scores_of(model, groups, size=3, docs=4, static=static)
    tensors = {name.removeprefix("bert."): value for name, value in model.reranker.tensors().items()}
    for b, group in enumerate(groups):
        sequences = model.extractor.extract(group)["pair"]
        states = [numpy_models.embedded(tensors, each.ids, each.segments) for each in sequences]
        for n in range(numpy_models.depth(tensors)):
            shared = np.stack([each[1] for each in states])
            read = [np.vstack([own, np.delete(shared, i, axis=0)]) for i, own in enumerate(states)]
            states = [numpy_models.layer(tensors, n, *pair, 2) for pair in zip(states, read, strict=True)]
        expected = [numpy_models.classified(tensors, each[0]) for each in states]
        np.testing.assert_allclose(scores[b, : len(expected)], expected, rtol=1e-5, atol=1e-5)


@BOTH
def test_the_order_of_the_list_changes_no_score_but_its_documents_do(static):
    model = built()
    docs = tiny.TEXTS[:4]
    there, back, fewer = (tiny.example(model.extractor, "cat mat", d) for d in (docs, docs[::-1], docs[:2]))
    one, other = (scores_of(model, [group], static=static)[0] for group in (there, back))
    np.testing.assert_allclose(other[::-1], one, rtol=1e-5, atol=1e-6)
    assert np.abs(scores_of(model, [fewer], static=static)[0] - one[:2]).min() > 1e-4


def test_groups_beside_and_padding_change_no_score():
    model = built()
    first, second = tiny.examples(model.extractor)
    alone = scores_of(model, [second])[0]
    for layout in ({}, {"size": 4, "docs": 5}, {"size": 4, "docs": 5, "static": True}):
        together = scores_of(model, [first, second], **layout)
        np.testing.assert_allclose(together[1, : len(alone)], alone, rtol=1e-5, atol=1e-6)


@BOTH
def test_a_document_alone_is_scored_as_by_a_cross_encoder(static):
    model = built()
    group = tiny.example(model.extractor, "cat mat", tiny.TEXTS[:1])
    batch = tiny.batch(model.extractor, [group], static=static)
    plain = model.reranker.logits(batch.fields["pair"].layout, None).numpy()
    np.testing.assert_allclose(model.reranker(batch).scores.numpy()[0], plain[:1], rtol=1e-5, atol=1e-6)


def test_encoders_and_extractors_that_do_not_fit_are_refused(tmp_path):
    _, extractor = tiny.extractor_of("setencoder")
    given = Pretrained(written("mpnet", tmp_path / "mpnet"))
    with pytest.raises(ConfigError, match="mpnet encoders attend by distance"):
        SetEncoder().check(RerankerContext(extractor, models={"pretrained": given}))
    given = Pretrained(written("roberta", tmp_path / "roberta"))
    SetEncoder().check(RerankerContext(extractor, models={"pretrained": given}))
    with pytest.raises(ConfigError, match="no \\[INT\\]\n.*setpassage"):
        SetEncoder().check(RerankerContext(tiny.extractor_of("crossencoder")[1]))
    with pytest.raises(ConfigError, match="no token of the document fits"):
        SetPassage(maxseqlen=8, maxqlen=4, vocab_size=60).build(ExtractorContext(texts=lambda: tiny.TEXTS))


def test_it_trains_and_a_rerank_gives_the_same_run(tmp_path, request):
    train(request.getfixturevalue("tiny")("setencoder", "trainer.niters=1"), out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
