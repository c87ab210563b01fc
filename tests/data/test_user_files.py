"""Files as users had them: read as they mean it, or refused with a remedy that can be followed."""

from __future__ import annotations

import bz2
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from rankcli.data.folds import kfold
from rankcli.data.formats import DOCUMENT_READERS, detect, read_queries
from rankcli.data.joins import check_relevant
from rankcli.data.lines import read_rows
from rankcli.data.sgml import read_topics, read_trec_docs
from rankcli.data.trec import read_qrels, read_run
from rankcli.errors import ConfigError, DataError


def put(folder: Path, content: str | bytes) -> Path:
    (folder / "file").write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / "file"


@pytest.mark.parametrize("grade", ["1001", "-1001", "5000", "999999999"])
def test_a_grade_that_trec_eval_cannot_use_is_refused_where_it_is_read(grade: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"the grade {grade} is not within -1000 to 1000") as caught:
        read_qrels(put(tmp_path, f"q1 0 d1 1000\nq1 0 d2 {grade}\n"))
    assert caught.value.where.endswith("file:2")


@pytest.mark.parametrize("score", ["1e39", "1e400", "-1e400", "9" * 400])
def test_a_score_beyond_float32_is_refused_where_it_is_read(score: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is out of the range of float32") as caught:
        read_run(put(tmp_path, f"q1 Q0 d0 1 3e38 t\nq1 Q0 d1 2 {score} t\n"))
    assert caught.value.where.endswith("file:2")


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("p < .05 and kiwi > fig", "p < .05 and kiwi > fig"),
        ("a <b>bold</b> kiwi", "a bold kiwi"),
        ("1 <2> kiwi <!-- gone --> <?xml gone?>", "1 <2> kiwi"),
        ("x<=3 kiwi y>=4", "x<=3 kiwi y>=4"),
    ],
)
def test_only_tags_are_removed_from_documents(markup: str, text: str, tmp_path: Path) -> None:
    path = put(tmp_path, f"<DOC><DOCNO>d1</DOCNO><TEXT>{markup}</TEXT></DOC>")
    assert [row.text for row in read_trec_docs(path)] == [text]


def test_a_smaller_sign_in_a_topic_is_text(tmp_path: Path) -> None:
    path = put(tmp_path, "<top><num> 1 <title> p < .05, n <5 and kiwi > fig <desc> no </top>")
    assert next(iter(read_topics(path))).text == "p < .05, n <5 and kiwi > fig"


def test_a_header_of_a_table_is_no_document_and_no_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path, "id\ttext\nd1\tapple pie\nid\ttext of a document\n")
    assert [row.id for row in DOCUMENT_READERS["tsv"](path)] == ["d1", "id"]
    assert capsys.readouterr().err == f"warning: {path}:1: skipped: a header (id, text)\n"
    assert read_queries(put(tmp_path, "qid\tquery\n1\tapple\n")) == {"1": "apple"}
    assert read_queries(put(tmp_path, "1\ttext\n2\tquery\n")) == {"1": "text", "2": "query"}


def test_comments_are_left_out_as_by_trec_eval_10(tmp_path: Path) -> None:
    assert read_qrels(put(tmp_path, "# made by hand\nq1 0 d1 1\n#q2 0 d1 2\n")) == {"q1": {"d1": 1}, "#q2": {"d1": 2}}
    assert read_run(put(tmp_path, "# a run\nq1 Q0 d1 1 2.5 t\n# end\n"))["q1"] == {"d1": 2.5}


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        (bz2.compress(b"text"), "a bzip2 file", "bunzip2"),
        (lzma.compress(b"text"), "an xz file", "unxz"),
        (b"\x28\xb5\x2f\xfdxyz", "a Zstandard file", "unzstd"),
        (b"PAR1xyz", "a Parquet file", "read_parquet"),
        ("text".encode("utf-16"), "text in UTF-16", "iconv -f UTF-16"),
    ],
)
def test_a_file_of_another_kind_is_named_with_its_remedy(content: bytes, what: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=what) as caught:
        next(read_rows(put(tmp_path, content)))
    assert fix in caught.value.fix


def test_a_zip_archive_and_a_json_array_are_named_with_their_remedies(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("docs.jsonl", "{}")
        archive.writestr("queries.jsonl", "{}")
    with pytest.raises(DataError, match="a zip archive of 2 files") as caught:
        detect(put(tmp_path, packed.getvalue()))
    assert caught.value.fix == f"name one: {tmp_path}/file/docs.jsonl"
    with pytest.raises(DataError, match="a JSON array") as caught:
        detect(put(tmp_path, '[{"_id": "d1", "text": "apple"}]'))
    assert "jq -c" in caught.value.fix


def test_remedies_can_be_followed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 judged queries") as few:
        kfold(["q1"], 3, 0, 1)
    with pytest.raises(ConfigError, match="4 judged queries") as many:
        kfold(["q1", "q2", "q3", "q4"], 5, 0, 1)
    assert few.value.fix.startswith("judge more queries") and many.value.fix == "lower it"
    for grade, level, fix in ((0, 1, "add judgments of grade 1"), (1, 2, "lower data.relevance_level")):
        with pytest.raises(DataError) as none:
            check_relevant({"q1": {"d1": grade}}, ["q1"], level, "qrels.txt")
        assert none.value.fix.startswith(fix)
    with pytest.raises(DataError, match="a blank line before the first record"):
        list(read_rows(put(tmp_path, "\nd1\tapple\n")))
    with pytest.raises(DataError, match="a blank line between records"):
        list(read_rows(put(tmp_path, "d0\tfig\n\nd1\tapple\n")))


XML = """<?xml version="1.0" encoding="UTF-8"?>
<!-- a track -->
<topics task="a track">
  <topic number="1" type="x">
    <query>apple &amp; fig</query>
    <question>what is an apple</question>
  </topic>
  <topic number='2'><title>kiwi</title></topic>
</topics>
"""


def test_topics_of_todays_trec_are_read(tmp_path: Path) -> None:
    assert read_queries(put(tmp_path, XML)) == {"1": "apple & fig", "2": "kiwi"}
    wrapped = '<topics>\n<top lang="en">\n<num>1</num>\n<title>apple</title>\n</top>\n</topics>\n'
    assert read_queries(put(tmp_path, wrapped)) == {"1": "apple"}
    with pytest.raises(DataError, match=r"text outside <top>: 'fig'"):
        read_queries(put(tmp_path, f"{wrapped}fig\n"))


def test_other_keys_of_jsonl_are_read(tmp_path: Path) -> None:
    assert read_queries(put(tmp_path, '{"qid": "1", "query": "apple"}\n')) == {"1": "apple"}
    path = put(tmp_path, '{"id": "d1", "title": "a", "contents": "pie"}\n')
    assert [(row.id, row.text) for row in DOCUMENT_READERS["jsonl"](path)] == [("d1", "a pie")]


@pytest.mark.parametrize(
    ("read", "content", "fix"),
    [
        (read_run, "q1\td1\t1.5\n", "a run of three columns has query, document and rank, a whole number"),
        (read_qrels, "q1\td1\t1\n", "put the header of BEIR in front: query-id corpus-id score"),
        (read_queries, "1\tan apple\tred\n", "put one tab between id and text"),
        (read_queries, "d1\texample\ttitle\tapple\n", "name the columns in a first line: id, title, text"),
    ],
)
def test_other_columns_are_refused_with_a_remedy(read: object, content: str, fix: str, tmp_path: Path) -> None:
    assert callable(read)
    with pytest.raises(DataError) as caught:
        read(put(tmp_path, content))
    assert fix in caught.value.fix


def test_other_names_of_the_header_of_qrels_are_read(tmp_path: Path) -> None:
    assert read_qrels(put(tmp_path, "query_id\tdoc_id\trelevance\nq1\td1\t1\n")) == {"q1": {"d1": 1}}
