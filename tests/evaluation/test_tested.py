"""`evaluate` on a run directory and on chosen queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.data.trec import read_qrels, write_run
from rankcli.errors import ConfigError, DataError, MissingError
from rankcli.evaluation.report import Evaluation, Stages
from rankcli.runs.written import write_result
from rankcli.verbs.evaluate import evaluate

CONFIG = """
data: {builtin: stdlib-docs, relevance_level: 2}
reranker: TFKNRM
metrics: {optimize: RR@10, report: [P_1]}
"""
FIRST = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"b": 2.0, "a": 1.0}}
RERANKED = {"q1": {"b": 2.0, "a": 1.0}, "q2": {"a": 2.0, "b": 1.0}}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A finished run whose test queries are q1 and q2; `all.qrels` judges five queries."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "test.qrels").write_text("q1 0 a 2\nq1 0 b 1\nq2 0 a 2\n")
    write_run(folder / "test.first_stage.run", FIRST)
    write_run(folder / "test.run", RERANKED)
    write_run(folder / "test.interpolated.run", FIRST)
    result = {"run_id": None, "splits": {}, "alpha": [], "train_seconds": 1.0, "pairs_per_second": 1.0}
    write_result(folder, result, ["test.qrels", "test.run"])
    more = "".join(f"q{n} 0 a 2\n" for n in (3, 4, 5))
    (tmp_path / "all.qrels").write_text((folder / "test.qrels").read_text() + more)
    return folder


def of(found: Any) -> dict[str, Any]:
    assert isinstance(found, Evaluation)
    return found.to_json()


def test_a_run_directory_alone_gives_all_stages_of_its_own_test(directory: Path) -> None:
    found = evaluate(model=str(directory))
    assert isinstance(found, Stages)
    split = found.to_json()
    assert (split["queries"], split["queries_are"]) == (2, f"test queries of {directory}")
    assert split["first_stage"] == {"RR@10": 0.75, "P_1": 0.5} == split["interpolated"]  # q1: rank 1; q2: rank 2
    assert split["reranked"] == {"RR@10": 0.75, "P_1": 0.5}  # q1: rank 2, as grade 1 is not relevant; q2: rank 1
    assert f"test queries of {directory}" in found.table().splitlines()[-1]


def test_judgments_of_more_queries_do_not_change_the_test_queries(directory: Path) -> None:
    whole = directory.parent / "all.qrels"
    found = of(evaluate(whole, model=str(directory), per_query=directory.parent / "q.tsv"))
    assert (found["queries"], found["metrics"]["RR@10"]["mean"]) == (2, 0.75)
    found = of(evaluate(whole, model=str(directory), queries="qrels", baseline=directory / "test.first_stage.run"))
    assert (found["queries"], found["metrics"]["RR@10"]["mean"]) == (5, pytest.approx(1.5 / 5))


def test_queries_of_the_run_of_the_judgments_or_of_a_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files: Any = (directory.parent / "all.qrels", directory / "test.run")
    options: Any = {"metrics": ["RR@10"], "relevance_level": 2}
    found = of(evaluate(*files, **options))
    assert (found["queries"], found["queries_are"]) == (5, "all that are judged")
    assert found["metrics"]["RR@10"]["mean"] == pytest.approx(0.3)
    err = capsys.readouterr().err
    assert "3 of 5 judged queries have no retrieved document and count as 0\n  -> so 60% of every mean" in err
    assert "--queries run" in err
    found = of(evaluate(*files, queries="run", **options))
    assert (found["queries"], found["queries_are"]) == (2, "those of the run")
    assert found["metrics"]["RR@10"]["mean"] == 0.75 and capsys.readouterr().err == ""
    (directory.parent / "ids").write_text("q2\nq3\nnobody\n")
    found = of(evaluate(*files, queries=directory.parent / "ids", **options))
    assert (found["queries"], found["metrics"]["RR@10"]["mean"]) == (2, 0.5)
    (directory.parent / "ids").write_text("nobody\n")
    with pytest.raises(DataError, match="ids: none of these queries is judged"):
        evaluate(*files, queries=directory.parent / "ids", **options)


def test_few_missing_queries_are_counted_without_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "qrels").write_text("".join(f"q{n} 0 a 1\n" for n in range(10)))
    write_run(tmp_path / "run", {f"q{n}": {"a": 1.0} for n in range(9)})
    evaluate(tmp_path / "qrels", tmp_path / "run")
    assert capsys.readouterr().err.endswith("1 of 10 judged queries have no retrieved document and count as 0\n")


def test_what_is_no_finished_run_is_refused(directory: Path) -> None:
    with pytest.raises(ConfigError, match="absent: no such directory"):
        evaluate(model=str(directory.parent / "absent"))
    with pytest.raises(ConfigError, match="--qrels and --run are needed"):
        evaluate(directory / "test.qrels")
    (directory / "result.json").unlink()
    with pytest.raises(MissingError, match="there is no result.json: this is no finished run"):
        evaluate(model=str(directory))


@pytest.mark.parametrize("fold", ["0", "all"])
def test_evaluate_gives_the_numbers_that_train_printed(
    fold: str, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny("TFKNRM")
    out = str(tmp_path / "out")
    options = ["trainer.niters=1", f"data.folds.fold={fold}", "--out", out]
    assert run(["train", "--config", str(tmp_path / "TFKNRM.yaml"), *options]) == 0
    test = capsys.readouterr().out.partition("test\n")[2].partition("\n\n")[0]
    assert run(["evaluate", "--model", out]) == 0
    assert capsys.readouterr().out == f"{test}; queries: test queries of {out}\n"
    assert run(["evaluate", "--model", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    trained = json.loads((tmp_path / "out" / "result.json").read_text())["splits"]["test"]
    assert {key: found[key] for key in trained} == trained
    queries = read_qrels(tmp_path / "out" / "test.qrels")
    assert len(queries) == trained["queries"] == (12 if fold == "all" else 4)
    assert queries.items() <= read_qrels(tmp_path / "qrels.txt").items()
