"""A mixture of signals: learnt at the end of a training on the queries that may teach, kept, and measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.cli import run
from rankcli.config.registry import SIGNALS
from rankcli.config.schema import MixtureOptions
from rankcli.config.validate import component_from
from rankcli.data.scales import standard
from rankcli.data.source import NoDocuments
from rankcli.data.trec import ranking, read_run
from rankcli.errors import ConfigError, DamageError, DataError
from rankcli.evaluation import listwise
from rankcli.runs import single
from rankcli.runs.mixed import (
    Lesson,
    check_signals,
    features_of,
    identity_of,
    learnt,
    read_mixture,
    top_candidates,
    write_mixture,
)
from rankcli.runs.prepare import checked, prepare
from tests.checked import forge
from tests.verbs.test_encode import made

__all__ = ["made"]

SIGNALS_OF_SCORES = "mixture.signals=[first_stage, reranker]"
SIGNALS_OF_TEXTS = "mixture.signals=[first_stage, {name: search, run: {name: bm25, tune: true}}, overlap, length]"


def lesson(config: Any, *signals: Any, l2: Any = 0.1) -> Lesson:
    made = prepare(config)
    options = MixtureOptions(signals=tuple(component_from(SIGNALS, each) for each in signals), l2=l2)
    taught = top_candidates(made.dataset.queries, made.candidates.part(made.dataset.split["train"]), 10)
    return Lesson(options, made.dataset, taught, "ndcg_cut_10", 10, None)


def test_a_mixture_of_one_signal_ranks_as_that_signal(tiny: Any) -> None:
    given = lesson(tiny("TFKNRM"), "first_stage")
    mixture, mixed = learnt(given, given.candidates)
    assert mixture.weights[0] > 0
    for qid, each in given.candidates.items():
        assert ranking(mixed[qid]) == each.docids
    only = lesson(tiny("TFKNRM"), "overlap", l2=0.001)
    mixture, mixed = learnt(only, only.candidates)
    with features_of(only.options.signals, only.dataset.docs) as features:
        values = dict(zip(only.candidates, features(list(only.candidates.values())), strict=True))
    for qid, each in only.candidates.items():
        own = dict(zip(each.docids, values[qid][:, 0].tolist(), strict=True))
        assert ranking(mixed[qid]) == ranking(own) and mixture.weights[0] > 0


def test_scores_are_the_sum_of_weights_and_standardised_signals(tiny: Any) -> None:
    given = lesson(tiny("TFKNRM"), "first_stage", "length")
    mixture, mixed = learnt(given, given.candidates)
    qid, each = next(iter(given.candidates.items()))
    first = (each.first - each.first.mean()) / each.first.std()
    assert list(mixed[qid].values()) == pytest.approx(mixture.weights[0] * first), "all documents have ten words"
    features = [np.stack([standard(c.first), np.zeros(len(c.docids))], 1) for c in given.candidates.values()]
    grades = [[given.dataset.qrels[q].get(d, 0) for d in c.docids] for q, c in given.candidates.items()]
    lists = listwise.Lists.of(features, [np.array(each, float) for each in grades])
    assert mixture.weights == pytest.approx(listwise.fitted(lists, 0.1, np.array([1.0, 0.0])))


def test_a_signal_that_does_not_pay_is_left_out(tiny: Any, tmp_path: Path) -> None:
    given = lesson(
        tiny("TFKNRM", "data.folds={k: 6, fold: 0}"), {"name": "length", "prior": 1}, "first_stage", "overlap"
    )
    careful = dataclasses.replace(given, options=dataclasses.replace(given.options, careful=True))
    mixture, mixed = learnt(careful, given.candidates)
    stages = mixture.learnt["stages"]
    assert [each["name"] for each in stages] == ["length", "+ first_stage", "+ overlap"]
    assert [each["kept"] for each in stages] == [True, True, False], "all lengths are equal; then all is found"
    assert list(map(str, mixture.signals)) == ["length", "first_stage"] and len(mixture.weights) == 2
    assert stages[1]["value"] == pytest.approx(stages[0]["value"] + stages[1]["gain"])
    assert stages[1]["gain"] > stages[1]["error"] and stages[2]["gain"] <= stages[2]["error"]
    assert identity_of(careful.options) == mixture.told["identity"] != identity_of(given.options)
    alone = lesson(tiny("TFKNRM", "data.folds={k: 6, fold: 0}"), {"name": "length", "prior": 1}, "first_stage")
    assert learnt(alone, alone.candidates)[0].weights == mixture.weights, "as if the others had not been there"
    write_mixture(tmp_path, mixture)
    assert read_mixture(tmp_path) == mixture


def test_what_is_written_is_read_back_and_damage_is_seen(tiny: Any, tmp_path: Path) -> None:
    given = lesson(tiny("TFKNRM"), "first_stage", {"name": "search", "run": {"name": "bm25", "k1": 2.0}, "prior": 1})
    mixture, _ = learnt(given, given.candidates)
    write_mixture(tmp_path, mixture)
    assert read_mixture(tmp_path) == mixture
    content = json.loads((tmp_path / "mixture.json").read_text())
    assert content["scaling"] == "zscore" and content["signals"][1]["run"]["k1"] == 2
    forge(tmp_path / "mixture.json", lambda content: content.update(weights=[1.0]))
    with pytest.raises(DamageError, match="not the mixture"):
        read_mixture(tmp_path)


def test_queries_without_relevant_candidates_teach_nothing(tiny: Any) -> None:
    given = lesson(tiny("TFKNRM"), "first_stage")
    nothing = dataclasses.replace(given.dataset, qrels={qid: {"gone": 1} for qid in given.dataset.qrels})
    with pytest.raises(DataError, match="no mixture can be learnt"):
        learnt(dataclasses.replace(given, dataset=nothing), given.candidates)


def test_the_score_of_a_trained_reranker_is_learnt_on_dev_alone(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lessons: list[Lesson] = []
    monkeypatch.setattr(single, "learnt", lambda given, test: lessons.append(given) or learnt(given, test))
    tiny("TFKNRM")
    train = ["train", str(tmp_path / "TFKNRM.yaml"), "trainer.niters=1", "-o", str(tmp_path / "out")]
    assert run([*train, SIGNALS_OF_SCORES]) == 0
    split = lessons[0].dataset.split
    assert sorted(lessons[0].candidates) == sorted(split["dev"])
    assert all(each.reranked is not None for each in lessons[0].candidates.values())
    assert run([*train, SIGNALS_OF_SCORES]) == 0 and len(lessons) == 1, "finished"
    assert run([*train, SIGNALS_OF_TEXTS]) == 0, "another mixture of the same training"
    assert sorted(lessons[1].candidates) == sorted([*split["dev"], *split["train"]])
    assert run(train) == 0
    assert "mixture" not in json.loads((tmp_path / "out" / "result.json").read_text())


def test_result_report_and_evaluate_have_the_mixed_run(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("TFKNRM")
    folds = ["trainer.niters=1", "data.folds={k: 3, fold: all}"]
    assert run(["train", str(tmp_path / "TFKNRM.yaml"), *folds, SIGNALS_OF_TEXTS, "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "by cross-validation over its queries" not in told
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    value = result["splits"]["test"]["mixed"]["ndcg_cut_10"]
    assert f"{value:.4f}" in told and "mixture: first_stage " in told and max(map(len, told.split("\n")[1:5])) <= 80
    assert result["mixture"][0]["said"] in (tmp_path / "out" / "report.html").read_text().replace("&#x27;", "'")
    assert set(result["mixture"][0]["weights"]) >= {"first_stage", "overlap", "length"}
    assert run(["evaluate", "--model", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mixed"]["ndcg_cut_10"] == value
    qrels, mixed = tmp_path / "qrels.txt", tmp_path / "out" / "test.mixed.run"
    assert run(["evaluate", "--qrels", str(qrels), "--run", str(mixed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["ndcg_cut_10"]["mean"] == value
    assert sorted(read_run(mixed)) == [f"q{n}" for n in sorted(range(12), key=str)]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("mixture.signals=[first_stage, cosinus]", "unknown signal 'cosinus'; did you mean 'cosine'"),
        ("mixture.signals=[]", "give `signals`"),
        ("mixture.signals=[length, length]", "twice with the same options"),
        ("mixture={l2: -1, signals: [length]}", "l2"),
    ],
)
def test_wrong_signals_are_one_error_before_anything_is_read(tiny: Any, option: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny("TFKNRM", option)


def test_where_signals_cannot_be_computed_they_are_refused(tiny: Any) -> None:
    with pytest.raises(ConfigError, match="not on several hosts"):
        tiny("TFKNRM", "mixture.signals=[length]", "trainer.strategy=multiworker")
    given = lesson(tiny("TFKNRM"), "first_stage", "length")
    without = dataclasses.replace(given.dataset, docs=NoDocuments("features"))
    with pytest.raises(ConfigError, match="length reads texts, and this source has none") as caught:
        check_signals(given.options, without)
    assert caught.value.where == "mixture.signals.1"


def test_models_without_vectors_are_refused_before_training(tiny: Any, made: Path) -> None:
    pairs = f"pretrained: {made / 'pairs'}"
    for signal in (f"{{name: cosine, {pairs}}}", f"{{name: search, run: {{name: dense, {pairs}}}}}"):
        with pytest.raises(ConfigError, match="use a bi-encoder"):
            checked(tiny("TFKNRM", f"mixture.signals=[{signal}]"))
    checked(tiny("TFKNRM", f"mixture.signals=[{{name: cosine, pretrained: {made / 'run'}}}]"))
