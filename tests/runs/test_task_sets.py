"""A trainer with several tasks has a training set for each, and one tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.errors import ConfigError
from rankcli.extractors import subwords
from rankcli.runs.prepare import Prepared, prepare

SHORT = "{name: passage, maxseqlen: 20, maxqlen: 6, vocab_size: 60}"
LCE = "sampler: {name: LCE, nneg: 3}"
TASKS = (
    f"{{list: {{{LCE}, batch: 1}}, pairs: {{sampler: triplet, extractor: {SHORT}, loss: pairwise_hinge, batch: 3}}}}"
)


def overrides(tasks: str, itersize: int = 12) -> list[str]:
    """Of the tiny configuration: four iterations of that many samples of all tasks together."""
    trainer = f"{{name: multiple, batch: 0, niters: 4, itersize: {itersize}, strategy: cpu, tasks: {tasks}}}"
    return [f"trainer={trainer}", "sampler.nneg=7"]


def with_tasks(tiny: Any, tasks: str = TASKS, itersize: int = 12) -> Prepared:
    return prepare(tiny("crossencoder", *overrides(tasks, itersize)))


def test_every_task_has_a_training_set_with_its_own_options(tiny: Any) -> None:
    prepared = with_tasks(tiny)
    assert list(prepared.sets) == ["train/list", "train/pairs", "dev", "test"]
    assert list(prepared.sets.of("train")) == ["list", "pairs"]
    assert prepared.sets["train/list"].identity["sampler"] == {"name": "LCE", "version": 1, "nneg": 3, "seed": 42}
    assert prepared.sets["train/pairs"].identity["sampler"] == {"name": "triplet", "version": 1, "seed": 42}
    assert prepared.sets["train/pairs"].identity["extractor"]["maxseqlen"] == 20
    assert [prepared.sets[f"train/{name}"].samples for name in ("list", "pairs")] == [12, 36], "12 steps of 1 and of 3"
    assert prepared.sets.pairs == 12 * 4 + 36 * 2
    assert [prepared.sets[f"train/{name}"].group_size for name in ("list", "pairs")] == [4, 2]


def test_a_task_like_the_run_of_another_trainer_shares_its_cache(tiny: Any) -> None:
    prepared, single = with_tasks(tiny), prepare(tiny("crossencoder"))
    assert prepared.sets.cache_ids["train/list"] == single.sets.cache_ids["train"]
    assert prepared.identity.content["train"] == {key: each.identity for key, each in prepared.sets.of("train").items()}
    same = with_tasks(tiny, f"{{a: {{{LCE}, batch: 2}}, b: {{{LCE}, batch: 1}}}}", 9)
    assert same.sets.cache_ids["train/a"] == same.sets.cache_ids["train/b"]
    assert same.sets.records("train/b").manifest.samples == 12
    assert same.sets.records("train/a").manifest.samples == 24, "extended"
    assert same.sets.records("train/b").manifest.samples == 24, "found"


def test_the_options_of_a_task_are_in_the_run_id(tiny: Any) -> None:
    ids = [
        with_tasks(tiny, tasks).identity.run_id
        for tasks in (TASKS, TASKS.replace("batch: 3", "batch: 2"), f"{{list: {{{LCE}}}}}")
    ]
    assert len(set(ids)) == 3


def test_extractors_are_built_once_and_share_the_tokenizer(tiny: Any, monkeypatch: Any) -> None:
    trained: list[int] = []
    train = subwords.train_wordpiece
    monkeypatch.setattr(subwords, "train_wordpiece", lambda *given: [trained.append(1), train(*given)][1])
    tasks = f"{{a: {{{LCE}}}, b: {{{LCE}, extractor: {SHORT}}}, c: {{extractor: {SHORT}, sampler: triplet}}}}"
    prepared = with_tasks(tiny, tasks)
    a, b, c = (prepared.sets[f"train/{name}"].extractor for name in "abc")
    assert a is prepared.start.extractor is prepared.sets["dev"].extractor and b is c and b is not a
    assert a.tokenizer is b.tokenizer and trained == [1]


@pytest.mark.parametrize(
    ("extractor", "told"),
    [
        (SHORT.replace("60", "50"), "trainer.tasks.a.extractor: the tokens are not those of the run's extractor"),
        (SHORT.replace("20", "30"), "trainer.tasks.a.extractor: pair: sequences of 30 tokens, but 24 in the run's"),
        ("{name: embedtext}", "trainer.tasks.a.extractor.name: 'embedtext' makes query, doc, but reranker"),
    ],
)
def test_an_extractor_that_the_model_cannot_read_is_refused(tiny: Any, extractor: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_tasks(tiny, f"{{a: {{{LCE}, extractor: {extractor}}}}}")
    assert told in str(caught.value)


def test_a_loss_that_needs_more_documents_than_the_tasks_sampler_gives_is_refused(tiny: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        with_tasks(tiny, "{a: {sampler: pair}}")
    assert "trainer.tasks.a.loss: needs at least 2 documents per group, but groups have 1; use" in str(caught.value)


def test_train_means_the_sets_of_all_tasks(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    with_tasks(tiny)
    args = ["convert", "--config", str(tmp_path / "crossencoder.yaml"), *overrides(TASKS), "--json", "--split"]
    capsys.readouterr()
    assert run([*args, "train"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name]["samples"] for name in found if name != "schema_version"} == {
        "train/list": 12,
        "train/pairs": 36,
    }
    assert run([*args, "train/list"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["schema_version", "train/list"]
    assert run([*args, "train/lists"]) == 2
    assert "(there are: train, dev, test, train/list, train/pairs, all)" in capsys.readouterr().err


def test_the_plan_tells_every_task(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    with_tasks(tiny)
    assert run(["train", "--config", str(tmp_path / "crossencoder.yaml"), *overrides(TASKS), "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert "  train/list: 1 groups of 4 documents a step, 12 samples\n" in planned
    assert "  train/pairs: 3 groups of 2 documents a step, 36 samples\n" in planned
    assert "  train/pairs: not cached, will be converted" in planned
