from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.data.archives import MAGIC
from rankcli.data.formats import DOCUMENT_READERS, QUERY_READERS, detect, read_queries
from rankcli.data.lines import Row, titled
from rankcli.data.sgml import read_topics, read_trec_docs
from rankcli.data.texts import read_jsonl, read_table, read_tsv
from rankcli.errors import ConfigError, DataError


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_jsonl_puts_the_title_before_the_text(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        '{"_id": "a", "title": "T", "text": "x\\ny"}\n{"text": "z", "_id": "b"}\n{"_id": "c", "title": "", "text": ""}',
    )
    assert list(read_jsonl(path)) == [Row(1, "a", "T x\ny", 1), Row(2, "b", "z"), Row(3, "c", "")]


def test_a_title_is_the_beginning_of_a_text_without_the_spaces_around_it(tmp_path: Path) -> None:
    made = [titled(1, "a", *each) for each in ((" T u ", " x "), ("", " x"), (" ", "x"), ("T", ""))]
    assert [(row.text, row.title) for row in made] == [("T u   x", 3), ("x", 0), ("x", 0), ("T", 1)]
    columns = "title\tid\theadline\ttext\nT\ta\tH\tx y\n\tb\t\tz\n"
    assert list(read_tsv(put(tmp_path, columns))) == [Row(2, "a", "T H x y", 3), Row(3, "b", "z")]
    marco = "D1\thttps://a.org\tT u\tx\n"
    assert list(read_tsv(put(tmp_path, marco))) == [Row(1, "D1", "T u x", 3)]


def test_tsv_is_id_and_text(tmp_path: Path) -> None:
    assert list(read_tsv(put(tmp_path, "7\tsome words\r\n8\t\n"))) == [Row(1, "7", "some words"), Row(2, "8", "")]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ('{"_id": "a", "text": "x"}\n{"key": "b", "text": "x"}', 2, "'_id' is missing"),
        ('{"_id": "a", "txt": "x"}', 1, "'text' is missing"),
        ('{"_id": 1, "text": "x"}', 1, "'_id' is not a string"),
        ('{"_id": "a", "text": null}', 1, "'text' is not a string"),
        ('{"_id": "a", "text": "x"', 1, "not a JSON object"),
        ('["a", "x"]', 1, "not a JSON object"),
        ("[" * 100_000, 1, "not a JSON object"),
        ('{"_id": "a", "text": "x", "n": ' + "9" * 5000 + "}", 1, "not a JSON object"),
        ('{"_id": "a b", "text": "x"}', 1, "contains ' '"),
        ('{"_id": "a\\u0000", "text": "x"}', 1, "contains"),
        ('{"_id": "\\ud800", "text": "x"}', 1, "contains"),
        ('{"_id": "", "text": "x"}', 1, "is empty"),
        ('{"_id": "a", "text": "x \\udc00"}', 1, "lone surrogate"),
        ('{"_id": "a", "text": "x"}\n\n{"_id": "b", "text": "x"}', 2, "blank line"),
    ],
)
def test_malformed_jsonl_is_refused_with_file_and_line(tmp_path: Path, content: str, line: int, said: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError, match=said) as caught:
        list(read_jsonl(path))
    assert caught.value.where == f"{path}:{line}"


@pytest.mark.parametrize("row", ["only-an-id", "a\tb\tc", "\ttext", "a b\ttext"])
def test_malformed_tsv_is_refused_with_file_and_line(tmp_path: Path, row: str) -> None:
    path = put(tmp_path, f"1\tgood\n{row}\n")
    with pytest.raises(DataError) as caught:
        list(read_tsv(path))
    assert caught.value.where == f"{path}:2"


NIST = """<top>
<num> Number: 301
<title> International
  Organized Crime

<desc> Description:
Identify organizations &amp; more.
</top>

<top><num>x-2</num><title>Topic: Law &amp; order</title></top>
"""


def test_topics_with_and_without_end_tags(tmp_path: Path) -> None:
    assert list(read_topics(put(tmp_path, NIST))) == [
        Row(1, "301", "International Organized Crime"),
        Row(10, "x-2", "Law & order"),
    ]


TREC_DOCS = """<DOC>
<DOCNO> FT-1 </DOCNO>
<DATE>1991</DATE>
<HEADLINE>Big news</HEADLINE>
<TEXT>
First <b>part</b> &lt;1&gt;
</TEXT>
<TEXT>second</TEXT>
</DOC>
<DOC><DOCNO>2</DOCNO><DOCHDR>http://x</DOCHDR>no text tag</DOC><doc><docno>3</docno></doc>
"""


def test_trec_documents(tmp_path: Path) -> None:
    found = list(read_trec_docs(put(tmp_path, TREC_DOCS)))
    titled = Row(1, "FT-1", "Big news First part <1> second", 8)
    assert found == [titled, Row(10, "2", "no text tag"), Row(10, "3", "")]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("<DOC>\n<DOCNO>1</DOCNO>\n", 1, "not closed"),
        ("<DOC>\n<DOC>\n", 2, "counterpart"),
        ("</DOC>\n", 1, "counterpart"),
        ("<DOC>\ntext</DOC>\n", 1, "no <DOCNO>"),
        ("\nwords\n<DOC>", 2, "outside"),
        ("<DOC>\n<DOCNO>a b</DOCNO></DOC>", 1, "contains"),
        ("\n\n", 1, "no <DOC>"),
    ],
)
def test_malformed_trec_documents_are_refused(tmp_path: Path, content: str, line: int, said: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError, match=said) as caught:
        list(read_trec_docs(path))
    assert caught.value.where == f"{path}:{line}"


def test_an_empty_topic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no <num>"):
        list(read_topics(put(tmp_path, "<top></top>")))


@pytest.mark.parametrize("missing", ["num", "title"])
def test_topics_need_number_and_title(tmp_path: Path, missing: str) -> None:
    content = NIST.replace(f"<{missing}> ", "")
    with pytest.raises(DataError, match=f"no <{missing}>"):
        list(read_topics(put(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ('\n {"_id": "1", "text": "x"}', "jsonl"),
        ("1\tx", "tsv"),
        ("\n<top>", "trec"),
        (gzip.compress(b"1\tx", mtime=0), "tsv"),
    ],
)
def test_the_format_is_seen_from_the_content(tmp_path: Path, content: str | bytes, format: str) -> None:
    assert detect(put(tmp_path, content)) == format


def test_what_looks_like_no_format_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "1 x\n")
    with pytest.raises(DataError, match="neither JSONL, TSV nor TREC") as caught:
        detect(path)
    assert caught.value.where == f"{path}:1"
    with pytest.raises(DataError, match="empty"):
        detect(put(tmp_path, ""))


def test_a_pipe_needs_the_format_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pipe"):
        detect("/dev/null")


def test_the_format_option_overrides_what_is_seen(tmp_path: Path) -> None:
    path = put(tmp_path, '{"_id":\t"x"}\n')
    assert read_queries(path, "tsv") == {'{"_id":': '"x"}'}


def test_queries_of_every_format(tmp_path: Path) -> None:
    assert read_queries(put(tmp_path, NIST))["301"] == "International Organized Crime"
    assert read_queries(put(tmp_path, "b\tx\na\ty\n")) == {"b": "x", "a": "y"}


def test_repeated_and_empty_queries_are_counted(tmp_path: Path, capsys) -> None:
    path = put(tmp_path, "a\tx\na\tx\nb\t\nb\t\n")
    assert read_queries(path) == {"a": "x", "b": ""}
    assert capsys.readouterr().err.splitlines() == [
        f"warning: {path}: 2 repeated lines ignored (the first in line 2)",
        f"warning: {path}: 1 empty queries (the first in line 3)",
    ]


def test_a_query_with_two_texts_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a\tx\nb\ty\na\tz\n")
    with pytest.raises(DataError, match="'a' is there twice") as caught:
        read_queries(path)
    assert caught.value.where == f"{path}:3"


PIECES = [
    "<DOC>",
    "</DOC>",
    "<DOCNO>",
    "</DOCNO>",
    "<top>",
    "</top>",
    "<num>",
    "<title>",
    "<TEXT>",
    "PAR1",
    "a",
    " ",
    "\n",
    "\t",
    "{",
    '"_id"',
    "&#0;",
    "<",
]


def check_fuzz(folder: Path, content: bytes) -> None:
    path = put(folder, content)
    for reader in (*DOCUMENT_READERS.values(), *QUERY_READERS.values()):
        try:
            for row in reader(path):
                json.dumps(row).encode()
        except DataError as error:
            assert error.where.startswith(str(path))
            whole = reader is read_table or content.startswith(MAGIC)  # files without lines
            assert whole or error.where.startswith(f"{path}:")


QUIET = [HealthCheck.function_scoped_fixture]


@settings(max_examples=50, deadline=None, suppress_health_check=QUIET)
@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(lambda parts: "".join(parts).encode())
)
def test_no_bytes_crash_a_reader(tmp_path: Path, content: bytes) -> None:
    check_fuzz(tmp_path, content)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=QUIET)
@given(
    st.binary(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=60).map(lambda parts: "".join(parts).encode())
)
def test_no_bytes_crash_a_reader_often(tmp_path: Path, content: bytes) -> None:
    check_fuzz(tmp_path, content)
