from __future__ import annotations

import gzip
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from rankcli.data import triple_files
from rankcli.data import triples as module
from rankcli.data.store import DocStore, store_of
from rankcli.data.triple_files import open_triples, read_id_triples
from rankcli.data.triples import LineBlock, Triples
from rankcli.errors import DataError, StorageError

DOCIDS = ("p1", "p2", "n1", "n2", "a", "b", "c")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def docs(tmp_path: Path) -> DocStore:
    return store_of({docid: f"text of {docid}" for docid in DOCIDS}, "docs", tmp_path / "stores")


def put(folder: Path, content: str | bytes) -> Path:
    path = folder / "triples"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def opened(folder: Path, content: str | bytes, docs: DocStore) -> Triples:
    return open_triples(put(folder, content), docs, folder / "tables")


def everything(triples: Triples) -> list[tuple[str, ...]]:
    return [triples.line(n) for n in range(len(triples))]


@pytest.mark.parametrize("space", ["\t", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_keep_their_pairs_and_queries_their_lines(space: str, end: str, packed: bool, tmp_path, docs) -> None:
    lines = [("q1", "p1", "n2"), ("q2", "p1", "n1"), ("q1", "p1", "n1"), ("q1", "p2", "n2")]
    content = "".join(space.join(line) + end for line in lines).encode()
    triples = opened(tmp_path, gzip.compress(content) if packed else content, docs)
    assert everything(triples) == lines and triples.qids == ("q1", "q2")
    assert triples.pairs("q1").tolist() == [[0, 3], [0, 2], [1, 3]] and triples.pairs("q2").tolist() == [[0, 2]]
    assert triples.lines(["q1", "elsewhere"]).tolist() == [0, 2, 3] and triples.lines(["q2"]).tolist() == [1]
    assert everything(pickle.loads(pickle.dumps(triples))) == lines


def test_the_table_does_not_depend_on_how_much_is_in_memory_at_once(tmp_path, docs, monkeypatch) -> None:
    draw = random.Random(3)
    lines = [(f"q{draw.randrange(40)}", draw.choice(DOCIDS), draw.choice((*DOCIDS, "gone"))) for _ in range(3000)]
    content = "".join("\t".join(line) + "\n" for line in lines)
    whole = opened(tmp_path, content, docs)
    monkeypatch.setattr(module, "_ROWS", 37)
    monkeypatch.setattr(triple_files, "_BYTES", 100)
    parts = open_triples(put(tmp_path, content), docs, tmp_path / "other")
    for name in (*module.FILES, "meta"):
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes()
    ordinals = {docid: n for n, docid in enumerate(DOCIDS)}
    for qid in whole.qids:
        wanted = [[ordinals[p], ordinals.get(n, -1)] for q, p, n in lines if q == qid]
        assert parts.pairs(qid).tolist() == wanted
    complete = [n for n, line in enumerate(lines) if line[0] in ("q3", "q7") and "gone" not in line]
    assert parts.lines(["q3", "q7"]).tolist() == whole.lines(["q7", "q3"]).tolist() == complete
    both = {(q, d) for q, d, _ in lines} & {(q, d) for q, _, d in lines}
    assert whole.meta["both"] == len(both) and whole.meta["incomplete"] == sum("gone" in line for line in lines)


def test_what_is_odd_is_told_each_time(tmp_path, docs, capsys) -> None:
    for _ in range(2):
        opened(tmp_path, "q a b\nq b gone\nq b c\n", docs)
        err = capsys.readouterr().err
        assert "1 documents are both relevant and not" in err
        assert "1 of 3 lines name a document that is not in the collection, which is left out (e.g. 'gone')" in err


def test_triples_of_another_collection_are_refused(tmp_path, docs) -> None:
    with pytest.raises(DataError, match="no document id is in the collection: here 'x', 'y', ...; there 'n1', 'p1'"):
        opened(tmp_path, "q x y\n", docs)
    assert not list((tmp_path / "tables").iterdir())


def test_a_file_is_read_once_for_a_collection(tmp_path, docs, monkeypatch) -> None:
    first = opened(tmp_path, "q a b\n", docs)
    assert opened(tmp_path, "q a b\nq a c\n", docs).folder != first.folder
    moved = store_of({docid: f"text of {docid}" for docid in reversed(DOCIDS)}, "docs", tmp_path / "stores")
    assert everything(opened(tmp_path, "q a b\n", moved)) == [("q", "a", "b")]
    monkeypatch.setattr(triple_files, "read_id_triples", None)
    again = opened(tmp_path, "q a b\n", docs)
    assert again.folder == first.folder and again.fingerprint == first.fingerprint


@pytest.mark.parametrize("name", [*module.FILES, "meta"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_table_is_a_storage_error(name: str, damage: str, tmp_path, docs) -> None:
    path = opened(tmp_path, "q a b\nq a c\n", docs).folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-1])
    if damage == "gone":
        path.unlink()
    with pytest.raises(StorageError):
        opened(tmp_path, "q a b\nq a c\n", docs)


@pytest.mark.parametrize("plain", [0, 3, 1000])
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("q\ta", "2 columns"),
        ("q\ta\tb\tc", "4 columns"),
        ("what is x\tsome text\tother text", "triples of texts, not of ids"),
        ("q\ta\t", "is empty"),
        ("\ta\tb", "is empty"),
        ("q\ta\u2003x\tb", "contains"),
        ("q\ta\tb\0", "NUL"),
        (f"q\ta\t{'x' * 513}", "longer than 512"),
    ],
)
def test_malformed_triples_are_refused_with_their_line(
    plain: int, row: str, said: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(triple_files, "_BYTES", 64)
    path = put(tmp_path, "q\ta\tb\n" * plain + f"{row}\nq\ta\tb\n")
    with pytest.raises(DataError, match=said) as caught:
        list(read_id_triples(path))
    assert caught.value.where == f"{path}:{plain + 1}"


def test_plain_lines_and_others_may_follow_each_other(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(triple_files, "_BYTES", 16)
    lines = [("q", "a", "b")] * 5 + [("qé", "a", "b"), ("q", "c", "d")] * 4
    path = put(tmp_path, "".join("\t".join(line) + "\n" for line in lines).removesuffix("\n") + "\n\n")
    found = [line for block in read_id_triples(path) for line in zip(*block, strict=True)]
    assert found == lines
    path = put(tmp_path, "q\ta\tb\n\nq\ta\tb\n")
    with pytest.raises(DataError, match="blank line") as caught:
        list(read_id_triples(path))
    assert caught.value.where == f"{path}:2"
    with pytest.raises(DataError, match="the file is empty"):
        list(read_id_triples(put(tmp_path, "")))
    assert list(read_id_triples(put(tmp_path, "q\ta\tb"))) == [LineBlock(["q"], ["a"], ["b"])]


def test_cut_gzip_data_is_an_error_with_its_line(tmp_path: Path) -> None:
    content = "".join(f"q{n * 7919 % 1009}\td{n * 104729 % 10007}\tb\n" for n in range(2000)).encode()
    path = put(tmp_path, gzip.compress(content)[:-2000])
    with pytest.raises(DataError, match="gzip data is damaged or cut off"):
        list(read_id_triples(path))


def test_ids_are_taken_apart_as_python_would(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    rows = [["".join(map(chr, draw.integers(0x21, 0x7F, draw.integers(1, 9)))) for _ in range(3)] for _ in range(500)]
    (block,) = read_id_triples(put(tmp_path, "".join("\t".join(row) + "\n" for row in rows)))
    assert [list(row) for row in zip(*block, strict=True)] == rows
