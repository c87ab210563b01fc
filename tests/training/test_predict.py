"""Scores of several batches that are computed at once are those of one after the other."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rankcli.log import Progress
from rankcli.records.interleave import read_examples
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.training import predict
from rankcli.training.predict import Predictor
from rankcli.training.strategy import make_strategy


def predictor_of(tiny: Any, strategy: str = "cpu") -> tuple[Predictor, Any]:
    config = tiny("crossencoder")
    prepared = prepare(config)
    devices = make_strategy(strategy)
    with devices.scope():
        model = config.reranker.build(RerankerContext(prepared.start.extractor))
    return Predictor(devices, model, prepared.start.extractor, evalbatch=2), prepared.sets.records("dev")


def test_several_at_once_score_the_same_bits(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, records = predictor_of(tiny)
    together, running, most = predictor.scores(records, "dev"), 0, 0
    compute, lock = predictor._compute, threading.Lock()

    def noted(batch: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return compute(batch)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(predictor, "_compute", noted)
    assert predictor.scores(records, "dev") == together and 1 <= most <= 2
    monkeypatch.setattr(predict, "IN_FLIGHT", 1)
    most = 0
    assert predictor.scores(records, "dev") == together and most == 1
    pairs = {(each.qid, docid) for each in read_examples(records) for docid in each.docids}
    assert {(qid, docid) for qid, scores in together.items() for docid in scores} == pairs


def test_a_step_that_fails_and_a_caller_that_stops_end_it(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, records = predictor_of(tiny)
    threads, advanced = threading.active_count(), []

    def stop() -> None:
        advanced.append(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor.scores(records, "dev", stop)
    assert advanced == [1] and threading.active_count() == threads

    def fail(batch: Any) -> Any:
        raise ValueError("it failed")

    monkeypatch.setattr(predictor, "_compute", fail)
    with pytest.raises(ValueError, match="it failed"), Progress(1, "dev", "pairs") as bar:
        predictor.score(read_examples(records), bar)
    assert threading.active_count() == threads
