"""Tables in Parquet and Arrow files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import ipc, parquet

from rankcli.data import tables
from rankcli.data.formats import detect, read_queries
from rankcli.data.layouts import layout_of
from rankcli.data.lines import Row
from rankcli.data.texts import read_table
from rankcli.data.topics import read_judgments
from rankcli.errors import DataError, MissingError

ROWS: list[dict[str, Any]] = [{"id": 7, "title": "T", "contents": "one"}, {"id": 9, "title": None, "contents": "two"}]


def parquet_of(path: Path, rows: list[dict[str, Any]]) -> str:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


def arrow_of(path: Path, rows: list[dict[str, Any]], kind: Any) -> str:
    table = pyarrow.Table.from_pylist(rows)
    with kind(path, table.schema) as writer:
        writer.write_table(table)
    return str(path)


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_a_table_is_read_as_jsonl_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "docs"
    if kind == "parquet":
        parquet_of(path, ROWS)
    else:
        arrow_of(path, ROWS, {"file": ipc.new_file, "stream": ipc.new_stream}[kind])
    assert detect(path) == "parquet"
    assert list(read_table(path)) == [Row(1, "7", "T one", 1), Row(2, "9", "two")]
    assert read_queries(path) == {"7": "T one", "9": "two"}


def test_judgments_are_records_in_a_table_or_in_jsonl(tmp_path: Path) -> None:
    rows = [{"query-id": 1, "corpus-id": "d2", "score": 2}, {"query-id": 1, "corpus-id": "d3", "score": 0}]
    wanted = {"1": {"d2": 2, "d3": 0}}
    assert read_judgments(parquet_of(tmp_path / "qrels", rows)) == wanted
    lines = '{"qid": "1", "docid": "d2", "relevance": 2}\n{"qid": "1", "docid": "d3", "relevance": "0"}\n'
    (tmp_path / "qrels.jsonl").write_text(lines)
    assert read_judgments(str(tmp_path / "qrels.jsonl")) == wanted


def test_judgments_are_known_by_their_columns_where_no_name_tells(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    parquet_of(tmp_path / "corpus.parquet", ROWS)
    parquet_of(tmp_path / "queries.parquet", ROWS)
    rows = [{"query-id": 7, "corpus-id": "9", "score": 1.0}]
    data = {part: parquet_of(tmp_path / "data" / f"{part}-0.parquet", rows) for part in ("train", "test")}
    (tmp_path / "data" / "dev.jsonl").write_text('{"query-id": "7", "corpus-id": "9", "score": 1}\n')
    (tmp_path / "cache-1f.arrow").write_bytes((tmp_path / "corpus.parquet").read_bytes())
    found = layout_of(str(tmp_path)).data
    assert found["docs"] == str(tmp_path / "corpus.parquet")
    assert found["qrels"] == {**data, "dev": str(tmp_path / "data" / "dev.jsonl")}
    assert read_judgments(data["test"]) == {"7": {"9": 1}}


@pytest.mark.parametrize(
    ("row", "number", "said"),
    [
        ({"query-id": 1, "corpus-id": "d2"}, 2, "there is no text or whole number 'score'"),
        ({"query-id": 1, "corpus-id": "d2", "score": 0.5}, 2, "there is no text or whole number 'score'"),
        ({"query-id": 1, "corpus-id": "d2", "score": 5000}, 2, "the grade 5000 is not within -1000 to 1000"),
        ({"query-id": 1, "corpus-id": "a b", "score": 1}, 2, "document id"),
    ],
)
def test_a_malformed_judgment_is_an_error_with_its_row(
    row: dict[str, Any], number: int, said: str, tmp_path: Path
) -> None:
    path = parquet_of(tmp_path / "qrels", [{"query-id": 1, "corpus-id": "d1", "score": 1}, row])
    with pytest.raises(DataError, match=said) as caught:
        read_judgments(path)
    assert caught.value.where == f"{path}:{number}"


def test_a_damaged_or_empty_table_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    parquet_of(path, ROWS)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="the table cannot be read"):
        list(read_table(path))
    parquet.write_table(pyarrow.table({"id": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(DataError, match="the table is empty"):
        list(read_table(path))


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet_of(tmp_path / "docs", ROWS)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(tables.importlib, "import_module", missing)
    with pytest.raises(MissingError, match="pyarrow") as caught:
        list(read_table(path))
    assert caught.value.fix == "pip install pyarrow" and importlib.import_module is missing
