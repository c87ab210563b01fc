"""From files to an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.errors import ConfigError, DataError
from rankcli.verbs.evaluate import evaluate


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "qrels.txt").write_text("1 0 a 1\n1 0 b 0\n2 0 a 1\n3 0 a 2\n")
    (tmp_path / "new.run").write_text("1 Q0 a 1 2.0 x\n1 Q0 b 2 1.0 x\n2 Q0 b 1 3.5 x\n2 Q0 a 2 3.25 x\n9 Q0 a 1 1 x\n")
    (tmp_path / "old.run").write_text("1 Q0 b 1 2.0 x\n1 Q0 a 2 1.0 x\n2 Q0 a 1 1.5 x\n3 Q0 b 1 1 x\n")
    return tmp_path


def test_missing_and_unjudged_queries_are_said(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(files / "qrels.txt", files / "new.run", metrics=["RR@10"])
    assert found.to_json()["metrics"] == {"RR@10": {"mean": pytest.approx((1 + 1 / 2 + 0) / 3)}}
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith("new.run: 1 of 3 judged queries have no retrieved document and count as 0")
    assert "33% of every mean" in said[1] and "--queries run" in said[1]
    assert said[2].endswith("new.run: 1 queries are not judged and are left out")
    assert len(said) == 3


def test_baseline_is_compared_over_the_judged_queries(files: Path) -> None:
    found = evaluate(files / "qrels.txt", files / "new.run", baseline=files / "old.run", metrics=["map", "P_1"])
    by_metric = found.to_json()["metrics"]
    assert by_metric["map"]["baseline"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert (by_metric["map"]["wins"], by_metric["map"]["ties"], by_metric["map"]["losses"]) == (1, 1, 1)


def test_relevance_level(files: Path) -> None:
    (files / "third.run").write_text("3 Q0 a 1 1 x\n1 Q0 a 1 1 x\n")
    found = evaluate(files / "qrels.txt", files / "third.run", metrics=["map"], relevance_level=2)
    assert found.values == {"map": {"1": 0.0, "2": 0.0, "3": 1.0}}


def test_per_query_values_are_written(files: Path) -> None:
    evaluate(files / "qrels.txt", files / "new.run", metrics=["map", "RR@10"], per_query=files / "values.tsv")
    assert (files / "values.tsv").read_text() == (
        "map\t1\t1.000000\nmap\t2\t0.500000\nmap\t3\t0.000000\n"
        "RR@10\t1\t1.000000\nRR@10\t2\t0.500000\nRR@10\t3\t0.000000\n"
    )


def test_names_of_ir_measures_give_the_values_of_trec_eval(files: Path) -> None:
    found = evaluate(files / "qrels.txt", files / "new.run", metrics=["AP", "MRR@10", "map", "P@1"])
    assert found.to_json()["metrics"] == {
        "map": {"mean": pytest.approx(0.5)},
        "RR@10": {"mean": pytest.approx(0.5)},
        "P_1": {"mean": pytest.approx(1 / 3)},
    }


def test_metrics_are_checked_before_any_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--metric: unknown metric 'ndcq@10'"):
        evaluate(tmp_path / "absent", tmp_path / "absent", metrics=["ndcq@10"])


def test_runs_of_another_collection_are_refused_with_the_file(files: Path) -> None:
    (files / "other.run").write_text("q1 Q0 a 1 1 x\n")
    with pytest.raises(DataError, match=r"other\.run: no judged query"):
        evaluate(files / "qrels.txt", files / "new.run", baseline=files / "other.run")


def test_an_absent_run_is_a_usage_error(files: Path) -> None:
    with pytest.raises(ConfigError):
        evaluate(files / "qrels.txt", files / "absent.run")


def test_a_run_of_other_documents_is_an_error_with_an_example_of_each_side(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 d1 1\n")
    (tmp_path / "run").write_text("q1 Q0 x7 1 2.0 t\n")
    with pytest.raises(DataError, match=r"no retrieved document is judged: .*'d1'.*'x7'"):
        evaluate(tmp_path / "qrels", tmp_path / "run")
