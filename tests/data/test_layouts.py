"""Folders as collections are published in: the use of each file, and the split where a part is missing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rankcli.config.schema import Data
from rankcli.data.dataset import load_dataset
from rankcli.data.documents import open_store
from rankcli.data.folds import with_dev
from rankcli.data.layouts import layout_of, siblings
from rankcli.data.lines import read_lines
from rankcli.data.topics import read_judgments, read_topics
from rankcli.data.trec import RunFile, read_qrels, read_run
from rankcli.errors import ConfigError, DataError
from tests import published


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


ALL = {"train": published.TRAIN, "dev": published.DEV, "test": published.TEST}


@pytest.mark.parametrize(
    ("parts", "qrels"),
    [
        (("train", "dev", "test"), {"train": "train", "dev": "dev", "test": "test"}),
        (("train", "test"), {"train": "train", "test": "test"}),
        (("train", "dev"), {"train": "train", "test": "dev"}),
        (("dev", "test"), {"train": "dev", "test": "test"}),
        (("test",), "test"),
    ],
)
def test_the_parts_of_a_beir_folder_make_the_split(parts: tuple[str, ...], qrels: object, tmp_path: Path) -> None:
    published.beir(tmp_path, **{part: ALL[part] for part in parts})
    found = layout_of(str(tmp_path)).data

    def place(part: str) -> str:
        return str(tmp_path / "qrels" / f"{part}.tsv")

    wanted = {use: place(part) for use, part in qrels.items()} if isinstance(qrels, dict) else place("test")
    assert found == {
        "docs": str(tmp_path / "corpus.jsonl"),
        "queries": str(tmp_path / "queries.jsonl"),
        "qrels": wanted,
    }


def test_dev_is_carved_out_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published.beir(tmp_path, train=range(30), test=range(30, 40))
    layout = layout_of(str(tmp_path))
    dataset = load_dataset(Data(**layout.data), tmp_path / "kept")  # type: ignore[arg-type]
    sizes = {part: len(qids) for part, qids in dataset.split.items()}
    assert sizes == {"train": 24, "dev": 6, "test": 10}
    assert set(dataset.split["train"]) | set(dataset.split["dev"]) == {f"q{n}" for n in range(30)}
    assert "6 of the 30 training queries are dev, not train" in capsys.readouterr().err
    assert layout.notes == ("no dev queries are published: a fifth of train (500 at most) becomes dev",)


def test_the_carved_dev_part_is_the_same_everywhere_and_small() -> None:
    split = {"train": tuple(f"q{n}" for n in range(4000)), "test": ("t",)}
    once = with_dev(split, "x")
    again = with_dev({"test": ("t",), "train": split["train"][::-1]}, "x")
    assert once["dev"] == again["dev"] and len(once["dev"]) == 500 and len(once["train"]) == 3500
    assert once["dev"][:3] == ("q1010", "q1012", "q1014")
    assert with_dev({**split, "dev": ("d",)}, "x")["dev"] == ("d",)
    with pytest.raises(ConfigError, match="cannot be train and dev"):
        with_dev({"train": ("q",), "test": ("t",)}, "x")


def test_qrels_by_part_need_train_and_test() -> None:
    with pytest.raises(ValueError, match="need `train` and `test`"):
        Data(docs="d", queries="q", qrels={"train": "t", "dev": "d"})


def test_an_archive_is_a_folder(tmp_path: Path) -> None:
    published.beir(tmp_path / "scifact", **ALL)
    with zipfile.ZipFile(tmp_path / "scifact.zip", "w") as archive:
        for path in (tmp_path / "scifact").rglob("*.*l"):
            archive.write(path, path.relative_to(tmp_path))
        archive.writestr("__MACOSX/._corpus.jsonl", "\0")
        archive.write(tmp_path / "scifact" / "qrels" / "test.tsv", "scifact/qrels/test.tsv")
    zipped = str(tmp_path / "scifact.zip")
    data = layout_of(zipped).data
    assert data["docs"] == f"{zipped}/scifact/corpus.jsonl" and data["qrels"] == f"{zipped}/scifact/qrels/test.tsv"
    one = open_store(f"{zipped}/scifact/corpus.jsonl", None, tmp_path / "kept")
    other = open_store(zipped, None, tmp_path / "kept")
    plain = open_store(tmp_path / "scifact" / "corpus.jsonl", None, tmp_path / "kept")
    assert one.fingerprint == other.fingerprint == plain.fingerprint and len(one) == 60
    with pytest.raises(ConfigError, match=r"there is no 'none\.tsv' in this archive"):
        list(read_lines(f"{zipped}/none.tsv"))
    with pytest.raises(DataError, match=r"a zip archive of 3 files, one is needed"):
        list(read_lines(zipped))


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "q.zip", "w") as archive:
        archive.writestr("q.tsv", "q1\tapple\n")
    whole = (tmp_path / "q.zip").read_bytes()
    assert list(read_lines(tmp_path / "q.zip")) == [(1, "q1\tapple")]
    (tmp_path / "q.zip").write_bytes(whole.replace(b"apple", b"maple"))
    with pytest.raises(DataError, match="the zip data is damaged"):
        list(read_lines(tmp_path / "q.zip"))
    (tmp_path / "q.zip").write_bytes(whole[:-10])
    with pytest.raises(DataError, match="the zip archive cannot be read"):
        list(read_lines(tmp_path / "q.zip"))


def test_documents_may_be_in_several_files_and_folders(tmp_path: Path) -> None:
    published.trec(tmp_path)
    whole = open_store(str(tmp_path), None, tmp_path / "kept")
    listed = open_store([str(tmp_path / "disk0"), str(tmp_path / "disk1" / "ft" / "ft_1.gz")], None, tmp_path / "kept")
    assert whole.ids_at([0, 59]) == ["FT-0", "FT-59"] and whole.fingerprint == listed.fingerprint
    assert layout_of(str(tmp_path)).data == {
        "docs": str(tmp_path),
        "queries": [str(tmp_path / "topics.301-320.txt"), str(tmp_path / "topics.321-340.txt")],
        "qrels": str(tmp_path / "qrels.adhoc.txt"),
    }


def test_the_same_id_in_two_files_is_compared(tmp_path: Path) -> None:
    for name, text in (("a", "apple"), ("b", "fig")):
        (tmp_path / f"docs.{name}.tsv").write_text(f"d1\t{text}\n")
        (tmp_path / f"queries.{name}.tsv").write_text(f"q1\t{text}\n")
        (tmp_path / f"qrels.{name}.txt").write_text(f"q1 0 d1 {len(text)}\n")
    with pytest.raises(DataError, match="document 'd1' has another text"):
        open_store(str(tmp_path), None, tmp_path / "kept")
    data = layout_of(str(tmp_path)).data
    with pytest.raises(DataError, match="query 'q1' has another text"):
        read_topics(data["queries"])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="with grade 3, but 5"):
        read_judgments(data["qrels"])  # type: ignore[arg-type]


def test_judgments_of_other_parts_beside_a_file_are_told_of(tmp_path: Path) -> None:
    published.beir(tmp_path, **ALL)
    (note,) = siblings(str(tmp_path / "qrels" / "train.tsv"))
    assert note.startswith("beside train.tsv lies dev.tsv and test.tsv")
    assert siblings(str(tmp_path / "queries.jsonl")) == () and siblings(None) == ()


def test_ms_marco_passages_have_dev_as_test(tmp_path: Path) -> None:
    published.msmarco_passages(tmp_path)
    layout = layout_of(str(tmp_path))
    assert layout.data == {
        "docs": str(tmp_path / "collection.tsv"),
        "queries": {"train": str(tmp_path / "queries.train.tsv"), "test": str(tmp_path / "queries.dev.tsv")},
        "qrels": {"train": str(tmp_path / "qrels.train.tsv"), "test": str(tmp_path / "qrels.dev.tsv")},
    }
    assert layout.notes[1:] == (
        "the published dev queries are used as test",
        "not used: queries.eval.tsv, run.dev.tsv, top1000.dev, triples.train.small.tsv",
    )
    dataset = load_dataset(Data(**layout.data), tmp_path / "kept")  # type: ignore[arg-type]
    assert {part: len(qids) for part, qids in dataset.split.items()} == {"train": 24, "dev": 6, "test": 10}
    assert dataset.split["test"] == tuple(f"{n}" for n in range(1030, 1040))


def test_the_small_dev_part_and_the_triples_of_ids_are_taken(tmp_path: Path) -> None:
    published.msmarco_passages(tmp_path)
    for kind in ("queries", "qrels"):
        (tmp_path / f"{kind}.dev.small.tsv").write_bytes((tmp_path / f"{kind}.dev.tsv").read_bytes())
    published.write(tmp_path / "qidpidtriples.train.full.2.tsv", (f"{1000 + n}\t{n}\t{n + 1}" for n in range(30)))
    data = layout_of(str(tmp_path)).data
    assert data["qrels"] == {
        "train": str(tmp_path / "qrels.train.tsv"),
        "test": str(tmp_path / "qrels.dev.small.tsv"),
    }
    assert data["triples"] == str(tmp_path / "qidpidtriples.train.full.2.tsv")


def test_ms_marco_documents_have_titles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published.msmarco_documents(tmp_path)
    data = layout_of(str(tmp_path)).data
    assert data["docs"] == str(tmp_path / "msmarco-docs.tsv") and "run" not in data
    assert data["queries"] == {
        "train": str(tmp_path / "msmarco-doctrain-queries.tsv"),
        "test": str(tmp_path / "msmarco-docdev-queries.tsv"),
    }
    store = open_store(str(data["docs"]), None, tmp_path / "kept")
    assert store.texts(["D3"]) == [f"Title 3 {published.DOCS[3]}"]
    assert "4 columns, read as id, url, title and text; the url is left out" in capsys.readouterr().err


def test_ms_marco_runs_have_ranks_or_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published.msmarco_passages(tmp_path)
    assert read_run(tmp_path / "run.dev.tsv")["1030"] == {"35": 1.0, "30": 0.5, "40": float(np.float32(1 / 3))}
    assert "the score is 1 / rank" in capsys.readouterr().err
    assert dict(RunFile(tmp_path / "top1000.dev"))["1030"] == {"35": 0.0, "30": 0.0, "40": 0.0}
    assert "without scores or ranks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        ("q1 d1 1\nq1 d2 1\n", "two documents of rank 1", "judgments go to --qrels"),
        ("q1 d1 1\nq1 d2 0\n", "a rank from 1", ""),
        ("q1 d1 1\nq1 d2 2.5\n", "a rank from 1", ""),
        ("q1 d1 2.5\n", "3 columns, expected 6", "a whole number"),
        ("q1\t0\td1\t1\n", "4 columns, expected 6", "judgments go to --qrels"),
        ("q1\td1\ta query\ta text\nq1\td2\ta query\n", "3 tab-separated columns, expected 4", ""),
    ],
)
def test_what_is_no_run_is_not_taken_for_one(content: str, what: str, fix: str, tmp_path: Path) -> None:
    (tmp_path / "run").write_text(content)
    with pytest.raises(DataError, match=what) as caught:
        read_run(tmp_path / "run")
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("header", "row", "text"),
    [
        ("id\ttitle\ttext", "d1\tA\tapple pie", "A apple pie"),
        ("id\ttext\ttitle", "d1\tapple pie\tA", "A apple pie"),
        ("doc_id\turl\ttitle\tbody", "d1\thttps://x.org\tA\tapple pie", "A apple pie"),
        ("Passage ID\tPassage", "d1\tapple pie", "apple pie"),
        ("title\tcontents\t_id", "A\tapple pie\td1", "A apple pie"),
    ],
)
def test_a_header_names_the_columns(header: str, row: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "docs").write_text(f"{header}\n{row}\n")
    store = open_store(str(tmp_path / "docs"), None, tmp_path / "kept")
    assert list(store.iterate()) == [("d1", text)]
    (tmp_path / "docs").write_text(f"{header}\n{row}\tmore\n")
    with pytest.raises(DataError, match="tab-separated columns, expected"):
        open_store(str(tmp_path / "docs"), None, tmp_path / "kept")


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("query_id doc_id relevance", "q1 d1 2"),
        ("qid\tdocno\tlabel", "q1\td1\t2"),
        ("QID Q0 DOCNO rel", "q1 0 d1 2"),
        ("topic iteration docid judgment", "q1 0 d1 2"),
    ],
)
def test_headers_of_judgments_have_many_names(header: str, row: str, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text(f"{header}\n{row}\n")
    assert read_qrels(tmp_path / "qrels") == {"q1": {"d1": 2}}


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ((), "{0}"),
        (("title",), "{0}"),
        (("desc",), "{1}"),
        (("title", "desc"), "{0} {1}"),
        (("narr", "title"), "a long story {0}"),
    ],
)
def test_fields_of_topics_are_chosen(wanted: tuple[str, ...], text: str, tmp_path: Path) -> None:
    published.trec(tmp_path)
    published.trec_xml(tmp_path)
    plain = read_topics(str(tmp_path / "topics.301-320.txt"), None, wanted)
    marked = read_topics(str(tmp_path / "topics-rnd5.xml"), None, wanted)
    for n in (0, 7, 19):
        assert plain[str(n + 301)] == marked[str(n + 1)] == text.format(*published.QUERIES[n])


def test_reading_the_title_alone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published.trec(tmp_path)
    topics = str(tmp_path / "topics.301-320.txt")
    read_topics(topics)
    assert f"{topics}: of each topic the title alone is read, not desc, narr (choose: `topics`)" in (
        capsys.readouterr().err
    )
    read_topics(topics, None, ("title",))
    assert capsys.readouterr().err == ""


def test_fields_that_topics_do_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topics = tmp_path / "topics"
    topics.write_text("<top><num>1<title>ant<desc>bee</top>\n<top><num>2<title>cat</top>\n")
    assert read_topics(str(topics), None, ("title", "desc")) == {"1": "ant bee", "2": "cat"}
    assert "1 topics without <desc> (the first in line 2)" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"the topic has no <narr>; it has title, desc"):
        read_topics(str(topics), None, ("narr",))
    topics.write_text('<topics><topic number="7">\n ant &amp; bee\n</topic></topics>\n')
    assert read_topics(str(topics)) == {"7": "ant & bee"}
    topics.write_text("<top><num>1</num></top>\n")
    with pytest.raises(DataError, match=r"the topic has no <title>; it has nothing else"):
        read_topics(str(topics))
    topics.write_text("1\tant\n")
    with pytest.raises(ConfigError, match="this file is none"):
        read_topics(str(topics), None, ("title",))
