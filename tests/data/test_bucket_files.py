"""Files of a bucket are read and written like local ones."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from rankcli.data.documents import open_store
from rankcli.data.files import check_output, exists, replacing, sha256_file
from rankcli.data.folds import read_ids
from rankcli.data.formats import detect, read_queries
from rankcli.data.trec import read_qrels, read_run, write_run
from rankcli.data.triple_files import read_id_triples
from rankcli.errors import ConfigError, DataError, MissingError
from rankcli.storage.gcs import fetch_uri, list_uri, upload_uri


@pytest.fixture
def put(gcs: Any, tmp_path: Path) -> Any:
    def upload(name: str, content: str | bytes) -> str:
        (tmp_path / "content").write_bytes(content if isinstance(content, bytes) else content.encode())
        upload_uri(tmp_path / "content", f"{gcs.uri}/{name}")
        return f"{gcs.uri}/{name}"

    return upload


def test_every_kind_of_input_is_read_gzipped_or_plain(put: Any, tmp_path: Path) -> None:
    docs = b'{"_id": "d1", "text": "red"}\n{"_id": "d2", "text": "blue"}\n'
    for name, content in (("docs", docs), ("docs.gz", gzip.compress(docs))):
        uri = put(name, content)
        assert detect(uri) == "jsonl" and sha256_file(uri) == hashlib.sha256(content).hexdigest()
        store = open_store(uri, None, tmp_path / "stores")
        assert store.source == uri and store.texts(["d2", "d1"]) == ["blue", "red"]
    assert read_queries(put("queries.tsv", "q1\tred\n")) == {"q1": "red"}
    assert read_qrels(put("qrels", "q1 0 d1 2\n")) == {"q1": {"d1": 2}}
    assert dict(read_run(put("run", "q1 Q0 d1 1 2.5 x\n"))) == {"q1": {"d1": 2.5}}
    assert read_ids(put("ids", "q2\nq1\n")) == ("q1", "q2")
    assert [*read_id_triples(put("triples", "q1\td1\td2\n"))] == [(["q1"], ["d1"], ["d2"])]


@pytest.mark.parametrize(
    ("read", "content", "line", "what"),
    [
        (read_qrels, "q1 0 d1 1\nq1 0 d2\n", 2, "3 columns"),
        (read_run, "q1 Q0 d1 1 nan x\n", 1, "not a finite"),
        (read_queries, '{"_id": "q1", "text": "x"}\n{"_id": "q2"}\n', 2, "the key 'text' is missing"),
        (read_ids, "q1\n\nq2\n", 2, "a blank line"),
        (lambda path: [*read_id_triples(path)], "q1\td1\n", 1, "2 columns"),
        (read_qrels, gzip.compress(b"q1 0 d1 1\n", mtime=0)[:-6], 2, "the gzip data is damaged"),
    ],
)
def test_errors_name_the_uri_and_the_line(read: Any, content: str | bytes, line: int, what: str, put: Any) -> None:
    uri = put("bad file", content)
    with pytest.raises(DataError, match=what) as bad:
        read(uri)
    assert bad.value.where == f"{uri}:{line}"


def test_warnings_name_the_uri(put: Any, capsys: pytest.CaptureFixture[str]) -> None:
    uri = put("ids", "q1\nq1\n")
    read_ids(uri)
    assert f"warning: {uri}: 1 repeated lines ignored" in capsys.readouterr().err


def test_an_output_is_uploaded_whole_or_not_at_all(gcs: Any, tmp_path: Path) -> None:
    uri = f"{gcs.uri}/out/ü.run"
    write_run(uri, {"q1": {"d1": 2.5}})
    assert fetch_uri(uri).read_text() == "q1 Q0 d1 1 2.5 rankcli\n"
    with pytest.raises(RuntimeError), replacing(uri) as stream:
        stream.write("half")
        raise RuntimeError
    assert fetch_uri(uri).read_text() == "q1 Q0 d1 1 2.5 rankcli\n"
    assert list_uri(gcs.uri) == ["out/ü.run"]
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["stage"]


def test_what_cannot_be_written_is_refused_before(put: Any, gcs: Any, tmp_path: Path) -> None:
    put("folder/x", "")
    check_output(f"{gcs.uri}/folder/y")
    check_output(f"{gcs.uri}/folder/x")
    for uri in (f"{gcs.uri}/folder", f"{gcs.uri}/new/", gcs.uri):
        with pytest.raises(ConfigError, match="this is a folder"):
            check_output(uri)
    with pytest.raises(MissingError, match="no such bucket"):
        check_output("gs://no-such-bucket-x/y")
    assert exists(f"{gcs.uri}/folder/x") and not exists(f"{gcs.uri}/folder/y")
    assert exists(tmp_path) and not exists(tmp_path / "none")
