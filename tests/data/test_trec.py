from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rankcli.data.trec import CompactRun, RunFile, Scattered, ranking, read_qrels, read_run, write_run
from rankcli.errors import ConfigError, DataError

QRELS = b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d3 1\n"
RUN = b"q1 Q0 d1 1 2.5 bm25\nq1 Q0 d2 2 -1e-3 bm25\nq2 Q0 d3 1 7 bm25\n"
PARSED_QRELS = {"q1": {"d1": 2, "d2": 0}, "q2": {"d3": 1}}
PARSED_RUN = {"q1": {"d1": 2.5, "d2": float(np.float32(-1e-3))}, "q2": {"d3": 7.0}}


def put(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_reads_qrels_and_runs(tmp_path: Path) -> None:
    assert read_qrels(put(tmp_path, QRELS)) == PARSED_QRELS
    assert read_run(put(tmp_path, RUN)) == PARSED_RUN


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b" ", b"\t"),
        lambda content: content.replace(b" ", b" \t  "),
        lambda content: content.rstrip(b"\n"),
        lambda content: content + b"\n  \n\r\n",
        gzip.compress,
        lambda content: gzip.compress(content[:20]) + gzip.compress(content[20:]),
    ],
    ids=["crlf", "bom", "tabs", "mixed", "no-end", "blank-end", "gzip", "gzip-members"],
)
def test_other_ways_to_write_the_same(tmp_path: Path, change) -> None:
    assert read_qrels(put(tmp_path, change(QRELS))) == PARSED_QRELS
    assert read_run(put(tmp_path, change(RUN))) == PARSED_RUN


def test_compression_is_seen_from_the_content_not_the_name(tmp_path: Path) -> None:
    assert read_qrels(put(tmp_path, QRELS, "qrels.gz")) == PARSED_QRELS
    assert read_qrels(put(tmp_path, gzip.compress(QRELS), "qrels.txt")) == PARSED_QRELS


def test_reads_beir_qrels_by_their_header(tmp_path: Path) -> None:
    path = put(tmp_path, b"query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n")
    assert read_qrels(path) == PARSED_QRELS


BAD_QRELS = [
    (b"", 1, "empty"),
    (b"\n\n", 1, "empty"),
    (b"query-id\tcorpus-id\tscore\n", 2, "no judgment"),
    (b"q1 0 d1 1\n\nq2 0 d1 1\n", 2, "0 columns"),
    (b"q1 0 d1 1\nq2 0 d1\n", 2, "3 columns, expected 4"),
    (b"q1 0 d1 1 x\n", 1, "5 columns, expected 4"),
    (b"q1 0 d1 1 x y z\n", 1, "7 columns, expected 4"),
    (b"query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", 2, "4 columns, expected 3"),
    (b"q1 0 d1 1.0\n", 1, "not an integer"),
    (b"q1 0 d1 one\n", 1, "not an integer"),
    (b"q1 0 d1 1_0\n", 1, "not an integer"),
    ("q1 0 d1 ١\n".encode(), 1, "not an integer"),
    (b"q1 0 d1 " + b"9" * 5000 + b"\n", 1, "not an integer"),
    (b"q1 0 d1 1\nq1 0 d1 2\n", 2, "twice, with 1 and now with 2"),
    (b"q1 0 d1 1\nq1 0 \xff 2\n", 2, "not UTF-8"),
    (b"q1 0 d\xed\xa0\x80 1\n", 1, "not UTF-8"),
    (b"\xff\xfeq\x001\x00\n", 1, "UTF-16"),
    (b"q1 0 d\x001 1\n", 1, "NUL"),
    (b"q1 0 d\x1b[31m 1\n", 1, "contains"),
    (b"q1\r0 d1 1 1\n", 1, "contains"),
    ("q1 0 d\u00a0x 1\n".encode(), 1, "contains"),
    ("q1 0 d\u2028x 1\n".encode(), 1, "contains"),
    (b"q1 0 " + b"d" * 513 + b" 1\n", 1, "longer than 512 bytes"),
    ("q1 0 {} 1\n".format("é" * 257).encode(), 1, "longer than 512 bytes"),
    (b"q1 0 d1 1\nq1 0 " + b"d" * (10 << 20) + b" 1\n", 2, "longer than 1,048,576 bytes"),
]


@pytest.mark.parametrize(("content", "line", "said"), BAD_QRELS, ids=range(len(BAD_QRELS)))
def test_malformed_qrels_are_refused_with_file_and_line(tmp_path: Path, content: bytes, line: int, said: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError, match=said) as caught:
        read_qrels(path)
    assert caught.value.where == f"{path}:{line}"
    assert "\x1b" not in str(caught.value)


BAD_RUNS = [
    (b"", 1, "empty"),
    (b"q1 Q0 d1 1 2.5\n", 1, "5 columns, expected 6"),
    (b"q1 Q0 d1 1 2.5 my tag\n", 1, "7 columns, expected 6"),
    (b"q1 0 d1 1\n", 1, "4 columns, expected 6"),
    *(
        (b"q1 Q0 d1 1 %s t\n" % bad, 1, "not a finite decimal")
        for bad in (b"nan", b"inf", b"-Infinity", b"1,5", b"0x1p3", b"1_0")
    ),
    (b"q1 Q0 d1 1 1e39 t\n", 1, "range of float32"),
    (b"q1 Q0 d1 1 2.5 t\nq1 Q0 d1 2 2.4 t\n", 2, "twice"),
    (b"q1 Q0 d1 1 2 t\nq2 Q0 d1 1 2 t\nq2 Q0 d\x1b2 2 1 t\n", 3, "contains"),
    (b"q1 Q0 d1 1 2 t\nq\x1b2 Q0 d1 1 2 t\n", 2, "contains"),
]


def one_by_one(path: Path) -> list[tuple[str, dict[str, float]]]:
    return list(RunFile(path))


@pytest.mark.parametrize("read", [read_run, one_by_one])
@pytest.mark.parametrize(("content", "line", "said"), BAD_RUNS, ids=range(len(BAD_RUNS)))
def test_malformed_runs_are_refused_with_file_and_line(
    tmp_path: Path, content: bytes, line: int, said: str, read: Callable[[Path], object]
) -> None:
    path = put(tmp_path, content)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert caught.value.where == f"{path}:{line}"


def test_repeated_lines_count_once_with_a_counted_warning(tmp_path: Path, capsys) -> None:
    path = put(tmp_path, QRELS + b"q1 0 d1 2\nq2 0 d3 1\n")
    assert read_qrels(path) == PARSED_QRELS
    assert capsys.readouterr().err == f"warning: {path}: 2 repeated lines ignored (the first in line 4)\n"


def test_a_run_keeps_the_order_of_the_queries_and_gives_dicts_best_first(tmp_path: Path) -> None:
    run = read_run(put(tmp_path, b"q2 Q0 b 1 .5 t\nq2 Q0 a 2 1 t\nq10 Q0 b 1 3 t\n"))
    assert (list(run), list(run["q2"].items())) == (["q2", "q10"], [("a", 1.0), ("b", 0.5)])
    assert list(run.items()) == [("q2", {"b": 0.5, "a": 1.0}), ("q10", {"b": 3.0})]
    assert (len(run), "q2" in run, "b" in run, run.get("q3", {})) == (2, True, False, {})
    assert {"q10": {"b": 3.0}, "q2": {"a": 1.0, "b": 0.5}} == run != {"q2": {"a": 1.0, "b": 0.5}}
    run["q2"]["a"] = 7.0
    assert run["q2"]["a"] == 1.0
    with pytest.raises(KeyError):
        run["q3"]


def test_a_query_that_comes_again_is_read_with_all_its_lines(tmp_path: Path) -> None:
    path = put(tmp_path, b"q Q0 a 1 3 t\nq Q0 b 1 2 t\nr Q0 a 1 1 t\nq Q0 c 1 4 t\n")
    assert read_run(path, {"q": 1, "r": 1}) == read_run(path) == {"q": {"c": 4, "a": 3, "b": 2}, "r": {"a": 1}}
    path = put(tmp_path, b"q Q0 a 1 3 t\nq Q0 b 1 2 t\nr Q0 a 1 1 t\nq Q0 b 1 9 t\n")
    with pytest.raises(DataError, match="document 'b' twice"):
        read_run(path, {"q": 1})


def test_a_file_is_read_query_by_query_as_often_as_it_is_asked_for(tmp_path: Path, capsys) -> None:
    lines = [b"q2 Q0 b 1 .1 t", b"q2 Q0 b 1 .1 t", b"q2 Q0 a 2 1 t", b"q10 Q0 b 1 3 t", b"q3 Q0 b 1 3 t"]
    path = put(tmp_path, b"\n".join(lines))
    run = RunFile(path)
    assert list(run) == list(read_run(path).items())
    capsys.readouterr()
    fresh = RunFile(path)
    assert list(fresh) == list(fresh) == list(run)
    assert capsys.readouterr().err == f"warning: {path}: 1 repeated lines ignored (the first in line 2)\n"
    with pytest.raises(Scattered, match="lines of query 'q2' do not stand together") as caught:
        list(RunFile(put(tmp_path, b"\n".join([*lines, b"q2 Q0 c 1 2 t", b"nonsense"]))))
    assert caught.value.where == f"{path}:6"


def test_a_part_of_a_run_has_the_queries_asked_for_in_their_order() -> None:
    run = CompactRun.of([("q1", {"a": 0.1}), ("q2", {}), ("q3", {"b": 2.0})])
    part = run.part(["q3", "q9", "q1"])
    assert list(part.items()) == [("q3", {"b": 2.0}), ("q1", {"a": float(np.float32(0.1))})]
    assert run.part(["q2"]) == {"q2": {}}


def test_queries_whose_lines_do_not_stand_together_are_read_alike(tmp_path: Path, capsys) -> None:
    lines = [b"q1 Q0 a 1 3 t", b"q2 Q0 a 1 1 t", b"q1 Q0 b 2 2 t", b"q2 Q0 c 2 0 t", b"q1 Q0 a 1 3 t", b"q1 Q0 d 3 1 t"]
    path = put(tmp_path, b"\n".join(lines))
    assert list(read_run(path).items()) == [("q1", {"a": 3.0, "b": 2.0, "d": 1.0}), ("q2", {"a": 1.0, "c": 0.0})]
    assert capsys.readouterr().err == f"warning: {path}: 1 repeated lines ignored (the first in line 5)\n"
    with pytest.raises(DataError, match="twice, with 1.0 and now with 2.0") as caught:
        read_run(put(tmp_path, b"\n".join([*lines, b"q2 Q0 a 9 2 t"])))
    assert caught.value.where == f"{path}:7"


def test_a_run_takes_little_memory(tmp_path: Path) -> None:
    lines = [f"q{n // 100} Q0 document-{n * 7919 % 2000} 1 {n} t" for n in range(50_000)]
    path = put(tmp_path, "\n".join(lines).encode())
    tracemalloc.start()
    run = read_run(path)
    taken = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 12 bytes for a line, some 250 for a query, 65 for an id; while it is read also a table of the ids
    assert sum(map(len, run.values())) == 50_000
    assert taken[0] < 50_000 * 12 + 500 * 400 + 2000 * 80 and taken[1] < taken[0] + 2000 * 150


@pytest.mark.parametrize("rank", [b"-3", b"0", b"-", b"x"])
def test_the_rank_column_is_not_used(tmp_path: Path, rank: bytes) -> None:
    assert read_run(put(tmp_path, b"q Q0 d1 %s 1.5 t\n" % rank)) == {"q": {"d1": 1.5}}


def test_cut_at_every_byte_is_parsed_or_refused(tmp_path: Path) -> None:
    for content, read in ((QRELS, read_qrels), (RUN, read_run)):
        for cut in range(len(content)):
            path = put(tmp_path, content[:cut])
            try:
                found = read(path)
            except DataError as error:
                assert error.where.startswith(f"{path}:")
            else:
                assert sum(map(len, found.values())) == content[:cut].rstrip(b"\n").count(b"\n") + 1


def test_millions_of_blank_lines_in_a_small_file_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_bytes(gzip.compress(b"\n" * 20_000_000, 1))
    with pytest.raises(DataError, match="qrels:10001: more than 10,000 blank lines one after another"):
        read_qrels(path)


def test_gzip_cut_at_every_byte_is_refused(tmp_path: Path) -> None:
    content = gzip.compress(QRELS, mtime=0)
    for cut in range(len(content)):
        with pytest.raises(DataError):
            read_qrels(put(tmp_path, content[:cut]))


def test_gzip_with_a_flipped_byte_or_a_tail_never_gives_other_judgments(tmp_path: Path) -> None:
    content = gzip.compress(QRELS, mtime=0)
    damaged = [content[:n] + bytes([content[n] ^ 0x10]) + content[n + 1 :] for n in range(10, len(content))]
    for candidate in (*damaged, content + b"tail"):
        with pytest.raises(DataError):
            read_qrels(put(tmp_path, candidate))


def test_a_missing_file_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=r"no such file|is a folder"):
            read_qrels(path)


def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    lines = RUN.splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    outputs = []
    for content in (RUN, b"".join(lines)):
        write_run(tmp_path / "out", read_run(put(tmp_path, content)), "t")
        outputs.append((tmp_path / "out").read_bytes())
    assert outputs[0] == outputs[1]


def test_ranking_breaks_float32_ties_by_id_descending() -> None:
    scores = {"d10": 1.0, "d9": 1.0 + 1e-9, "a": 2.0, "é": 1.0, "z": -0.0, "y": 0.0}
    assert ranking(scores) == ("a", "é", "d9", "d10", "z", "y")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1e39])
def test_ranking_refuses_what_is_no_finite_float32(score: float) -> None:
    with pytest.raises(DataError, match="document 'b'"):
        ranking({"a": 1.0, "b": score})


def test_writes_ranks_from_one_in_order_of_score() -> None:
    out = io.StringIO()
    write_run(out, {"q2": {"x": 0.1}, "q10": {"a": 1, "b": 3.25, "c": 1}}, "tag")
    assert out.getvalue().splitlines() == [
        "q10 Q0 b 1 3.25 tag",
        "q10 Q0 c 2 1.0 tag",
        "q10 Q0 a 3 1.0 tag",
        "q2 Q0 x 1 0.1 tag",
    ]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path, b"old")
    with pytest.raises(DataError):
        write_run(path, {"a": {"d": 1.0}, "b": {"d": float("nan")}})
    with pytest.raises(DataError):
        write_run(path, {"a": {"d d": 1.0}})
    assert [file.name for file in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"old"


def test_writing_follows_links_and_writes_to_devices(tmp_path: Path) -> None:
    target, link = put(tmp_path, b"old", "target"), tmp_path / "link"
    link.symlink_to(target)
    write_run(link, {"q": {"d": 1.0}}, "t")
    assert link.is_symlink() and target.read_text() == "q Q0 d 1 1.0 t\n"
    write_run("/dev/null", {"q": {"d": 1.0}}, "t")
    assert not Path("/dev/null").is_file()


def test_writing_into_a_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_run(tmp_path / "none" / "run", {"q": {"d": 1.0}})


def test_defect_13_query_ids_need_not_be_numbers(tmp_path: Path) -> None:
    run = {"covid-19?": {"d1": 1.0}, "10": {"d1": 1.0}, "9": {"d1": 2.0}}
    write_run(tmp_path / "run", run)
    assert read_run(tmp_path / "run") == run
    assert [line.split()[0] for line in (tmp_path / "run").read_text().splitlines()] == ["10", "9", "covid-19?"]


def test_defect_13_reading_never_rewrites_the_qrels(tmp_path: Path) -> None:
    path = put(tmp_path, QRELS + QRELS)
    path.chmod(0o444)
    before = path.stat().st_mtime_ns
    read_qrels(path)
    assert path.read_bytes() == QRELS + QRELS and path.stat().st_mtime_ns == before


def test_a_run_can_be_written_to_a_pipe_by_the_name_of_stdout() -> None:
    program = "from rankcli.data.trec import write_run; write_run('/dev/stdout', {'q': {'d': 1.0}})"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "q Q0 d 1 1.0 rankcli\n"
