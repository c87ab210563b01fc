"""`rankcli init`: what it finds in a collection, and that what it writes is a valid configuration."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rankcli.backend import elwc
from rankcli.cli import run
from rankcli.config.load import load_config
from rankcli.config.registry import EXTRACTORS
from rankcli.records.tfrecord import frame
from rankcli.verbs.init import READ, look


def collection(folder: Path, *, queries: int = 6, words: int = 4, grades: tuple[int, ...] = (0, 1)) -> None:
    docs = [{"_id": f"d{n}", "title": "", "text": " ".join(["word"] * words)} for n in range(20)]
    topics = [{"_id": f"q{n}", "text": "two words"} for n in range(queries + 1)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in topics))
    judged = [f"q{n} 0 d{i} {grade}\n" for n in range(queries) for i, grade in enumerate(grades)]
    (folder / "qrels.txt").write_text("".join(judged))
    (folder / "first.run").write_text("q0 Q0 d0 1 2.5 x\nq1 Q0 d1 1 2.5 x\n")


def init(folder: Path, *more: str) -> int:
    paths = [f"--{key}={folder / name}" for key, name in FILES.items()]
    return run(["init", *paths, "--output", str(folder / "config.yaml"), *more])


FILES = {"docs": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.txt"}


def test_the_configuration_is_valid_and_relative_to_where_it_lies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection(tmp_path)
    assert init(tmp_path) == 0
    text = (tmp_path / "config.yaml").read_text()
    assert "docs: corpus.jsonl" in text and "# 20 documents, 4 words (median)" in text
    config, _ = load_config([tmp_path / "config.yaml"])
    assert config.data.docs == str(tmp_path / "corpus.jsonl")
    assert config.data.folds is not None and (config.data.folds.k, config.data.folds.fold) == (3, 0)
    assert config.data.relevance_level == 1 and type(config.data.run).__name__ == "BM25"
    out = capsys.readouterr().out
    assert "7 queries, 2 words (median); 6 of them judged" in out and "grades: 0: 6, 1: 6" in out and "--dry-run" in out


def test_a_run_is_taken_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    assert init(tmp_path, "--run", str(tmp_path / "first.run")) == 0
    assert load_config([tmp_path / "config.yaml"])[0].data.run == str(tmp_path / "first.run")
    assert "candidates for 2 queries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("grades", "level"), [((0, 1), 1), ((0, 1, 2), 1), ((0, 1, 2, 3), 2), ((1, 2, 3, 4), 1), ((1,), 1)]
)
def test_the_relevance_level_follows_the_grades(tmp_path: Path, grades: tuple[int, ...], level: int) -> None:
    collection(tmp_path, grades=grades)
    assert look({key: str(tmp_path / name) for key, name in FILES.items()}).relevance_level == level


@pytest.mark.parametrize(("queries", "folds"), [(6, 3), (74, 3), (75, 5)])
def test_more_queries_make_more_folds(tmp_path: Path, queries: int, folds: int) -> None:
    collection(tmp_path, queries=queries)
    assert look({key: str(tmp_path / name) for key, name in FILES.items()}).folds == folds


def test_long_documents_are_told_of(tmp_path: Path) -> None:
    assert EXTRACTORS.get("apart")().maxdoclen == READ  # what the biencoder of the configuration reads
    collection(tmp_path, words=90)
    assert init(tmp_path) == 0
    assert "are read to their end" in (tmp_path / "config.yaml").read_text()
    collection(tmp_path, words=91)  # 91 x 1.4 > 126
    (tmp_path / "config.yaml").unlink()
    assert init(tmp_path) == 0
    text = (tmp_path / "config.yaml").read_text()
    assert "longer than the 128 tokens" in text and "pooledpassage" in text
    assert load_config([tmp_path / "config.yaml"], ["extractor={name: apart, maxdoclen: 256}"])
    config, _ = load_config(
        [tmp_path / "config.yaml"], ["reranker=TFBERTMaxP", "extractor={name: pooledpassage, numpassages: 4}"]
    )
    assert config.extractor.numpassages == 4


def test_an_existing_file_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    (tmp_path / "config.yaml").write_text("mine")
    assert init(tmp_path) == 2
    assert (tmp_path / "config.yaml").read_text() == "mine"
    assert "not overwritten" in capsys.readouterr().err


def test_ids_that_do_not_join_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection(tmp_path)
    qrels = tmp_path / "qrels.txt"
    good = qrels.read_text()
    qrels.write_text(good.replace("q", "topic"))
    assert init(tmp_path) == 3
    assert "no query id is among the queries: here 'topic0'" in capsys.readouterr().err
    qrels.write_text(good.replace("d", "doc"))
    assert init(tmp_path) == 3
    assert "no document id is in the collection: here 'doc0'" in capsys.readouterr().err
    assert not (tmp_path / "config.yaml").exists()


def test_a_file_that_is_not_there_exits_2(tmp_path: Path) -> None:
    assert init(tmp_path) == 2


def test_a_file_of_features_makes_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.txt").write_text("".join(f"{n % 3} qid:{n // 2} 1:{n} 4:0.5\n" for n in range(12)))
    output = tmp_path / "config.yaml"
    assert run(["init", "--features", str(tmp_path / "f.txt"), "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "6 queries with 12 documents (median 2, at most 2)\n4 features, from 0 to 11\ngrades: 0: 4, 1: 4" in said
    config, _ = load_config([output])
    assert config.data.source.width == 4 and config.data.folds is not None and config.data.folds.k == 3
    assert config.extractor.pieces == 4 and config.sampler.size == 2 and "path: f.txt" in output.read_text()
    assert run(["init", "--features", str(tmp_path / "f.txt"), "--docs", str(output), "--dry-run"]) == 2
    assert "--features goes without a folder and other files" in capsys.readouterr().err


def test_a_file_of_features_that_is_cut_off_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = gzip.compress(b"0 qid:1 1:2\n")
    for size in (12, len(whole) - 3):
        (tmp_path / "f.gz").write_bytes(whole[:size])
        assert run(["init", "--features", str(tmp_path / "f.gz"), "--output", str(tmp_path / "c.yaml")]) == 3
        assert "the gzip data is damaged or cut off" in capsys.readouterr().err
        assert not (tmp_path / "c.yaml").exists()


def test_a_file_of_example_lists_has_its_label_and_features_named(tmp_path: Path) -> None:
    made = elwc.ExampleListWithContext()
    for grade in (0, 1):
        example = made.examples.add().features.feature
        example["utility"].int64_list.value.append(grade)
        example["a"].float_list.value.append(0.25)
    (tmp_path / "f").write_bytes(frame(made.SerializeToString()) * 3)
    assert run(["init", "--features", str(tmp_path / "f"), "--output", str(tmp_path / "c.yaml")]) == 0
    source = load_config([tmp_path / "c.yaml"])[0].data.source
    assert (source.label, source.features, source.context) == ("utility", ("a",), ())
