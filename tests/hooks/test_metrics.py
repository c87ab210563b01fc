"""Metrics of batches: by hand, against another statement, over micro-batches and replicas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import HOOKS
from rankcli.errors import ConfigError
from rankcli.hooks.base import HookContext
from rankcli.hooks.metrics import in_groups
from rankcli.log import Progress
from rankcli.shapes import Batch, StepContext
from rankcli.training.gradients import stacked
from rankcli.training.strategy import make_strategy
from rankcli.verbs.train import train
from tests.hooks.test_state import LABELS, X
from tests.losses.cases import Case, batch_of, drawn, keys_of, outputs_of, padded
from tests.training.linear import Linear, batch, hooked, inputs, measures, optimizers


def ratio(name: str, labels: Any, scores: Any, mask: Any = None) -> float:
    labels, scores = np.array(labels, np.float32), tf.constant(scores, tf.float32)
    given = Batch(labels, np.ones(labels.shape, bool) if mask is None else np.array(mask), {}, {})
    total, count = in_groups(name, given, scores)
    return float(total) / float(count)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("RR", (1 / 2 + 1 + 0) / 3),  # only the first relevant document counts, and a group without any counts as 0
        ("P@1", (0 + 1 + 0) / 3),
        ("P@2", (1 / 2 + 1 / 2 + 0) / 3),
        ("Rprec", (1 / 2 + 1 + 0) / 3),  # the mean over groups, not over documents
        ("accuracy", (2 + 2) / (5 + 2)),  # pairs: 2>1, 2>0, 2>0, 1>0, 1>0; 1>0, 1>0
        ("margin", (-1 - 2 + 1 + -1 + 2 + 2 + 3) / 7),
    ],
)
def test_metrics_of_groups_by_hand(name: str, wanted: float) -> None:
    """The last group only pads, as do two places of the third."""
    labels = [[2, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    scores = [[2.0, 3.0, 4.0, 1.0], [1.0, 3.0, 0.0, 9.0], [1.0, 2.0, 9.0, 9.0], [1.0, 2.0, 3.0, 4.0]]
    mask = [[True] * 4, [True, True, True, False], [True, True, False, False], [False] * 4]
    assert ratio(name, labels, scores, mask) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["RR", "P@1", "Rprec", "accuracy", "margin"])
def test_equal_scores_are_no_success(name: str) -> None:
    """Relevant documents come first in groups: a sort that keeps their order would call an untrained model perfect."""
    assert ratio(name, [[1, 0, 0, 0]], [[5.0] * 4]) == pytest.approx({"RR": 0.25}.get(name, 0.0))


def ranked(case: Case, judged: set[tuple[int, int]]) -> dict[str, float]:
    """The metrics of a batch by sorting; of documents with equal keys the first counts."""
    docs, queries, found = keys_of(case.docs), keys_of(case.queries), []
    places = [tuple(place) for place in np.argwhere(case.mask)]
    relevant = {(queries[g], docs[g, k]) for g, k in places if case.labels[g, k] > 0} | judged
    first = {docs[place]: place for place in reversed(places)}
    for g in np.flatnonzero(case.mask.any(1)):
        order = sorted(first, key=lambda key: -float(case.queries[g] @ case.docs[first[key]]))
        marks = np.array([(queries[g], key) in relevant for key in order], float)
        count = int(marks.sum())
        found.append([marks[0], marks[:3].mean(), 1 / (1 + marks.argmax()), marks[:count].mean()])
    return dict(zip(["P@1", "P@3", "RR", "Rprec"], np.mean(found, axis=0), strict=True))


def test_metrics_of_a_batch_rank_every_document_once_for_each_query() -> None:
    """Group 3 has the query of group 0 and one of its documents, and (1, 2) is judged relevant to query 2."""
    case = padded(drawn(5, 4, seed=3))
    case.queries[3], case.docs[3, 1] = case.queries[0], case.docs[0, 0]
    case.docs[1, 2] = 3 * case.queries[2]
    pair = (keys_of(case.queries)[2], keys_of(case.docs)[1, 2])
    step = StepContext(judged=tf.constant([sum(pair)], tf.int64))
    hook = HOOKS.get("batchmetrics")(metrics=("P@1", "P@3", "RR", "Rprec")).build(HookContext({}, {}))
    outputs = outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
    found = hook.measure(batch_of(case), outputs, step)
    wanted = {f"train/batch/{name}": value for name, value in ranked(case, {pair}).items()}
    assert {name: float(total / count) for name, (total, count) in found.items()} == pytest.approx(wanted)
    assert {float(count) for _, count in found.values()} == {5.0}
    assert ranked(case, {pair}) != pytest.approx(ranked(case, set()))


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_micro_batches_measure_what_the_whole_batch_does(accumulate: int) -> None:
    """Four groups of one document each: one pair of groups has none."""
    model = Linear()
    x, labels = [[*X[n], *X[n + 1]] for n in (0, 1, 2, 0)], [[*LABELS[n], *LABELS[n + 1]] for n in (0, 1, 2, 0)]
    options = {"name": "metrics", "metrics": ["accuracy", "margin", "RR"]}
    step = hooked(make_strategy("cpu"), model, optimizers(model), [options], accumulate=accumulate)
    size = 4 // accumulate
    parts = [batch(x[n : n + size], labels[n : n + size]) for n in range(0, 4, size)]
    made = tf.nest.map_structure(tf.convert_to_tensor, stacked(parts, accumulate)[0])
    found = measures(step, step(made, inputs(step, 4, [0.0, 0.0])))
    scores = [[-2.5, 5.5], [5.5, 0.0], [0.0, -3.5], [-2.5, 5.5]]
    leads = [-8.0, -5.5, 3.5, -8.0]  # of pairs in the order of the labels 1 > 0, 2 > 0, 2 > -1
    wanted = {"train/accuracy": 1 / 4, "train/margin": np.mean(leads), "train/RR": (1 / 2 + 1 / 2 + 1 + 1 / 2) / 4}
    assert found == pytest.approx(wanted), scores


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("batchmetrics", "trainer.hooks.0: 'batchmetrics' reads the vectors doc, query, which reranker 'crossencoder'"),
        ("{name: metrics, metrics: [ndcg]}", "there is no metric 'ndcg' (there are: accuracy, margin, RR, Rprec, P@k)"),
        ("{name: batchmetrics, metrics: [P@0]}", "there is no metric 'P@0' (there are: RR, Rprec, P@k)"),
        ("{name: metrics, metrics: []}", "must name at least one"),
        ("{name: metrics, metrics: [RR, RR]}", "none twice"),
    ],
)
def test_what_cannot_be_measured_is_refused(tiny, hook: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny("crossencoder", f"trainer.hooks=[{hook}]")
    assert said in str(refused.value)


def test_a_training_logs_them_by_iteration_by_step_and_in_the_progress_line(tiny, tmp_path: Path, monkeypatch) -> None:
    """The numbers of an iteration are those of its steps."""
    shown, advance = list[dict[str, str]](), Progress.advance
    monkeypatch.setattr(Progress, "advance", lambda bar, n=1, **fields: shown.append(fields) or advance(bar, n))
    hooks = "trainer.hooks=[{name: metrics, progress_bar: true}, {name: batchmetrics, metrics: [RR]}]"
    train(tiny("biencoder", hooks, "trainer.niters=1", "trainer.listeners=[steps]"), out=tmp_path / "run")
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    measured = next(entry["measures"] for entry in entries if "measures" in entry)
    assert list(measured) == ["train/accuracy", "train/margin", "train/RR", "train/batch/RR"]
    steps = [json.loads(line) for line in (tmp_path / "run/steps.jsonl").read_text().splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    for name, value in measured.items():  # groups are alike, so the mean of the steps is that of the iteration
        assert value == pytest.approx(np.mean([step["measures"][name] for step in steps]))
    found = [fields for fields in shown if "lr" in fields]
    assert [fields["train/RR"] for fields in found] == [f"{step['measures']['train/RR']:.3f}" for step in steps]
    assert all({"train/accuracy", "train/margin"} < set(fields) and "train/batch/RR" not in fields for fields in found)
