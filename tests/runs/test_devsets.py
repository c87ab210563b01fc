"""Further dev sets: read and checked like the main data, converted and protected like its dev queries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.runs import candidates
from rankcli.runs.prepare import Prepared, prepare
from rankcli.searchers.base import SearcherContext
from rankcli.searchers.bm25 import BM25
from rankcli.shapes import Record

MAIN = ["train", "dev", "test"]


@pytest.fixture
def more(tiny: Any, tmp_path: Path) -> Path:
    """Files of a further dev set: judgments of four of the queries, two of them to train on; and queries of its own."""
    tiny("TFKNRM")
    train = prepare(tiny("TFKNRM")).dataset.split["train"]
    others = sorted({f"q{n}" for n in range(12)} - set(train))
    (tmp_path / "more.txt").write_text("".join(f"{qid} 0 d{qid[1:]} 1\n" for qid in (*train[:2], *others[:2])))
    (tmp_path / "own.jsonl").write_text('{"_id": "q0", "text": "ant bee"}\n{"_id": "x1", "text": "cat"}\n')
    (tmp_path / "own.txt").write_text("q0 0 d1 1\nx1 0 d2 1\n")
    return tmp_path


def devsets(folder: Path, **named: str) -> str:
    """An override, e.g. of `a="qrels: more.txt"`; paths are in `folder`."""
    sections = (f"{name}: {{{said.replace(': ', f': {folder}/')}}}" for name, said in named.items())
    return f"data.devsets={{{', '.join(sections)}}}"


def with_devset(tiny: Any, folder: Path, *overrides: str, **named: str) -> Prepared:
    return prepare(tiny("TFKNRM", devsets(folder, **named), *overrides))


def test_a_dev_set_is_a_set_of_its_own_and_changes_no_other(tiny: Any, more: Path) -> None:
    before, prepared = (
        prepare(tiny("TFKNRM")),
        with_devset(tiny, more, b="qrels: more.txt", a="qrels: own.txt, queries: own.jsonl"),
    )
    assert list(prepared.sets) == ["train", "dev", "dev/b", "dev/a", "test"]
    assert list(prepared.sets.of("dev")) == ["dev", "b", "a"]
    assert {name: prepared.sets.cache_ids[name] for name in MAIN} == before.sets.cache_ids
    assert len(set(prepared.sets.cache_ids.values())) == 5
    assert prepared.sets["dev/a"].judgments == {"q0": {"d1": 1}, "x1": {"d2": 1}}
    assert prepared.dataset.report["dev/a_queries"] == 2 and prepared.dataset.report["dev/b_queries"] == 4


def test_the_run_id_changes_only_where_dev_sets_are_given(tiny: Any, more: Path) -> None:
    ids = [
        prepare(tiny("TFKNRM", *overrides)).identity.run_id
        for overrides in (
            [],
            ["data.devsets={}"],
            [devsets(more, a="qrels: more.txt")],
            [devsets(more, b="qrels: more.txt")],
        )
    ]
    assert ids[0] == ids[1] and len(set(ids)) == 3


def test_queries_may_be_those_of_the_data_or_others_of_the_same_name(tiny: Any, more: Path) -> None:
    prepared = with_devset(tiny, more, a="qrels: own.txt, queries: own.jsonl", b="qrels: more.txt")
    main, own, same = (prepared.sets[name].dataset for name in ("dev", "dev/a", "dev/b"))
    assert same.queries is main.queries and same.docs is main.docs and own.docs is main.docs
    assert own.queries == {"q0": "ant bee", "x1": "cat"} != main.queries["q0"]
    assert prepared.sets.job("dev/a").queries.records(["x1"]) == [Record("x1", "cat")]


def test_candidates_go_to_the_depth_of_dev(tiny: Any, more: Path) -> None:
    prepared = with_devset(tiny, more, "trainer.threshold=3", a="qrels: own.txt, queries: own.jsonl")
    sampler = prepared.sets["dev/a"].sampler
    assert [len(sampler(n).docids) for n in range(len(sampler))] == [3, 3]
    assert len(prepared.sets["dev/a"].candidates["q0"]) > 3


def test_no_query_is_searched_twice_and_its_candidates_lie_in_memory_once(
    tiny: Any, more: Path, monkeypatch: Any
) -> None:
    asked: list[list[str]] = []
    build = BM25.build

    def spied(options: BM25, ctx: SearcherContext) -> Any:
        searcher = build(options, ctx)

        class Spy:
            def search(self, topics: dict[str, str]) -> Any:
                asked.append(sorted(topics))
                return searcher.search(topics)

        return Spy()

    monkeypatch.setattr(BM25, "build", spied)
    searcher = "data.run={name: bm25, k1: 1.1}"
    prepared = with_devset(tiny, more, searcher, a="qrels: more.txt", b="qrels: own.txt, queries: own.jsonl")
    assert asked == [sorted(f"q{n}" for n in range(12)), ["q0", "x1"]]
    runs = {name: each.ranked for name, each in prepared.sets.items()}
    assert set(runs["dev/a"]) == set(prepared.sets["dev/a"].judgments)
    for qid in runs["dev/a"]:
        assert runs["dev/a"].by_query[qid] is runs["dev"].by_query[qid]
    assert runs["train"] is runs["dev"] is runs["test"]


def test_a_run_file_of_several_sets_is_read_once(tiny: Any, more: Path, monkeypatch: Any, capsys: Any) -> None:
    (more / "all.run").write_text(
        "".join(f"{qid} Q0 d{n} 1 {9 - n} x\n" for qid in ("q0", "q1", "x1") for n in range(4))
    )
    (more / "a.run").write_text("q0 Q0 d9 1 1 x\n")
    read, original = [], candidates.read_run
    monkeypatch.setattr(
        candidates, "read_run", lambda path, *depths: [read.append(Path(path).name), original(path, *depths)][1]
    )
    prepared = with_devset(
        tiny,
        more,
        f"data.run={more}/all.run",
        a="qrels: own.txt, queries: own.jsonl, run: a.run",
        b="qrels: own.txt, queries: own.jsonl",
    )
    assert sorted(read) == ["a.run", "all.run"]
    assert dict(prepared.sets["dev/a"].candidates) == {"q0": {"d9": 1.0}}
    assert {qid: len(found) for qid, found in prepared.sets["dev/b"].candidates.items()} == {"q0": 4, "x1": 4}
    assert "are not among the queries" not in capsys.readouterr().err


def test_a_searcher_of_its_own_may_follow_a_run_file(tiny: Any, more: Path) -> None:
    (more / "all.run").write_text("".join(f"q{n} Q0 d{n} 1 1 x\n" for n in range(12)))
    own = devsets(more, a="qrels: own.txt, queries: own.jsonl").replace("}}", ", run: {name: bm25, k: 2}}}")
    prepared = prepare(tiny("TFKNRM", f"data.run={more}/all.run", own))
    assert {qid: len(found) for qid, found in prepared.sets["dev/a"].candidates.items()} == {"q0": 2, "x1": 2}


def test_training_queries_among_them_are_told_with_their_count(tiny: Any, more: Path, capsys: Any) -> None:
    with_devset(tiny, more, a="qrels: more.txt", b="qrels: own.txt, queries: own.jsonl")
    warned = [line for line in capsys.readouterr().err.splitlines() if "trained on" in line]
    assert len(warned) == 1, "the q0 of `b` is another query than the one that trains, if it does"
    assert "data.devsets.a: 2 of 4 queries were trained on, for example 'q" in warned[0]


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("{a: {qrels: gone.txt}}", 2, "TFKNRM.yaml:1: data.devsets.a.qrels: no such file"),
        ("{a: {qrels: own.txt, run: gone}}", 2, "TFKNRM.yaml:1: data.devsets.a.run: neither a searcher"),
        ("{a: {queries: own.jsonl}}", 2, "data.devsets.a.qrels: is needed: judgments"),
        ("{a: {qrel: own.txt}}", 2, "data.devsets.a.qrel: unknown key; did you mean 'qrels'?"),
        ("{a/b: {qrels: own.txt}}", 2, "data.devsets.a/b: names are letters, digits, `_` and `-`"),
        ("{dev: {qrels: own.txt}}", 2, "no further dev set can be called 'dev'"),
        ("{all: {qrels: own.txt}}", 2, "no further dev set can be called 'all'"),
        ("{a: {qrels: bad.txt}}", 3, "bad.txt:2: 3 columns, expected 4"),
        ("{a: {qrels: own.txt, queries: bad.jsonl}}", 3, "bad.jsonl:1: "),
        ("{a: {qrels: own.txt, queries: own.jsonl, run: bad.run}}", 3, "bad.run:1: the score 'nan' is not"),
        ("{a: {qrels: other.txt}}", 3, "other.txt: no query id is among the queries"),
        ("{a: {qrels: absent.txt}}", 3, "absent.txt: no document id is in the collection"),
    ],
)
def test_it_is_checked_as_strictly_as_the_main_data(
    said: str, code: int, told: str, tiny: Any, more: Path, capsys: Any
) -> None:
    (more / "bad.txt").write_text("q0 0 d1 1\nq0 0 d1\n")
    (more / "bad.jsonl").write_text("{]\n")
    (more / "bad.run").write_text("q0 Q0 d1 1 nan x\n")
    (more / "other.txt").write_text("z1 0 d1 1\n")
    (more / "absent.txt").write_text("q0 0 gone 1\n")
    config = more / "TFKNRM.yaml"
    config.write_text(config.read_text().replace("data: {", f"data: {{devsets: {said}, "))
    assert run(["convert", "--config", str(config)]) == code
    assert told in capsys.readouterr().err


def converted(folder: Path, capsys: Any, *args: str) -> Any:
    capsys.readouterr()
    own = devsets(folder, a="qrels: own.txt, queries: own.jsonl")
    code = run(["convert", "--config", str(folder / "TFKNRM.yaml"), own, "--json", *args])
    out, err = capsys.readouterr()
    return json.loads(out) if code == 0 else (code, err)


def test_convert_takes_a_part_of_the_split_or_one_set(more: Path, capsys: Any) -> None:
    assert list(converted(more, capsys, "--split", "dev")) == ["schema_version", "dev", "dev/a"]
    assert list(converted(more, capsys, "--split", "dev/a")) == ["schema_version", "dev/a"]
    assert list(converted(more, capsys)) == ["schema_version", "train", "dev", "dev/a", "test"]
    code, err = converted(more, capsys, "--split", "dev/b")
    assert code == 2 and "there is no set of records 'dev/b' (there are: train, dev, test, dev/a, all)" in err


def test_parts_of_every_set_are_put_together(more: Path, capsys: Any) -> None:
    assert list(converted(more, capsys, "--split", "dev", "--shard", "1/1")) == ["schema_version", "dev", "dev/a"]
    found = converted(more, capsys, "--split", "dev", "--finalize")
    assert {name: found[name]["samples"] for name in ("dev", "dev/a")} == {"dev": 4, "dev/a": 2}


def test_a_training_uses_and_so_protects_all_of_its_caches(more: Path, capsys: Any) -> None:
    own = devsets(more, a="qrels: own.txt, queries: own.jsonl")
    args = ["--config", str(more / "TFKNRM.yaml"), own, "trainer.niters=1"]
    assert run(["train", *args, "--out", str(more / "out"), "--dry-run"]) == 0
    planned = capsys.readouterr().out
    for line in (
        "dev: 4 queries, at most 10 candidates of each: ",
        "dev/a: 2 queries, at most 10 candidates of each: ",
        "test: 4 queries, at most 20 candidates of each: ",
        "  dev/a: not cached, will be converted",
    ):
        assert line in planned
    assert "        qrels: " in planned, "a needed option is not the default"
    assert run(["train", *args, "--out", str(more / "out")]) == 0
    caches = json.loads((more / "out/run.json").read_text())["cache_ids"]
    assert list(caches) == ["train", "dev", "dev/a", "test"]
    capsys.readouterr()
    assert run(["cache", "ls", "--json"]) == 0
    listed = {each["cache_id"]: each for each in json.loads(capsys.readouterr().out)["caches"]}
    assert {name: [use["run_dir"] for use in listed[caches[name]]["runs"]] for name in caches} == dict.fromkeys(
        caches, [str(more / "out")]
    )
    assert run(["cache", "prune", "--unused", "--json"]) == 0
    removed = [each["path"] for each in json.loads(capsys.readouterr().out)["removed"]]
    assert not [path for path in removed if "/records/" in path], "only what is made or fetched again may go"
    assert run(["train", *args, "--out", str(more / "out")]) == 0
    assert "this run is finished" in capsys.readouterr().err


def test_a_damaged_shard_of_it_is_made_again(more: Path, capsys: Any) -> None:
    place = Path(converted(more, capsys, "--split", "dev/a")["dev/a"]["path"])
    shard = next(place.glob("*.tfrecord"))
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert run(["cache", "verify", "--repair"]) == 0
    assert "another checksum; repaired" in capsys.readouterr().out and shard.read_bytes() == good
    (more / "own.txt").write_text("q0 0 d1 1\n")
    shard.write_bytes(b"")
    assert run(["cache", "verify", "--repair"]) == 6
    assert "the inputs have changed: " in capsys.readouterr().out
