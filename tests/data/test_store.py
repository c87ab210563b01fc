from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import sqlite3
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from rankcli.data import store as module
from rankcli.data.documents import open_store
from rankcli.data.store import DocStore, store_of
from rankcli.errors import ConfigError, DataError, StorageError
from rankcli.shapes import Record

DOCS = [("d2", "Two", "second"), ("d1", "", "first"), ("long", "", "word " * 300 + "é\nend")]
TEXTS = {"d2": "Two second", "d1": "first", "long": "word " * 300 + "é\nend"}


def jsonl(rows) -> bytes:
    return "".join(
        json.dumps({"_id": docid, "title": title, "text": text}) + "\n" for docid, title, text in rows
    ).encode()


def put(folder: Path, rows, name: str = "docs.jsonl") -> Path:
    path = folder / name
    path.write_bytes(jsonl(rows))
    return path


@pytest.fixture
def docs(tmp_path: Path) -> DocStore:
    return open_store(put(tmp_path, DOCS), None, tmp_path / "scratch")


def test_reads_by_id_in_the_order_asked_and_iterates_in_file_order(docs: DocStore) -> None:
    assert len(docs) == 3
    assert docs.texts(["long", "d1", "long"]) == [TEXTS["long"], "first", TEXTS["long"]]
    assert list(docs.iterate()) == list(TEXTS.items())
    assert "d1" in docs and "D1" not in docs and "\ud800" not in docs and 1 not in docs
    assert docs.known(["x", "d1", "d1", "\udfff"]) == {"d1"}
    assert docs.absent(["x", "d1", *map(str, range(1200)), "long"]) == {"x", *map(str, range(1200))}


@pytest.mark.parametrize("kept", [0, 3])
def test_an_ordinal_is_the_place_of_a_document_in_the_file(
    kept: int, docs: DocStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDS_KEPT", kept)
    assert docs.ordinals(["d1", "nope", "d2", "d1", "long", "\udfff"]).tolist() == [1, -1, 0, 1, 2, -1]
    assert [docs.id_at(n) for n in range(3)] == docs.ids_at(range(3)) == list(TEXTS)
    assert [each.text for each in docs.records_at(np.array([2, 0, 2]))] == [TEXTS["long"], TEXTS["d2"], TEXTS["long"]]
    for beyond in (3, -1):
        with pytest.raises(IndexError, match=f"no document {beyond} of 3"):
            docs.id_at(beyond)


def test_ordinals_have_no_gaps_where_repeats_were(tmp_path: Path) -> None:
    docs = open_store(put(tmp_path, [DOCS[0], DOCS[0], DOCS[1], DOCS[0], DOCS[2], DOCS[1]]), None, tmp_path / "scratch")
    assert docs.ids_at(range(3)) == ["d2", "d1", "long"] and docs.ordinals(["long", "d2"]).tolist() == [2, 0]
    assert list(docs.iterate()) == list(TEXTS.items()) and docs.texts(["d1"]) == ["first"]


def test_the_order_of_the_documents_has_a_hash_of_its_own(tmp_path: Path) -> None:
    one, other, same = (
        open_store(put(tmp_path, rows), None, tmp_path / str(n)) for n, rows in enumerate((DOCS, DOCS[::-1], DOCS))
    )
    assert one.fingerprint == other.fingerprint and one.order != other.order and one.order == same.order


def test_titles_have_a_hash_of_their_own_and_the_texts_hash_does_not_know_them(tmp_path: Path) -> None:
    moved = [("d2", "Two second", ""), *DOCS[1:]]
    plain = [("d2", "", "Two second"), *DOCS[1:]]
    cases = (DOCS, moved, plain, DOCS[::-1], [*DOCS, DOCS[0]])
    one, other, none, turned, repeated = (
        open_store(put(tmp_path, rows), None, tmp_path / str(n)) for n, rows in enumerate(cases)
    )
    assert one.fingerprint == other.fingerprint == none.fingerprint
    assert one.titles == turned.titles == repeated.titles and none.titles == "" and one.titles != other.titles != ""
    assert one.records(["d1", "d2"]) == [Record("d1", "first"), Record("d2", "Two second", 3)]
    assert other.records_at([0]) == [Record("d2", "Two second", 10)]


def test_reads_more_ids_than_one_statement_takes(tmp_path: Path) -> None:
    many = {f"d{n}": f"text {n}" for n in range(1203)}
    docs = store_of(many, "made", tmp_path)
    wanted = random.Random(0).sample(sorted(many), 1203)
    assert docs.texts(wanted) == [many[docid] for docid in wanted]


def test_an_unknown_document_is_named(docs: DocStore) -> None:
    with pytest.raises(DataError, match="document 'nope' is not in the collection"):
        docs.texts(["d1", "nope"])


def test_an_unchanged_collection_is_parsed_once(tmp_path: Path, monkeypatch) -> None:
    first = open_store(put(tmp_path, DOCS), None, tmp_path / "scratch")
    monkeypatch.setattr(module, "_build", None)
    again = open_store(put(tmp_path, DOCS, "other-name"), None, tmp_path / "scratch")
    assert again.path == first.path
    monkeypatch.undo()
    changed = open_store(put(tmp_path, [*DOCS, ("d4", "", "x")]), None, tmp_path / "scratch")
    assert changed.path != first.path and len(changed) == 4


def test_the_fingerprint_is_of_the_content_not_its_order_or_file(tmp_path: Path) -> None:
    prints = [
        open_store(put(tmp_path, rows), None, tmp_path / str(n)).fingerprint
        for n, rows in enumerate((DOCS, DOCS[::-1], [*DOCS, DOCS[0]], [*DOCS[:2], ("long", "", "other")], DOCS[:2]))
    ]
    zipped = tmp_path / "docs.gz"
    zipped.write_bytes(gzip.compress(jsonl(DOCS)))
    prints.append(open_store(zipped, None, tmp_path / "zipped").fingerprint)
    assert prints[0] == prints[1] == prints[2] == prints[5]
    assert len({prints[0], prints[3], prints[4]}) == 3
    total = sum(int(hashlib.sha256(f"{docid}\0{text}".encode()).hexdigest(), 16) for docid, text in TEXTS.items())
    assert prints[0] == f"{total % 2**256:064x}"


def test_a_repeated_document_counts_once_with_a_warning_each_time(tmp_path: Path, capsys) -> None:
    path = put(tmp_path, [*DOCS, DOCS[1], DOCS[2], DOCS[1]])
    for _ in range(2):
        docs = open_store(path, None, tmp_path / "scratch")
        assert len(docs) == 3 and [docid for docid, _ in docs.iterate()] == ["d2", "d1", "long"]
        assert "3 documents are there more than once" in capsys.readouterr().err


def test_a_document_with_two_texts_names_both_lines_and_leaves_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, [*DOCS, ("d1", "", "other")])
    with pytest.raises(DataError, match="'d1' has another text than in line 2") as caught:
        open_store(path, None, tmp_path / "scratch")
    assert caught.value.where == f"{path}:4"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_empty_documents_are_counted(tmp_path: Path, capsys) -> None:
    path = put(tmp_path, [*DOCS, ("e1", "", ""), ("e2", " ", "")])
    docs = open_store(path, None, tmp_path / "scratch")
    assert docs.empty == 2 and f"{path}: 2 of 5 documents are empty" in capsys.readouterr().err


def test_a_missing_file_is_a_usage_error_and_an_empty_one_bad_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        open_store(tmp_path / "none", None, tmp_path)
    with pytest.raises(ConfigError, match="there are no documents here"):
        open_store(tmp_path, None, tmp_path)
    with pytest.raises(DataError, match="empty"):
        open_store(put(tmp_path, []), None, tmp_path)


def test_survives_pickling_and_threads(docs: DocStore) -> None:
    copy = pickle.loads(pickle.dumps(docs))
    assert copy.texts(["d1"]) == ["first"] and copy.fingerprint == docs.fingerprint
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(docs.texts(["d1", "d2"])))
    thread.start()
    thread.join()
    assert found == ["first", "Two second"]


def test_threads_may_take_turns_with_one_iterator(tmp_path: Path) -> None:
    many = {f"d{n}": f"text {n}" for n in range(1203)}
    rows = store_of(many, "made", tmp_path).iterate()
    found = [next(rows)]
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.extend(islice(rows, 600)))
        thread.start()
        thread.join()
    assert [*found, *rows] == list(many.items())


def test_a_damaged_text_is_a_storage_error(docs: DocStore) -> None:
    with sqlite3.connect(docs.path) as db:
        db.execute("UPDATE docs SET text = ? WHERE id = 'long'", (b"x" * 30,))
    db.close()
    broken = DocStore(docs.path, "x")
    for read in (lambda: broken.texts(["long"]), lambda: list(broken.iterate())):
        with pytest.raises(StorageError, match="delete this file"):
            read()


def _build_and_read(path: Path, scratch: Path, results) -> None:
    results.put((os.getpid(), open_store(path, None, scratch).texts(["d2", "long"])))


def test_several_processes_build_and_read_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    path = put(tmp_path, DOCS)
    workers = [context.Process(target=_build_and_read, args=(path, tmp_path / "scratch", results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60)[1] for _ in workers]
    for worker in workers:
        worker.join()
    assert found == [["Two second", TEXTS["long"]]] * 3
    assert sorted(file.suffix for file in (tmp_path / "scratch").iterdir()) == [".json", ".sqlite"]


def test_a_forked_child_reads_with_its_own_connection(docs: DocStore) -> None:
    parents = docs._db()
    child = os.fork()
    if child == 0:
        os._exit(0 if docs.texts(["d2"]) == ["Two second"] and docs._db() is not parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert docs.texts(["d1"]) == ["first"]


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:2000], lambda content: b"x" * len(content)]
)
def test_a_damaged_store_is_a_storage_error_that_says_what_to_delete(docs: DocStore, damage) -> None:
    docs.path.write_bytes(damage(docs.path.read_bytes()))
    with pytest.raises(StorageError, match="delete this file"):
        DocStore(docs.path, "x").texts(["d1"])
