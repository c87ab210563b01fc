"""duoBERT: exact pairs, golden values of every aggregation, the formula in NumPy, and a whole training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.data.trec import read_run
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.duo import Duo
from rankcli.rerankers.duobert import compared
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/crossencoders.json").read_text())["duo"]
HOWS = ("sum", "binary", "min", "max", "sym_sum")


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("how", HOWS)
def test_golden_values(how, jit):
    """A group of four documents as the second of a batch, before a group of one and padding."""
    table = np.array(GOLDEN["inputs"]["logits"], np.float32)
    logits = [0.0, *(table[i, j] for i in range(4) for j in range(4) if i != j), 9.0, -9.0]
    owner = [0, *(4 + i for i in range(4) for _ in range(3)), -1, -1]
    mask = tf.constant([[True, False, False, False], [True] * 4])
    step = tf.function(compared, jit_compile=jit)
    scores = step(tf.constant(logits), tf.constant(owner), mask, how).numpy()
    np.testing.assert_allclose(scores[1], GOLDEN["expected"][how], rtol=1e-6)
    assert np.isfinite(scores).all()


def test_every_document_is_paired_with_every_other_in_order():
    _, extractor = tiny.extractor_of("duobert")
    group = tiny.example(extractor, tiny.QUERIES[0], tiny.TEXTS[:3])
    query, docs = group.queries["query"].tolist(), [ids.tolist() for ids in group.docs["doc"]]
    made = extractor.extract(group)["pair"]
    assert [s.doc for s in made] == [0, 0, 1, 1, 2, 2]
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    cls, sep = (extractor.tokenizer.pair_template.pieces[n][0][0] for n in (0, 1))
    for sequence, (i, j) in zip(made, pairs, strict=True):
        assert sequence.ids.tolist() == [cls, *query, sep, *docs[i], sep, *docs[j], sep]
        first, second = len(query) + 2, len(docs[i]) + len(docs[j]) + 2
        assert sequence.segments.tolist() == [0] * first + [1] * second
        assert len(sequence.ids) <= extractor.fields["pair"].max_length
    (alone,) = extractor.extract(tiny.example(extractor, "cat", ("dogs",)))["pair"]
    assert alone.doc == 0


def test_texts_share_what_the_query_leaves_and_long_lists_are_refused():
    extractor = Duo(maxseqlen=16, maxqlen=4, numdocs=2, vocab_size=60).build(ExtractorContext(texts=lambda: tiny.TEXTS))
    assert [extractor.budget("doc", {"query": n}) for n in (1, 2, 9)] == [5, 5, 4]
    with pytest.raises(ConfigError, match="has 3 documents, but pairs are made of 2 at most\n.*--depth"):
        extractor.extract(tiny.example(extractor, "cat", tiny.TEXTS[:3]))
    with pytest.raises(ConfigError, match="no token of the documents fits"):
        Duo(maxseqlen=9, maxqlen=4, vocab_size=60).build(ExtractorContext(texts=lambda: tiny.TEXTS))


@pytest.mark.parametrize("how", HOWS)
def test_scores_are_sums_over_the_list(how):
    model = tiny.built("duobert", aggregation=how)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups, size=3, docs=4, static=True)).scores.numpy()
    trained = model.reranker(tiny.batch(model.extractor, groups), Dropout.of(1, 1)).scores.numpy()
    assert not np.allclose(trained, scores[:2, :3])  # logits, with dropout
    tensors, joined = model.reranker.tensors(), {"min": np.min, "max": np.max}.get(how, np.sum)
    for b, group in enumerate(groups):
        made, count = iter(model.extractor.extract(group)["pair"]), len(group.docids)
        p = np.full((count, count), np.nan)
        for i in range(count):
            for j in (j for j in range(count) if j != i):
                sequence = next(made)
                logit = numpy_models.bert_logit(tensors, sequence.ids, sequence.segments, 2)
                p[i, j] = 1 / (1 + np.exp(-logit)) if how != "binary" else logit > 0
        for i in range(count):
            rows, columns = np.delete(p[i], i), np.delete(p[:, i], i)
            expected = joined(rows) + (np.sum(1 - columns) if how == "sym_sum" else 0)
            np.testing.assert_allclose(scores[b, i], expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_the_list_changes_no_score():
    model = tiny.built("duobert")
    there = tiny.example(model.extractor, "cat mat", tiny.TEXTS[:3])
    back = tiny.example(model.extractor, "cat mat", tiny.TEXTS[2::-1])
    one, other = (model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()[0] for group in (there, back))
    np.testing.assert_allclose(one, other[::-1], rtol=1e-5)


def test_it_trains_on_pairs_and_reranks_the_top_of_another_run(tmp_path, request):
    config = request.getfixturevalue("tiny")
    options = [
        "sampler=pair",
        "trainer.loss=bce",
        "trainer.threshold=4",
        "trainer.testthreshold=4",
        "trainer.niters=1",
        "extractor.numdocs=4",
    ]
    train(config("duobert", *options), out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=4)
    assert read_run(tmp_path / "again.run") == read_run(tmp_path / "run/test.run")
    with pytest.raises(ConfigError, match="pairs are made of 4 at most"):
        rerank(model=str(tmp_path / "run"), output=tmp_path / "deep.run", depth=20)
