"""The promises of every registered component; rerankers, extractors and losses have more suites."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest

from rankcli.config.registry import KINDS, SAMPLERS, SCHEDULES, SEARCHERS
from rankcli.config.render import section
from rankcli.config.validate import component_from
from rankcli.data.store import store_of
from rankcli.data.triple_files import open_triples
from rankcli.samplers.base import SamplerContext
from rankcli.schedules.base import ScheduleContext
from rankcli.searchers.base import SearcherContext
from rankcli.shapes import Judged, Ranked

NEEDED = {
    ("trainers", "multiple"): {"tasks": {"a": {"sampler": "LCE"}}},
    ("datasets", "files"): {"docs": "d", "queries": "q", "qrels": "j"},
    ("datasets", "ir_datasets"): {"id": "vaswani"},
    ("datasets", "elwc"): {"path": "f.tfrecord"},
    ("datasets", "libsvm"): {"path": "f.txt"},
    ("datasets", "triples"): {"path": "triples.tsv"},
    ("heads", "mlp"): {"sizes": [3]},
    ("hooks", "l1"): {"weight": 0.1},
    ("hooks", "l2"): {"weight": 0.1},
    ("hooks", "loss"): {"loss": "lce"},
    ("losses", "tfr"): {"key": "softmax_loss"},
    ("samplers", "clicks"): {"file": "sessions.jsonl"},
    ("samplers", "hardnegatives"): {"file": "rows.jsonl"},
    ("samplers", "judged"): {"size": 2},
    ("samplers", "mixture"): {"samplers": ["LCE", "listwise"]},
    ("samplers", "scored"): {"scores": "teacher.run", "base": "LCE"},
    ("samplers", "weighted"): {"weights": "weights.jsonl"},
    ("searchers", "dense"): {"pretrained": "org/model"},
    ("signals", "cosine"): {"pretrained": "org/model"},
    ("signals", "rocchio"): {"pretrained": "org/model"},
    ("searchers", "fuse"): {"runs": ["bm25", {"name": "bm25", "b": 0.9}]},
    ("schedules", "exponential"): {"decay": 0.5},
    ("schedules", "inverse_time"): {"decay": 0.5},
    ("schedules", "step"): {"step_size": 2},
}
EVERY = [(kind, name) for kind, registry in KINDS.items() for name in registry.builtins()]


def options(kind: str, name: str) -> object:
    return component_from(KINDS[kind], {"name": name, **NEEDED.get((kind, name), {})})


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_options_explain_themselves_and_survive_a_round_trip(kind: str, name: str) -> None:
    made = options(kind, name)
    assert KINDS[kind].name_of(made) == name
    assert all(option.metadata.get("help") for option in dataclasses.fields(made))
    saved = section(KINDS[kind], made)
    assert saved["name"] == name and component_from(KINDS[kind], saved) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.version = 2  # type: ignore[attr-defined]


def test_every_kind_has_components() -> None:
    assert {kind for kind, _ in EVERY} == set(KINDS) and len(EVERY) >= 23


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_a_sampler_is_a_pure_function_of_n_with_groups_of_the_size_it_says(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path))
    judged = Judged(
        qids=("a", "b"),
        qrels={"a": {"r": 1}, "b": {"s": 2, "t": 1}},
        run={qid: Ranked(tuple(f"{qid}{n}" for n in range(12)), np.zeros(12, np.float32)) for qid in ("a", "b")},
    )
    made = options("samplers", name)
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{qid} Q0 {docid} 1 {n} t\n"
        for qid in judged.qids
        for n, docid in enumerate([*judged.qrels[qid], *judged.run[qid].docids])
    ]
    (tmp_path / "teacher.run").write_text("".join(rows))
    lines = [{"query": qid, "pos": [*judged.qrels[qid]], "neg": [f"{qid}{n}" for n in range(9)]} for qid in judged.qids]
    lines = [{**line, "scores": [*range(len(line["pos"]) + 9)]} for line in lines]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sessions = [{"query-id": qid, "shown": [*judged.qrels[qid], *judged.run[qid].docids]} for qid in judged.qids]
    sessions = [{**each, "shown": each["shown"][:10], "events": each["shown"][:1]} for each in sessions]
    sessions[1]["shown"].remove("t")
    sessions[1]["shown"].append("b9")
    (tmp_path / "sessions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in sessions))
    weight = {"query-id": "a", "corpus-id": "a1", "weight": 2.0}
    (tmp_path / "weights.jsonl").write_text(json.dumps(weight) + "\n")
    docs = store_of({docid: docid for docid in ("r", "s", "t", "a1", "b1", "b2")}, "docs", tmp_path)
    (tmp_path / "triples").write_text("a r a1\nb t b1\nb s b2\n")
    triples = open_triples(tmp_path / "triples", docs, tmp_path) if name == "triples" else None
    context = SamplerContext(judged=judged, seed=3, triples=triples, columns=frozenset(made.gives))  # type: ignore[attr-defined]
    sampler = made.build(context)  # type: ignore[attr-defined]
    forward = [sampler(n) for n in range(10)]
    again = pickle.loads(pickle.dumps(sampler))
    assert [again(n) for n in reversed(range(10))] == forward[::-1]
    for sample in forward:
        assert len(sample.docids) == len(sample.labels) == made.group_size  # type: ignore[attr-defined]
        assert set(sample.columns) == set(made.gives)  # type: ignore[attr-defined]
        assert all(len(column) == made.group_size for column in sample.columns.values())  # type: ignore[attr-defined]
        relevant = judged.qrels[sample.qid]
        assert [docid in relevant for docid in sample.docids] == [label > 0 for label in sample.labels]


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_a_schedule_stays_above_0_and_never_above_1_and_does_not_rise_after_warm_up(name: str) -> None:
    factor = options("schedules", name).build(ScheduleContext(steps=40, warmup=5, steps_per_iter=10))  # type: ignore[attr-defined]
    values = [factor(step) for step in range(40)]
    assert all(0 < value <= 1 for value in values)
    assert values[:5] == sorted(values[:5]) and values[4:] == sorted(values[4:], reverse=True)


@pytest.mark.parametrize("name", [name for name in SEARCHERS.names() if name != "dense"])  # it ranks all documents
def test_a_searcher_ranks_the_documents_that_answer(name: str, tmp_path) -> None:
    docs = {"d1": "the fox jumps", "d2": "a lazy dog sleeps", "d3": "foxes and dogs and foxes"}
    searcher = options("searchers", name).build(SearcherContext(store_of(docs, "docs", tmp_path)))  # type: ignore[attr-defined]
    run = searcher.search({"q1": "fox", "q2": "zebra"})
    assert sorted(run["q1"]) == ["d1", "d3"] and all(score > 0 for score in run["q1"].values())
    assert not run.get("q2")
