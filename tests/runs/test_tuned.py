"""The first stage is tuned on the training queries alone, once; results say how."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.errors import DataError
from rankcli.runs.prepare import prepare
from rankcli.runs.tuned import tuned_stage
from rankcli.searchers.bm25 import BM25

TUNE = "data.run={name: bm25, tune: true}"


def chosen(config: Any, folder: Path, **changed: Any) -> Any:
    dataset = dataclasses.replace(prepare(config).dataset, **changed)
    return tuned_stage(config, dataset, folder / "scratch").option


def test_only_training_queries_choose(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("TFKNRM", TUNE)
    dataset = prepare(config).dataset
    seen: list[Any] = []

    def tuned(self: BM25, docs: Any, queries: Any, value: Any, depth: int) -> Any:
        seen.append((dict(queries), value({qid: {"d2": 1.0} for qid in queries})))
        assert depth == 10, "nDCG@10 reads no more"
        return found(self, docs, queries, value, depth)

    found = BM25.tuned
    monkeypatch.setattr(BM25, "tuned", tuned)
    option = chosen(config, tmp_path)
    assert [list(queries) for queries, _ in seen] == [sorted(dataset.split["train"])] and not option.tune
    others = {qid: {"d3": 1} for qid in dataset.qrels if qid not in dataset.split["train"]}
    assert chosen(config, tmp_path, qrels={**dataset.qrels, **others}) == option and len(seen) == 1, "kept"
    other = {**dataset.qrels, dataset.split["train"][0]: {"d3": 1}}
    chosen(config, tmp_path, qrels=other)
    assert len(seen) == 2, "other training judgments are another tuning"
    chosen(tiny("TFKNRM", TUNE, "trainer.niters=0"), tmp_path)
    both = [*dataset.split["train"], *dataset.split["dev"]]
    assert list(seen[2][0]) == sorted(both), "dev chooses no weights where nothing is trained"


def test_a_split_without_training_queries_cannot_tune(tiny: Any, tmp_path: Path) -> None:
    config = tiny("TFKNRM", TUNE)
    split = {**prepare(config).dataset.split, "train": ()}
    with pytest.raises(DataError, match="no training queries to tune"):
        chosen(config, tmp_path, split=split)


def test_the_settings_that_are_chosen_make_the_run_and_its_id(tiny: Any, tmp_path: Path) -> None:
    config = tiny("TFKNRM", TUNE)
    option = chosen(config, tmp_path)
    given = tiny("TFKNRM", f"data.run={{name: bm25, k1: {option.k1}, b: {option.b}}}")
    tuned, same = prepare(config), prepare(given)
    assert tuned.identity.run_id == same.identity.run_id
    assert tuned.first_stage == f"BM25, k1 {option.k1:g}, b {option.b:g}, tuned on the training queries"
    assert same.first_stage == f"BM25, k1 {option.k1:g}, b {option.b:g}, not tuned"


def test_fusions_and_files_say_how_they_were_tuned(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "x.run").write_text("q0 Q0 d1 1 2 t\n")
    fused = prepare(tiny("TFKNRM", "data.run={name: fuse, runs: [{name: bm25, tune: true}, " + f"{tmp_path}/x.run]}}"))
    words = fused.first_stage
    assert words.startswith("rrf of BM25, k1 ") and ", tuned on the training queries; the run " in words
    assert words.endswith("x.run; how it was tuned is not known")


def test_result_and_report_say_how_the_first_stage_was_tuned(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("TFKNRM")
    args = ["train", str(tmp_path / "TFKNRM.yaml"), TUNE, "trainer.niters=1", "-o", str(tmp_path / "out")]
    assert run(args) == 0
    assert "training queries, ndcg_cut_10 " in capsys.readouterr().err
    said = json.loads((tmp_path / "out" / "result.json").read_text())["first_stage"]
    assert said.endswith(", tuned on the training queries") and said in (tmp_path / "out" / "report.html").read_text()
    assert run(["rerank", "--model", str(tmp_path / "out"), "-o", str(tmp_path / "r.run"), "--weights", "best"]) == 0
    lines = [(tmp_path / name).read_text().split("\n")[0].split()[:5] for name in ("out/test.run", "r.run")]
    assert lines[0] == lines[1]


def test_settings_beside_tune_are_refused(tiny: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tiny("TFKNRM")
    with pytest.raises(Exception, match="leave out k1"):
        tiny("TFKNRM", "data.run={name: bm25, tune: true, k1: 1.2}")
