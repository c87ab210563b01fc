"""Scores of rerankers that compare vectors: each text is encoded once, and scores are those of pairs."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rankcli.evaluation.interpolate import Scores
from rankcli.records import distinct
from rankcli.records.distinct import Division, Part, TextBatch
from rankcli.records.interleave import read_examples
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.training import encode
from rankcli.training.encode import VectorScorer, scorer
from rankcli.training.predict import Predictor
from rankcli.training.strategy import make_strategy


@pytest.fixture
def opened(tiny: Any) -> Any:
    """A model with random weights, its extractor and its dev records of ten documents for each of four queries."""
    config = tiny("biencoder")
    prepared = prepare(config)
    model = config.reranker.build(RerankerContext(prepared.start.extractor))
    return model, prepared.start.extractor, prepared.sets.records("dev")


def of_pairs(opened: Any) -> Scores:
    model, extractor, records = opened
    return Predictor(make_strategy("cpu"), model, extractor, 7).scores(records, "dev")


def same(found: Scores, wanted: Scores) -> None:
    assert found.keys() == wanted.keys() and len(found) == 4
    for qid, scores in wanted.items():
        assert list(found[qid]) and found[qid] == pytest.approx(scores, abs=1e-5)
        ranks = [sorted(each[qid], key=each[qid].__getitem__) for each in (found, wanted)]
        assert ranks[0] == ranks[1]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("texts", [3, 20_000])
def test_each_text_is_encoded_once_and_scores_are_those_of_pairs(
    opened: Any, texts: int, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of three documents, or all in one; with a batch of two pairs to compare, or all."""
    model, extractor, records = opened
    wanted = of_pairs(opened)
    monkeypatch.setattr(distinct, "SORT_TEXTS", texts)
    monkeypatch.setattr(encode, "COMPARED", texts)
    monkeypatch.setattr(encode, "is_static", lambda strategy: static)
    by_vectors = scorer(make_strategy("cpu"), model, extractor, evalbatch=4)
    assert isinstance(by_vectors, VectorScorer)
    seen, compute = list[tuple[str, int]](), by_vectors._compute

    def noted(batch: TextBatch) -> Any:
        seen.extend((batch.field, number) for own in batch.numbers for number in own)
        assert sum(map(len, batch.numbers)) <= 4 and len(batch.layouts[0].places) <= 4
        return compute(batch)

    monkeypatch.setattr(by_vectors, "_compute", noted)
    same(by_vectors.scores(records, "dev"), wanted)
    groups = list(read_examples(records))
    docs = {docid for group in groups for docid in group.docids}
    assert len(docs) < sum(len(group.docids) for group in groups)
    assert Counter(seen) == {**{("query", n): 1 for n in range(4)}, **{("doc", n): 1 for n in range(len(docs))}}


def test_the_bar_counts_every_pair_when_it_can_be_scored(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, extractor, records = opened
    monkeypatch.setattr(distinct, "SORT_TEXTS", 3)
    by_vectors = VectorScorer(make_strategy("cpu"), model, extractor, evalbatch=2)
    counts = list(by_vectors.scored(read_examples(records), {}))
    assert sum(counts) == sum(len(group.docids) for group in read_examples(records)) and len(counts) > 10


def test_a_batch_depends_on_the_texts_and_not_on_their_order(opened: Any) -> None:
    _, extractor, records = opened
    (_, docs) = distinct.Distinct(extractor, "query", "doc").parts(read_examples(records))
    turned = Part("doc", 0, docs.tokens[::-1], docs.pairs[::-1])
    for one, other in zip(*(distinct.text_batches([p], extractor, Division(5)) for p in (docs, turned)), strict=True):
        assert one.layouts[0].ids.tolist() == other.layouts[0].ids.tolist()
        assert [len(docs.tokens) - 1 - n for n in one.numbers[0]] == other.numbers[0]


@pytest.mark.parametrize("static", [False, True])
def test_replicas_take_turns_and_have_equal_shapes(opened: Any, static: bool) -> None:
    _, extractor, records = opened
    (_, docs) = distinct.Distinct(extractor, "query", "doc").parts(read_examples(records))
    taken = []
    for batch in distinct.text_batches([docs], extractor, Division(6, 2, static)):
        one, other = batch.layouts
        assert one.ids.shape == other.ids.shape and one.places.shape == other.places.shape
        assert len(one.places) == 3 or not static
        for layout, numbers in zip(batch.layouts, batch.numbers, strict=True):
            for row, number in zip(layout.places, numbers, strict=False):
                assert layout.ids.reshape(-1)[row[row >= 0]][1:-1].tolist() == docs.tokens[number].tolist()
            assert (layout.places[len(numbers) :] == -1).all()
        taken += [number for pair in itertools.zip_longest(*batch.numbers) for number in pair if number is not None]
    lengths = [len(docs.tokens[number]) for number in taken]
    assert sorted(taken) == list(range(len(docs.tokens))) and lengths == sorted(lengths, reverse=True)


def test_fields_that_share_an_encoder_share_a_graph(opened: Any) -> None:
    model, extractor, records = opened
    by_vectors = VectorScorer(make_strategy("cpu"), model, extractor)
    by_vectors.scores(records, "dev")
    assert by_vectors.steps["query"] is by_vectors.steps["doc"] and by_vectors.steps["doc"].count == 1


def test_a_caller_that_stops_ends_it_and_leaves_no_file(opened: Any, tmp_path: Path) -> None:
    model, extractor, records = opened
    by_vectors = VectorScorer(make_strategy("cpu"), model, extractor, evalbatch=2)
    before, threads = sorted(tmp_path.rglob("*")), threading.active_count()

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_vectors.scores(records, "dev", stop)
    assert sorted(tmp_path.rglob("*")) == before and threading.active_count() == threads
