"""The page as a browser gets it: every figure in its cell, hostile texts as texts, nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from rankcli.report.facts import Facts, Fold, Ranked, Ranking
from rankcli.report.history import RunHistory
from rankcli.report.html import _VOID
from rankcli.report.page import page, write_report

BAD = "<script>alert('x')</script>\"&\u202e"
VALUES = {
    "first_stage": {"q1": 0.5, "q2": 0.5, BAD: 0.0, "q4": 1.0},
    "reranked": {"q1": 0.5, "q2": 0.25, BAD: 1.0, "q4": 1.0},
    "interpolated": {"q1": 0.75, "q2": 0.5, BAD: 0.5, "q4": 0.5},
}
SPLIT = {
    "queries": 4,
    "first_stage": {"map": 0.5, "P_5": 0.2},
    "reranked": {"map": 0.6875, "P_5": 0.1},
    "interpolated": {"map": 0.5625, "P_5": 0.2},
    "p": {"map": {"reranked": 0.012345, "interpolated": 0.6}, "P_5": {"reranked": 0.00001, "interpolated": 1.0}},
    "p_holm": {"map": {"reranked": 0.012345, "interpolated": 1.0}, "P_5": {"reranked": 0.00002, "interpolated": 1.0}},
}
RESULT = {
    "run_id": "0123456789abcdef",
    "splits": {"dev": {**SPLIT, "queries": 3}, "test": SPLIT},
    "alpha": 0.35,
    "best": {"map": {"iter": 1, "value": 0.3, "path": "best/map"}},
    "train_seconds": 6.0,
    "seconds": {"conversion": 2.0},
}
HISTORY = [
    {"iter": 0, "dev": {"map": 0.25}, "time": {"validation": 1.0}},
    {"iter": 1, "loss": 2.0, "lr": {"bertlr": 1e-5, "lr": 1e-3}, "pairs_per_second": 812.0, "time": {"steps": 5.0}},
    {"iter": 1, "dev": {"map": 0.3}},
]
FACTS = Facts(
    name="my-run",
    metric="map",
    result=RESULT,
    values=VALUES,
    queries={"q1": "first", "q2": "x" * 1000, BAD: BAD, "q4": "last"},
    run={
        "command": ["/bin/rankcli", "train", "--config", "a b.yaml"],
        "versions": {"rankcli": "0.1.0", "python": "3.11.7"},
        "devices": ["CPU:0", "GPU:0"],
    },
    history=RunHistory.parse("\n".join(map(json.dumps, HISTORY))),
    summary={"Reranker": "TFKNRM"},
    counts={"documents": 1400, "dev_queries": 3},
    written="2026-11-28 10:00 UTC",
    warnings=[BAD],
    rankings=[Ranking(BAD, "reranked", [Ranked(BAD, None, BAD)], [Ranked(BAD, 1, "x" * 1000)])],
    options=["trainer:", "  niters: 5  # default: 2", f"  name: {BAD}"],
)


class Read(HTMLParser):
    """Tags with their attributes, table rows as lists of texts, all text by section heading; checks the nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.words.append(data)
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def read() -> Read:
    return Read(page(FACTS))


def test_the_table_holds_the_figures_of_the_result(read: Read) -> None:
    start = read.rows.index(["stage", "mean", "change", "p", "p, Holm", "significant"])
    assert read.rows[start + 1 : start + 9] == [
        ["map"],
        ["First stage", "0.5000"],
        ["Reranked", "0.6875", "+0.1875", "0.0123", "0.0123", "significant: yes, better"],
        ["Interpolated", "0.5625", "+0.0625", "0.6000", "1.0000", "significant: no"],
        ["P_5"],
        ["First stage", "0.2000"],
        ["Reranked", "0.1000", "−0.1000", "<0.0001", "<0.0001", "significant: yes, worse"],
        ["Interpolated", "0.2000", "+0.0000", "1.0000", "1.0000", "significant: no"],
    ]
    assert "Test · 4 queries" in read.text.replace("  ", " ") and "Dev · 3 queries" in read.text.replace("  ", " ")


def test_the_head_says_what_it_came_to(read: Read) -> None:
    said = read.text.replace("\u00a0", " ")
    assert (
        "map on the test queries rises from 0.5000 (first stage) to 0.5625 (interpolated): +0.0625, +12.5 %, " in said
    )
    assert "no significant difference (p = 0.6000; Holm-adjusted p = 1.0000)." in said
    assert "my-run – rankcli" in said and "0123456789abcdef" in said and "0.35" in said and "TFKNRM" in said


def test_gains_and_losses_have_their_queries_and_counts(read: Read) -> None:
    heads = [number for number, row in enumerate(read.rows) if row == ["query", "first stage", "now", "change"]]
    tables = [read.rows[head + 1 : head + 1 + rows] for head, rows in zip(heads, (1, 1, 2, 1), strict=True)]
    assert tables == [
        [[BAD + BAD, "0.0000", "1.0000", "+1.0000"]],
        [["x" * 199 + "…q2", "0.5000", "0.2500", "−0.2500"]],
        [[BAD + BAD, "0.0000", "0.5000", "+0.5000"], ["firstq1", "0.5000", "0.7500", "+0.2500"]],
        [["lastq4", "1.0000", "0.5000", "−0.5000"]],
    ]
    assert "1 (25 %)" in read.text and "2 (50 %)" in read.text


def test_curves_time_data_options_and_command_are_there(read: Read) -> None:
    labels = [attributes.get("aria-label") for tag, attributes in read.tags if tag == "svg"]
    for curve in ("training loss", "dev map", "learning rate bertlr", "learning rate lr"):
        assert f"{curve} by iteration" in labels
    assert "best 0.3000, iteration 1" in read.text and "first stage 0.5000" in read.text
    assert read.rows[-3:] == [
        ["training steps", "", "5.0 s", "62 %"],
        ["converting texts to records", "", "2.0 s", "25 %"],
        ["validation on dev", "", "1.0 s", "12 %"],
    ]
    assert "Slowest part: training steps, 62 % of 8.0 s." in read.text
    assert "Not recorded: building or restoring the model, waiting for input, checkpoints, reranking test." in read.text
    assert "Documents 1,400" in read.text and "Dev queries 3" in read.text and "Pairs per second 812" in read.text
    assert "niters: 5   # default: 2" in read.text
    assert "rankcli train --config 'a b.yaml'" in read.text
    assert "CPU:0, GPU:0" in read.text and "python 3.11.7" in read.text


def test_the_numbers_behind_the_curves(read: Read) -> None:
    start = read.rows.index(["iteration", "loss", "dev map", "lr bertlr", "lr lr"])
    assert read.rows[start + 1 : start + 3] == [["0", "–", "0.25", "–", "–"], ["1", "2", "0.3", "1e−05", "0.001"]]


def test_hostile_texts_are_texts(read: Read) -> None:
    html = page(FACTS)
    assert "<script" not in html and html.count("&lt;script&gt;") >= 5
    allowed = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "section",
        "div",
        "p",
        "a",
        "h1",
        "h2",
    }
    allowed |= {
        "h3",
        "ul",
        "li",
        "span",
        "b",
        "bdi",
        "dl",
        "dt",
        "dd",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
    }
    allowed |= {
        "figure",
        "figcaption",
        "details",
        "summary",
        "svg",
        "line",
        "text",
        "polyline",
        "path",
        "circle",
        "rect",
    }
    assert {tag for tag, _ in read.tags} <= allowed
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)


def test_nothing_comes_from_elsewhere(read: Read) -> None:
    named = [attributes[name] for _, attributes in read.tags for name in ("src", "href", "data") if name in attributes]
    assert named == ["config.yaml"]
    style = re.search("<style>(.*)</style>", page(FACTS), re.DOTALL)
    assert style is not None and not re.search(r"url\(|@import|https?:|</", style[1])
    policy = next(attributes for _, attributes in read.tags if attributes.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    write_report(tmp_path / "a.html", FACTS)
    shuffled = {stage: dict(reversed(list(by.items()))) for stage, by in VALUES.items()}
    write_report(tmp_path / "b.html", dataclasses.replace(FACTS, values=shuffled))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_thousand_queries_and_iterations_are_a_small_page() -> None:
    first = {f"query-{n}": n / 1000 for n in range(1000)}
    values = {"first_stage": first, "reranked": {qid: value**2 for qid, value in first.items()}}
    values["interpolated"] = {qid: value**0.5 for qid, value in first.items()}
    trained = [{"iter": n, "loss": 1 / n, "lr": {"lr": 1e-3}} for n in range(1, 1001)]
    validated = [{"iter": n, "dev": {"map": n / 1000}} for n in range(1001)]
    history = RunHistory.parse("\n".join(map(json.dumps, [*trained, *validated])))
    queries = dict.fromkeys(first, "word " * 100)
    html = page(dataclasses.replace(FACTS, values=values, queries=queries, history=history))
    assert len(html.encode()) < 500_000
    many = {stage: {f"{qid}-{n}": v for qid, v in by.items() for n in range(20)} for stage, by in values.items()}
    html = page(dataclasses.replace(FACTS, values=many))
    assert "each column is the mean of some 22." in html and len(html.encode()) < 200_000


PIECES: list[dict[str, Any]] = [
    {"history": RunHistory()},
    {"history": RunHistory.parse('{"iter": 1, "step": 8, "loss": 2.0, "lr": {"lr": 0.1}, "seconds": 5.0}')},
    {
        "history": RunHistory.parse(
            '{"iter": 1, "loss": NaN, "lr": {"lr": NaN}}\n{"iter": 1, "dev": {"map": NaN}}\nrubbish'
        )
    },
    {"values": {}},
    {"values": {**VALUES, "reranked": dict.fromkeys(VALUES["reranked"], math.nan)}},
    {"queries": {}},
    {"run": {}},
    {"run": {"command": [], "versions": None, "devices": None}},
    {"counts": {}, "options": [], "summary": {}},
    {"result": {}},
    {"result": {"splits": {"test": {"first_stage": {"map": math.nan}, "reranked": {"map": math.inf}}}}},
    {"result": {**RESULT, "best": {}, "train_seconds": None, "seconds": None, "splits": {"test": SPLIT}}},
]


@pytest.mark.parametrize("pieces", PIECES)
def test_what_is_missing_is_said(pieces: dict[str, Any]) -> None:
    found = Read(page(dataclasses.replace(FACTS, **pieces)))
    assert not re.search(r"\b(nan|inf|None)\b", " ".join([found.text, str(found.tags)]).replace("'style', None", ""))


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        (0, "metrics.jsonl holds no validation on dev."),
        (0, "metrics.jsonl holds no iteration."),
        (1, "Rates of the training were not recorded."),
        (2, "Lines of metrics.jsonl that could not be read and are left out: 1."),
        (2, "No values are recorded."),
        (3, "The values of single queries are not known."),
        (4, "The values of single queries are not known."),
        (5, "(text not known)"),
        (6, "The command is not recorded."),
        (6, "Versions and devices are not recorded."),
        (8, "No counts are recorded."),
        (9, "The result holds no map of both the first stage and the reranked run on test."),
        (9, "No figures for test are recorded."),
        (11, "No figures for dev are recorded."),
    ],
)
def test_which_piece_is_missing(pieces: int, sentence: str) -> None:
    assert sentence in Read(page(dataclasses.replace(FACTS, **PIECES[pieces]))).text


def test_all_folds_are_one_page_that_leads_to_theirs() -> None:
    folds = [
        Fold(name=f"fold-{n}", page=f"fold-{n}/report.html", run_id=f"id{n}", iteration=n, alpha=0.5) for n in range(2)
    ]
    result = {"run_id": None, "splits": {"test": SPLIT}, "alpha": [0.5, 0.45], "train_seconds": 3.0}
    result["first_stage"] = ["BM25, k1 1", "BM25, k1 2", "BM25, k1 1"]
    found = Read(page(dataclasses.replace(FACTS, folds=folds, result=result)))
    assert ["fold-1", "id1", "1", "0.5"] in found.rows and "0.5, 0.45" in found.text
    assert "BM25, k1 1; BM25, k1 2Reranker" in found.text.replace("\n", "").replace(" Reranker", "Reranker")
    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == [
        *(fold.page for fold in folds),
        "fold-0/config.yaml",
    ]
    assert "Every fold has other dev queries: their figures are in the pages of the folds." in found.text
