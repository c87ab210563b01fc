"""Late interaction: golden values, the formula in NumPy, and directories of the authors' form."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.errors import ConfigError, MissingError
from rankcli.extractors.base import ExtractorContext, sequence_spec
from rankcli.extractors.colbert import ColBERTTexts
from rankcli.records.reader import lay_out
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.colbert import ColBERT, max_sim
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.shapes import UNSEEN, Record
from rankcli.text.weights import read_tensors, write_tensors
from rankcli.training.encode import VectorScorer, scorer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rerankers.json").read_text())
SIGNED = ("the cat, the mat!", "a cat")


@pytest.mark.parametrize("similarity", ["cosine", "l2"])
def test_golden_values(similarity):
    given, expected = (GOLDEN["colbert"][part] for part in ("inputs", "expected"))
    vectors = [tf.math.l2_normalize(tf.constant([given[name]]), axis=-1) for name in ("query", "doc")]
    asks, real, kept = (tf.constant([given[name]]) > 0 for name in ("query_mask", "doc_mask", "doc_keep"))
    score = max_sim(*vectors, asks, tf.logical_and(real, kept), similarity)
    assert float(score[0]) == pytest.approx(expected["score" if similarity == "cosine" else "score_l2"], abs=1e-6)


def restated(model, group, attend, similarity):
    """The scores of a group, document by document."""
    tensors = model.reranker.tensors()
    encoder = {name.removeprefix("bert."): value for name, value in tensors.items()}
    made = model.extractor.extract(group)
    signs = {int(model.extractor.encode("doc", [Record("", s)]).tokens[0][0]) for s in string.punctuation}
    assert len(signs) == 32

    def vectors(one):
        seen = np.array([attend or part != UNSEEN for part in one.parts])
        found = numpy_models.bert_states(encoder, one.ids, one.segments, 2, seen) @ tensors["linear.weight"].T
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    (query,), scores = made["query"], []
    for doc in made["doc"]:
        kept = vectors(doc)[[token not in signs for token in doc.ids]]
        near = vectors(query)[:, None] - kept
        squares = (near**2).sum(-1).min(1)
        scores.append(-squares.sum() if similarity == "l2" else (1 - squares / 2).sum())
    return scores


def with_signs(**options):
    """A model whose vocabulary has punctuation."""
    chosen = ColBERTTexts(maxqlen=8, maxdoclen=16, vocab_size=400, **options)
    extractor = chosen.build(ExtractorContext(texts=lambda: (*tiny.TEXTS, *SIGNED * 3, string.punctuation)))
    reranker = ColBERT(**ColBERT.tiny).build(RerankerContext(extractor=extractor))
    tiny.shake(reranker)
    return tiny.Tiny(reranker, extractor, (ColBERT(**ColBERT.tiny), chosen))


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize(("attend", "similarity"), [(False, "cosine"), (True, "cosine"), (False, "l2")])
def test_scores_are_the_formula_token_by_token(attend, similarity, static):
    model = with_signs(attendmask=attend)
    if similarity == "l2":
        model = with_l2(model)
    groups = [tiny.example(model.extractor, query, (*SIGNED, "!")) for query in tiny.QUERIES]
    scores = model.reranker(tiny.batch(model.extractor, groups, static=static)).scores.numpy()
    for row, group in zip(scores, groups, strict=True):
        np.testing.assert_allclose(row, restated(model, group, attend, similarity), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 24])
@pytest.mark.parametrize("similarity", ["cosine", "l2"])
def test_texts_that_are_encoded_once_have_the_same_scores(similarity, rows):
    """Each text alone, in a layout that may be wider than any text, and compared as vectors that were kept."""
    model = with_signs() if similarity == "cosine" else with_l2(with_signs())
    group = tiny.example(model.extractor, tiny.QUERIES[0], (*SIGNED, "!"))
    batch = tiny.batch(model.extractor, [group])
    scores = model.reranker(batch).scores.numpy()[0]
    towers = model.reranker.towers
    made = model.extractor.extract(group)
    alone = {field: [towers[field](one_text(model, field, each, rows)) for each in made[field]] for field in towers}
    docs = tf.concat(alone["doc"], 0)
    queries = tf.repeat(alone["query"][0], len(made["doc"]), axis=0)
    assert docs.shape == (3, 16 * 7) and queries.shape == (3, 8 * 7)
    np.testing.assert_allclose(model.reranker.compare(queries, docs), scores, rtol=1e-5, atol=1e-5)


def test_scoring_encodes_each_text_once():
    model = with_signs()
    assert isinstance(scorer(tf.distribute.OneDeviceStrategy("/cpu:0"), model.reranker, model.extractor), VectorScorer)


def one_text(model, field, sequence, least):
    """The layout of one text, with at least so many places."""
    (layout,) = lay_out([[sequence]], 1, sequence_spec(model.extractor, field), static=False)
    wider = max(0, least - layout.places.shape[1])
    return layout._replace(places=np.pad(layout.places, [(0, 0), (0, wider)], constant_values=-1))


def with_l2(model):
    options = ColBERT(**ColBERT.tiny, similarity="l2")
    reranker = options.build(RerankerContext(extractor=model.extractor))
    reranker.assign(model.reranker.tensors())
    return model._replace(reranker=reranker, options=(options, model.options[1]))


def test_masks_that_nothing_attends_to_change_the_score_but_no_other_state():
    model, longer = with_signs(), with_signs(attendmask=True)
    group = tiny.example(model.extractor, "cat mat", SIGNED)
    own, other = (each.extractor.extract(group)["query"][0] for each in (model, longer))
    assert own.ids.tolist() == other.ids.tolist() and len(own.ids) == 8
    assert (own.parts == UNSEEN).sum() == (own.ids == model.extractor.tokenizer.id_of("[MASK]")).sum() >= 3
    real = (own.parts != UNSEEN).nonzero()[0]
    batches = [tiny.batch(each.extractor, [group]).fields["query"].layout for each in (model, longer)]
    seen, all_seen = (model.reranker.vectors(layout).numpy()[0] for layout in batches)
    short = own.ids[real], own.segments[real], 2
    encoder = {name.removeprefix("bert."): value for name, value in model.reranker.tensors().items()}
    alone = numpy_models.bert_states(encoder, *short) @ encoder["linear.weight"].T
    np.testing.assert_allclose(seen[real], alone / np.linalg.norm(alone, axis=1, keepdims=True), atol=1e-5)
    assert np.abs(all_seen[real] - seen[real]).max() > 1e-3


def test_punctuation_matches_only_if_it_may():
    never, may = with_signs(), with_signs(punctuation=True)
    may.reranker.assign(never.reranker.tensors())
    groups = [tiny.example(never.extractor, "! , ;", ("the cat, the mat! ; ? .", "a cat"))]
    without, among = (each.reranker(tiny.batch(each.extractor, groups)).scores.numpy()[0] for each in (never, may))
    assert among[0] > without[0] and among[1] == without[1]  # only the first document has signs


def test_a_sign_outside_the_vocabulary_does_not_stop_other_unknown_words():
    extractor = tiny.extractor_of("colbert")[1]
    unknown = extractor.tokenizer.id_of("[UNK]")
    assert extractor.encode("doc", [Record("", "!")]).tokens[0].tolist() == [unknown]
    assert extractor.tables["matches"][unknown] == 1


def test_parameters_over_the_encoder_are_one_linear_map():
    model = tiny.built("colbert", dim=5)
    own = {path: v.shape for path, v in model.reranker.variables.items() if not path.startswith("encoder/")}
    assert own == {"linear/kernel": (tiny.TINY.hidden, 5)}  # 768 and 128 in the paper: 98,304


def as_published(model, directory, **metadata):
    """The directory without what only rankcli knows, as the authors' code saves it."""
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), directory)
    (directory / "rankcli.json").unlink()
    if metadata:
        file = directory / "artifact.metadata"
        file.write_text(json.dumps({**json.loads(file.read_text()), **metadata}))


@pytest.mark.parametrize("options", [{}, {"attendmask": True, "punctuation": True, "querymarker": "[unused7]"}])
def test_what_is_saved_opens_as_a_directory_of_the_authors_and_scores_alike(tmp_path, options):
    model = with_signs(**options)
    as_published(model, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["HF_ColBERT"] and config["model_type"] == "bert"
    stored = read_tensors(tmp_path / "model")
    assert {name.partition(".")[0] for name in stored} == {"bert", "linear"}
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    assert (sections["reranker"]["dim"], sections["extractor"]["maxdoclen"]) == (6, 16)
    groups = [tiny.example(model.extractor, "cat mat", SIGNED)]
    scores = (each(tiny.batch(texts, groups)).scores.numpy() for each, texts in
              ((reranker, extractor), (model.reranker, model.extractor)))  # fmt: skip
    np.testing.assert_array_equal(*scores)


def test_settings_that_are_not_computed_and_missing_weights_are_one_error(tmp_path):
    as_published(with_signs(), tmp_path / "model", similarity="dot")
    with pytest.raises(MissingError, match="similarity 'dot'; supported: cosine, l2"):
        load_reranker(tmp_path / "model")
    as_published(with_signs(), tmp_path / "other")
    stored = read_tensors(tmp_path / "other")
    write_tensors(tmp_path / "other", {name: value for name, value in stored.items() if name != "linear.weight"})
    with pytest.raises(MissingError, match=r"no linear\.weight among the weights"):
        load_reranker(tmp_path / "other")


def test_wrong_options_are_one_error():
    with pytest.raises(ValueError, match="maxqlen must be at least 4"):
        ColBERTTexts(maxqlen=3)
    model = tiny.built("colbert")
    with pytest.raises(ConfigError, match=r"the tokenizer has no token \[other\]\n  -> .*|extractor.querymarker"):
        type(model.extractor)(ColBERTTexts(querymarker="[other]"), model.extractor.tokenizer)
    apart = tiny.built("biencoder").extractor
    with pytest.raises(ConfigError, match="have no markers"):
        ColBERT().check(RerankerContext(extractor=apart))
