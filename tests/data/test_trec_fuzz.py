"""Judgments and runs of any content, as hypothesis makes it up."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.data.trec import ranking, read_qrels, read_run, write_run
from rankcli.errors import DataError


def put(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


IDS = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
RUNS = st.dictionaries(
    IDS, st.dictionaries(IDS, st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1), min_size=1
)
NASTY = st.lists(
    st.sampled_from(
        [b"q1", b"d1", b"1", b" ", b"\t", b"\n", b"\r", b"nan", b"-1e9", b"\xff", b"\0", b"\x1f\x8b", b"Q0"]
    ),
    max_size=40,
)


def check_roundtrip(run) -> None:
    out = io.StringIO()
    write_run(out, run)
    lines = out.getvalue()
    assert all(len(line.split(" ")) == 6 for line in lines.split("\n")[:-1])
    again = {}
    for line in lines.split("\n")[:-1]:
        qid, _, docid, _, score, _ = line.split(" ")
        again.setdefault(qid, {})[docid] = float(np.float32(float(score)))
    assert again == run


def check_fuzz(folder: Path, content: bytes) -> None:
    for read in (read_qrels, read_run):
        try:
            read(put(folder, content))
        except DataError as error:
            assert error.where.startswith(str(folder))


FEW = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(RUNS)
def test_what_is_written_parses_back_to_the_same_float32(run) -> None:
    check_roundtrip(run)


@FEW
@given(st.binary(max_size=200) | NASTY.map(b"".join))
def test_no_bytes_crash_a_reader(tmp_path: Path, content: bytes) -> None:
    check_fuzz(tmp_path, content)


@FEW
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"), st.integers(0, 2)), min_size=1))
def test_lines_in_any_order_are_read_as_into_dicts(tmp_path: Path, rows) -> None:
    path = put(tmp_path, "".join(f"{qid} Q0 {docid} 1 {score} t\n" for qid, docid, score in rows).encode())
    plain: dict[str, dict[str, float]] = {}
    for number, (qid, docid, score) in enumerate(rows, 1):
        if plain.setdefault(qid, {}).setdefault(docid, score) != score:
            with pytest.raises(DataError) as caught:
                read_run(path)
            assert caught.value.where == f"{path}:{number}"
            return
    run = read_run(path)
    assert run == plain and list(run) == list(plain) and all(tuple(run[qid]) == ranking(plain[qid]) for qid in plain)
    depths = {"a": 1, "b": 2, "e": 1}
    order = [qid for qid, _ in itertools.groupby(qid for qid, _, _ in rows)]
    together = all(order.count(qid) <= 1 for qid in depths)
    for qid, scores in read_run(path, depths).items():
        assert tuple(scores) == tuple(run[qid])[: depths.get(qid) if together else None]
        assert scores == {docid: run[qid][docid] for docid in scores}


@pytest.mark.slow
@MANY
@given(RUNS)
def test_what_is_written_parses_back_often(run) -> None:
    check_roundtrip(run)


@pytest.mark.slow
@MANY
@given(st.binary(max_size=400) | NASTY.map(b"".join) | NASTY.map(b" ".join))
def test_no_bytes_crash_a_reader_often(tmp_path: Path, content: bytes) -> None:
    check_fuzz(tmp_path, content)
