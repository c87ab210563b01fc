"""Features in LibSVM's format: what is read, kept and refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.caches.derived import things
from rankcli.config.schema import Data
from rankcli.data.dataset import load_dataset
from rankcli.data.features import FeatureTable
from rankcli.data.source import Source, SourceContext
from rankcli.datasets.libsvm import LibSVM
from rankcli.errors import ConfigError, DataError

TRAIN = "2 qid:a 1:0.5 3:-2e1 # docid = x\n# a comment\n0 qid:a 2:1\n1 qid:b\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


def put(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return str(folder / name)


def built(folder: Path, **options: Any) -> Source:
    return LibSVM(**options).build(SourceContext(folder / "kept"))


def of(source: Any, qid: str, *docids: str) -> list[list[float]]:
    found = source.features.features(qid, docids)
    assert found.dtype == np.float32
    return found.tolist()


def test_sparse_lines_become_dense_rows_and_grades_are_judgments(tmp_path: Path) -> None:
    data = built(tmp_path, path=put(tmp_path, "f", TRAIN))
    assert data.qrels[""] == {"a": {"a.1": 2, "a.2": 0}, "b": {"b.1": 1}}
    assert of(data, "a", "a.2", "a.1") == [[0, 1, 0], [0.5, 0, -20]]
    assert of(data, "b", "b.1") == [[0, 0, 0]] and of(data, "b") == []
    filled = built(tmp_path, path=str(tmp_path / "f"), missing=-1, width=4)
    assert of(filled, "a", "a.1") == [[0.5, -1, -20, -1]]
    assert len({data.fingerprint, filled.fingerprint, built(tmp_path, path=str(tmp_path / "f")).fingerprint}) == 2


def test_scores_of_a_run_are_the_first_feature(tmp_path: Path) -> None:
    path = put(tmp_path, "f", TRAIN)
    run = put(tmp_path, "t.run", "a Q0 a.2 1 7.5 t\na Q0 a.1 2 -1 t\nb Q0 b.1 1 0.25 t\n")
    plain, data = built(tmp_path, path=path), built(tmp_path, path=path, scores=run)
    assert of(data, "a", "a.2", "a.1") == [[7.5, 0, 1, 0], [-1, 0.5, 0, -20]] and of(data, "b", "b.1") == [
        [0.25, 0, 0, 0]
    ]
    assert data.qrels == plain.qrels and data.fingerprint != plain.fingerprint
    assert of(built(tmp_path, path=path, scores=run, width=3), "b", "b.1") == [[0.25, 0, 0, 0]]
    put(tmp_path, "t.run", "a Q0 a.2 1 7.5 t\na Q0 a.1 2 -2 t\nb Q0 b.1 1 0.25 t\n")
    assert of(built(tmp_path, path=path, scores=run), "a", "a.1")[0][0] == -2  # what is kept goes by content
    put(tmp_path, "t.run", "a Q0 a.2 1 7.5 t\na Q0 a.1 2 -1 t\n")
    with pytest.raises(DataError, match="no score of document 'b.1' for query 'b'") as caught:
        built(tmp_path, path=path, scores=run)
    assert caught.value.where == run


def test_another_file_needs_scores_where_the_first_had_some(tmp_path: Path) -> None:
    plain, scored = LibSVM(path="f"), LibSVM(path="f", scores="t.run")
    assert scored.at("new", 4, "new.run") == LibSVM(path="new", width=3, scores="new.run")
    assert scored.at("new", None) == LibSVM(path="new")  # its grades alone
    with pytest.raises(ConfigError, match="first feature is a score, in training that of t.run\n.*give --run"):
        scored.at("new", 4)
    with pytest.raises(ConfigError, match="have no scores of a run"):
        plain.at("new", 4, "new.run")


def test_the_files_of_the_parts_make_the_split_and_share_their_width(tmp_path: Path) -> None:
    paths = {"test": put(tmp_path, "t", "1 qid:c 5:1\n"), "train": put(tmp_path, "f", TRAIN)}
    data = load_dataset(
        Data(source=LibSVM(path={**paths, "dev": put(tmp_path, "d", "1 qid:d 1:7\n")})), tmp_path / "kept"
    )
    assert data.split == {"train": ("a", "b"), "dev": ("d",), "test": ("c",)}
    assert [of(data, q, f"{q}.1")[0] for q in "bcd"] == [[0] * 5, [0, 0, 0, 0, 1], [7, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match="give train, test and perhaps dev"):
        LibSVM(path={"train": "a"})


def test_without_qid_a_file_beside_it_has_the_rows_of_each_query(tmp_path: Path) -> None:
    path = put(tmp_path, "f", "1 1:1\n0 1:2\n3 2:3\n")
    with pytest.raises(ConfigError, match="lines have no `qid:`") as caught:
        built(tmp_path, path=path)
    assert caught.value.where == f"{path}.query"
    put(tmp_path, "f.query", "1\n2\n")
    data = built(tmp_path, path=path)
    assert data.qrels[""] == {"1": {"1.1": 1}, "2": {"2.1": 0, "2.2": 3}}
    assert of(data, "2", "2.2", "2.1") == [[0, 3], [2, 0]]
    for rows, said in (("1\n", "counts fewer rows"), ("1\n3\n", "counts more rows"), ("x\n2\n", "no[^ ]* a number")):
        put(tmp_path, "f.query", rows)
        with pytest.raises(DataError, match=said):
            built(tmp_path, path=path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x qid:b 1:1", "the grade 'x' is not an integer from -1000 to 1000"),
        ("1.5 qid:b 1:1", "the grade '1.5'"),
        ("9999 qid:b 1:1", "the grade '9999'"),
        ("1 1:1", "'1:1' follows the grade, expected qid:QUERY"),
        ("1", "expected qid:QUERY"),
        ("1 qid: 1:1", "the query id is empty"),
        ("1 qid:b 1", "'1' is not a feature, expected NUMBER:VALUE"),
        ("1 qid:b 1:1_0", "'1:1_0' is not a feature"),
        ("1 qid:b x:1", "'x:1' is not a feature"),
        ("1 qid:b 0:1", "feature 0 is out of 1 to 1,048,576"),
        ("1 qid:b 1:nan", "the value nan of feature 1 is not a finite float32"),
        ("1 qid:b 1:1e39", "the value 1e39 of feature 1"),
        ("1 qid:b 2:1 2:3", "feature 2 is there twice"),
        ("1 qid:a 1:1", "query 'a' has lines in another place, too"),
        ("1 qid:b 4:1", r"feature 4 is above width \(3\)"),
    ],
)
def test_a_malformed_line_is_named(line: str, said: str, tmp_path: Path) -> None:
    path = put(tmp_path, "f", TRAIN + line + "\n")
    with pytest.raises(DataError, match=said) as caught:
        built(tmp_path, path=path, width=3)
    assert str(caught.value.where) == f"{path}:5" and not list((tmp_path / "kept").glob("*.f32"))


def test_the_table_is_made_once_mapped_and_opened_again_in_other_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = built(tmp_path, path=put(tmp_path, "f", TRAIN))
    assert "reading" in capsys.readouterr().err
    again = built(tmp_path, path=str(tmp_path / "f"))
    assert "reading" not in capsys.readouterr().err
    copy = pickle.loads(pickle.dumps(again.features))
    assert isinstance(copy, FeatureTable) and isinstance(copy._rows, np.memmap)
    assert copy.features("a", ("a.1",)).tolist() == of(data, "a", "a.1")
    for qid, docid in (("a", "a.3"), ("a", "b.1"), ("z", "z.1"), ("a", "a.0"), ("a", "a.x")):
        with pytest.raises(DataError, match=f"document '{docid}' has no features for query '{qid}'"):
            copy.features(qid, (docid,))


def test_the_cache_lists_the_table_as_features(tmp_path: Path) -> None:
    built(tmp_path, path=put(tmp_path, "f", TRAIN))
    (thing,) = things(tmp_path / "kept")
    assert (thing.kind, thing.source, len(thing.files)) == ("features", str(tmp_path / "f"), 2)
