"""`mine`: which negatives are written, in which form, with which scores, and what is refused."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import chisquare

from rankcli.cli import run
from rankcli.data.trec import read_run
from rankcli.runs.journal import Journal
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.hardnegatives import HardNegatives
from rankcli.shapes import Judged
from rankcli.verbs.train import train

TEXTS = ("--docs", "docs.jsonl", "--queries", "queries.jsonl")
GIVEN = ("mine", "--qrels", "qrels", "--run", "first.run", "-o", "out.jsonl")
PEERS = ("triplet", "n-tuple", "labeled-pair", "labeled-list", "flagembedding", "tevatron")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Query a: relevant r (score 8) and s (not retrieved), judged 0: c; candidates a b r c d at scores 10 9 8 6 3.
    Query b: nothing is relevant. Query c: relevant r, no candidate.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    Path("qrels").write_text("a 0 r 1\na 0 s 1\na 0 c 0\nb 0 a 0\nc 0 r 1\n")
    scores = {"a": 10, "b": 9, "r": 8, "c": 6, "d": 3}
    Path("first.run").write_text("".join(f"a Q0 {d} 1 {s} x\n" for d, s in scores.items()) + "b Q0 a 1 1 x\n")
    Path("docs.jsonl").write_text("".join(f'{{"_id": "{d}", "text": "text of {d}"}}\n' for d in "abrcds"))
    Path("queries.jsonl").write_text("".join(f'{{"_id": "{q}", "text": "query {q}"}}\n' for q in "abc"))
    return tmp_path


def mined(*options: str) -> list[dict[str, Any]]:
    assert run([*GIVEN, "--force", *options]) == 0
    return [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def negatives(*options: str) -> list[list[str]]:
    """Those of r and of s, in the order of the rows."""
    return [row["neg"]["first"] for row in mined(*options)]


@pytest.mark.parametrize(
    ("options", "of_r", "of_s"),
    [
        ((), "abcd", "abcd"),
        (("--ranks", "2:4"), "bc", "bc"),  # rank 3 is the relevant document
        (("--negatives", "2"), "ab", "ab"),
        (("--judged",), "c", "c"),
        (("--max-score", "6"), "cd", "cd"),
        (("--margin", "2"), "cd", "abcd"),  # s has no score, so it sets no bound
        (("--margin", "2.5"), "d", "abcd"),
        (("--relative-margin", "0.25"), "cd", "abcd"),  # at most 6
        (("--relative-margin", "0.26"), "d", "abcd"),
        (("--margin", "1", "--max-score", "5", "--negatives", "1"), "d", "d"),
    ],
)
def test_negatives_are_the_best_candidates_within_the_bounds(
    options: tuple[str, ...], of_r: str, of_s: str, folder: Path
) -> None:
    assert negatives(*options) == [list(of_r), list(of_s)]


def test_a_row_has_the_scores_of_a_relevant_document_that_has_one(folder: Path) -> None:
    with_score, without = mined("--negatives", "2")
    scores = {"pos_scores": [8.0], "neg_scores": {"first": [10.0, 9.0]}}
    assert with_score == {"query": "a", "pos": ["r"], "neg": {"first": ["a", "b"]}, **scores}
    assert without == {"query": "a", "pos": ["s"], "neg": {"first": ["a", "b"]}}


def test_the_numbers_add_up(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*GIVEN, "--margin", "2", "--negatives", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    dropped = {"unjudged": 0, "max_score": 0, "margin": 2, "relative_margin": 0, "number": 4}
    assert found["dropped"] == dropped and (found["candidates"], found["negatives"]) == (8, 2)
    assert (found["judged_queries"], found["queries"], found["rows"], found["positives_without_score"]) == (2, 1, 2, 1)
    assert found["scores"] == {"relevant": [8.0] * 5, "negatives": pytest.approx([6.2, 7.0, 8.0, 9.0, 9.8])}


def test_the_sampler_reads_what_is_mined(folder: Path) -> None:
    mined("--margin", "2")
    sampler = HardNegatives(file="out.jsonl", nneg=2, lists={"first": 1.0}).build(
        SamplerContext(Judged(("a",), {"a": {"r": 1, "s": 1}}, {}))
    )
    assert {sampler(n).docids[0]: set(sampler(n).docids[1:]) <= set("abcd") for n in range(20)} == {
        "r": True,
        "s": True,
    }
    assert {frozenset(s.docids[1:]) for s in map(sampler, range(20)) if s.docids[0] == "r"} == {frozenset("cd")}


def test_drawn_negatives_are_all_as_likely_and_depend_on_the_seed_alone(folder: Path) -> None:
    drawn = [tuple(negatives("--negatives", "2", "--seed", str(seed))[0]) for seed in range(300)]
    found = collections.Counter(drawn)
    assert len(found) == 6 and chisquare([*found.values()]).pvalue > 0.001
    lines = Path("first.run").read_text().splitlines(keepends=True)
    Path("first.run").write_text("".join(reversed(lines)))
    assert tuple(negatives("--negatives", "2", "--seed", "7")[0]) == drawn[7]


@pytest.mark.parametrize("format", PEERS)
def test_rows_of_other_tools(format: str, folder: Path) -> None:
    """sentence-transformers' mine_hard_negatives, FlagEmbedding's and Tevatron's training data."""
    rows = mined("--format", format, "--negatives", "2", "--margin", "2", *TEXTS)
    positive, texts = "text of r", ["text of c", "text of d"]
    passages = [{"docid": docid, "title": "", "text": f"text of {docid}"} for docid in "cd"]
    wanted = {
        "triplet": [{"anchor": "query a", "positive": positive, "negative": text} for text in texts],
        "n-tuple": [{"anchor": "query a", "positive": positive, "negative_1": texts[0], "negative_2": texts[1]}],
        "labeled-pair": [
            {"query": "query a", "passage": text, "label": label}
            for text, label in zip([positive, *texts], (1, 0, 0))  # noqa: B905
        ],
        "labeled-list": [{"query": "query a", "docs": [positive, *texts], "labels": [1, 0, 0]}],
        "flagembedding": [
            {"query": "query a", "pos": [positive], "neg": texts, "pos_scores": [8.0], "neg_scores": [6.0, 3.0]}
        ],
        "tevatron": [
            {
                "query_id": "a",
                "query": "query a",
                "positive_passages": [{"docid": "r", "title": "", "text": positive}],
                "negative_passages": passages,
            }
        ],
    }[format]
    assert rows[: len(wanted)] == wanted


def test_tuples_have_all_negatives_or_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = mined("--format", "n-tuple", "--negatives", "3", "--margin", "2", *TEXTS)
    assert [row["positive"] for row in rows] == ["text of s"]
    assert "2  1 without a score, 1 left out" in capsys.readouterr().out


def test_documents_without_a_text_are_left_out(folder: Path) -> None:
    Path("docs.jsonl").write_text("".join(f'{{"_id": "{d}", "text": "text of {d}"}}\n' for d in "brd"))
    assert [row["neg"]["first"] for row in mined(*TEXTS)] == [["b", "d"]]


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({}, ("--ranks", "5:2"), 2, "'5:2' is not a first and a last rank"),
        ({}, ("--margin", "nan"), 2, "nan is not a finite number"),
        ({}, ("--seed", "1"), 2, "--negatives is needed"),
        ({}, ("--format", "n-tuple", *TEXTS), 2, "--negatives is needed"),
        ({}, ("--format", "triplet"), 2, "--format triplet writes texts: give --docs and --queries"),
        ({}, ("--model", "m"), 2, "a model needs texts: give --docs and --queries"),
        ({}, ("--max-score", "-99"), 3, "first.run: no relevant document has a negative that the options leave"),
        ({"qrels": "a 0 r 0\n"}, (), 3, "qrels: no document is judged 1 or higher"),
        ({"qrels": "z 0 r 1\n"}, (), 3, "first.run: no query has a relevant document, a candidate at these ranks"),
        ({"qrels": "a 0 r 1\na 0 s\n"}, (), 3, "qrels:2: "),
        ({"first.run": "a Q0 r 1 2 x\nb Q0 r 1 x\n"}, (), 3, "first.run:2: "),
        ({"queries.jsonl": '{"_id": "a", "text": "t"}\n{"_id": "b"}\n'}, TEXTS, 3, "queries.jsonl:2: "),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    changes: dict[str, str], options: tuple[str, ...], code: int, message: str, folder: Path, capsys: Any
) -> None:
    for name, content in changes.items():
        Path(name).write_text(content)
    assert run([*GIVEN, *options]) == code
    assert message in capsys.readouterr().err and not Path("out.jsonl").exists()


def test_scattered_lines_are_read_in_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = mined()
    lines = Path("first.run").read_text().splitlines(keepends=True)
    Path("first.run").write_text("".join([lines[-1], *lines[:2], "c Q0 r 1 1 x\n", *lines[2:-1]]))
    assert mined() == whole and "do not stand together" in capsys.readouterr().err


def test_with_a_model_all_scores_are_its_own_and_a_stopped_mining_goes_on(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The relevant document of query q3 is not retrieved, and is scored with the candidates."""
    monkeypatch.chdir(tmp_path)
    train(tiny("TFKNRM", "trainer.niters=1", "metrics.report=[map]"), out=tmp_path / "model")
    pairs = "".join(f"q{n} Q0 d{d} 1 {24 - d} x\n" for n in range(4) for d in range(24) if (n, d) != (3, 6))
    Path("first.run").write_text(pairs)
    Path("whole.run").write_text(f"{pairs}q3 Q0 d6 24 0.5 x\n")
    model = ("--model", "model", "--evalbatch", "8", *TEXTS)
    assert run(["rerank", *model, "--run", "whole.run", "-o", "scores.run"]) == 0
    command = ["mine", "--qrels", "qrels.txt", "--run", "first.run", "--ranks", "1:23", *model, "-o", "out.jsonl"]
    add, kept = Journal.add, iter(range(5))

    def adding(self: Journal, scores: Any) -> None:
        if next(kept, None) is None:
            raise KeyboardInterrupt
        add(self, scores)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", adding)
        assert run(command) == 130 and not Path("out.jsonl").exists()
    with monkeypatch.context() as patch:  # the second time all is scored, but the rows cannot be written
        patch.setattr("rankcli.verbs.mine.ids", lambda row: 1 / 0)
        assert run(command) == 1 and "going on after 40 pairs" in capsys.readouterr().err
    assert run(command) == 0 and "going on after 93 pairs" in capsys.readouterr().err
    scores = read_run("scores.run")
    for row in map(json.loads, Path("out.jsonl").read_text().splitlines()):
        docids = [*row["pos"], *row["neg"]["first"]]
        found = scores[row["query"]]
        assert [*row["pos_scores"], *row["neg_scores"]["first"]] == pytest.approx([found[d] for d in docids], rel=1e-4)
        assert row["neg_scores"]["first"] == sorted(row["neg_scores"]["first"], reverse=True)
    assert row["query"] == "q3" and row["pos"] == ["d6"]
