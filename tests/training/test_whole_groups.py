"""Rerankers that look at the documents of a query together are given whole groups, in training and prediction alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS
from rankcli.data.trec import ranking, read_run
from rankcli.records.interleave import read_examples
from rankcli.records.reader import Shape, collate
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.knrm import KNRM, KNRMModel
from rankcli.runs import stream
from rankcli.runs.prepare import prepare
from rankcli.shapes import Batch, Outputs
from rankcli.training.predict import Predictor
from rankcli.training.strategy import make_strategy
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train
from tests.training.test_train_again import QUICK


class ListModel(KNRMModel):
    """Scores less the logarithm of their exponentials' sum over the group: of a document alone it is 0."""

    def __call__(self, batch: Batch, dropout: Any = None) -> Outputs:
        scores = super().__call__(batch, dropout).scores
        masked = tf.where(batch.doc_mask, scores, -1e9)
        return Outputs(scores - tf.reduce_logsumexp(masked, axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class ListKNRM(KNRM):
    """KNRM, normalised over the group."""

    listwise: ClassVar[bool] = True

    def build(self, ctx: RerankerContext) -> ListModel:
        return ListModel(self, ctx)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    RERANKERS.names()
    monkeypatch.setitem(RERANKERS._options, "listknrm", ListKNRM)


@pytest.mark.parametrize("evalbatch", [1, 50])
def test_a_group_scores_as_it_does_in_training(tiny: Any, evalbatch: int) -> None:
    """A group each, and several at once, which are of differing sizes."""
    config = tiny("TFKNRM", "reranker=listknrm", "trainer.threshold=24")
    prepared = prepare(config)
    records = prepared.sets.records("dev")
    model = config.reranker.build(RerankerContext(prepared.start.extractor))
    predictor = Predictor(make_strategy("cpu"), model, prepared.start.extractor, evalbatch, whole_groups=True)
    found = predictor.scores(records, "")
    groups = list(read_examples(records))
    assert len({len(group.docids) for group in groups}) > 1 and found.keys() == {group.qid for group in groups}
    for group in groups:
        (made,) = collate([[group]], prepared.start.extractor, Shape(1, len(group.docids), False))
        alone = model(tf.nest.map_structure(tf.constant, made)).scores.numpy()[0]
        assert tuple(found[group.qid]) == group.docids
        np.testing.assert_allclose(list(found[group.qid].values()), alone, rtol=1e-5)
        assert np.exp(alone).sum() == pytest.approx(1, rel=1e-5)


def test_training_testing_and_reranking_keep_groups_whole(tiny: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Blocks are as small as they can be; the first `depth` documents of a query are its group."""
    monkeypatch.setattr(stream, "BLOCK", 1)
    train(tiny("TFKNRM", "reranker=listknrm", *QUICK), out=tmp_path / "run")
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    tested, again = read_run(tmp_path / "run/test.run"), read_run(tmp_path / "again.run")
    assert tested.keys() == again.keys() and len(tested) == 4
    for qid, scores in tested.items():
        assert np.exp(list(scores.values())).sum() == pytest.approx(1, rel=1e-4)
        assert again[qid] == pytest.approx(scores, rel=1e-5)
    rerank(model=str(tmp_path / "run"), output=tmp_path / "top.run", depth=2)
    for scores in read_run(tmp_path / "top.run").values():
        assert np.exp([scores[docid] for docid in ranking(scores)[:2]]).sum() == pytest.approx(1, rel=1e-4)
