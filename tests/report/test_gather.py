"""`report.html` of real runs on the tiny collection: what it tells is what the run directory holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rankcli.config.render import changed
from rankcli.data.trec import ranking, read_qrels, read_run
from rankcli.evaluation.trec import evaluate
from rankcli.log import warn
from rankcli.report.numbers import change, measure
from rankcli.runs import single
from rankcli.runs.written import write_result
from rankcli.verbs.train import train


def cells(page: str) -> list[str]:
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", page)]


def test_a_run_leaves_its_page_before_its_result(tiny: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    seen: list[bool] = []

    def write(out: Path, result: Mapping[str, Any], files: list[str]) -> None:
        seen.append((out / "report.html").exists())
        write_result(out, result, files)

    monkeypatch.setattr(single, "write_result", write)
    out = tmp_path / "runs" / "TFKNRM"
    result = train(tiny("TFKNRM", "trainer.niters=1", "metrics.report=[map]"), out=out)["result"]
    assert seen == [True]
    assert f"report: {out}/report.html" in capsys.readouterr().err
    page = (out / "report.html").read_text()
    assert f"<dd>{tmp_path.name}/docs.jsonl</dd>" in page and "20 candidates a query" in page
    assert 'href="config.yaml"' in page and (out / "config.yaml").exists()
    assert "<h1>TFKNRM</h1>" in page and result["run_id"] in page
    found, test = cells(page), result["splits"]["test"]
    for metric in ("ndcg_cut_10", "map"):
        first = test["first_stage"][metric]
        for stage, name in (("reranked", "Reranked"), ("interpolated", "Interpolated")):
            row = [name, measure(test[stage][metric]), change(test[stage][metric] - first)]
            assert any(found[n : n + 3] == row for n in range(len(found)))
    assert "niters: 1<span" in page and "default: 2" in page and "optimize: " not in page


def test_gains_and_losses_are_those_of_the_test_runs(tiny: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny("TFKNRM", "trainer.niters=1"), out=out)
    page = (out / "report.html").read_text()
    runs = {name: read_run(out / name) for name in ("test.first_stage.run", "test.run")}
    judged = read_qrels(tmp_path / "qrels.txt")
    qrels = {qid: judged[qid] for qid in runs["test.run"]}
    first, last = (evaluate(qrels, run, ["ndcg_cut_10"])["ndcg_cut_10"] for run in runs.values())
    wins, losses = sum(last[q] > first[q] for q in qrels), sum(last[q] < first[q] for q in qrels)
    balance = f'aria-label="Better: {wins}, The same: {len(qrels) - wins - losses}, Worse: {losses}"'
    assert balance in page[: page.index("Interpolated against first stage")]
    texts = {row["_id"]: row["text"] for row in map(json.loads, (tmp_path / "queries.jsonl").open())}
    changed = [qid for qid in qrels if last[qid] != first[qid]]
    assert changed and all(
        f'<bdi class="query">{texts[qid]}</bdi><bdi class="id">{qid}</bdi>' in page for qid in changed
    )


def test_the_rankings_are_those_of_the_queries_that_changed_most(tiny: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tiny("TFKNRM", "trainer.niters=1", "trainer.itersize=64", "trainer.lr=0.1"), out=out)
    runs = [read_run(out / name) for name in ("test.first_stage.run", "test.interpolated.run")]
    qrels = read_qrels(out / "test.qrels")
    first, last = (evaluate(qrels, run, ["ndcg_cut_10"])["ndcg_cut_10"] for run in runs)
    texts = {row["_id"]: row["text"] for row in map(json.loads, (tmp_path / "docs.jsonl").open())}
    gain, loss = (choose(qrels, key=lambda qid: last[qid] - first[qid]) for choose in (max, min))
    shown = [qid for qid, change in ((gain, 1), (loss, -1)) if (last[qid] - first[qid]) * change > 0]
    assert shown
    _, _, section = (out / "report.html").read_text().partition("<h2>Rankings</h2>")
    section = section.partition("</section>")[0]
    assert re.findall('<bdi class="id">(.*?)</bdi>', section) == shown
    wanted: list[str] = []
    for qid in shown:
        best = [ranking(run[qid])[:5] for run in runs]
        for rank, pair in enumerate(zip(*best, strict=True), 1):
            grades = [f"grade {qrels[qid][docid]}" if docid in qrels[qid] else "not judged" for docid in pair]
            wanted += [
                str(rank),
                *(f"{texts[docid]}{docid} · {grade}" for docid, grade in zip(pair, grades, strict=True)),
            ]
    assert cells(section) == wanted


def test_the_page_has_its_date_the_warnings_of_the_run_and_rates_of_every_step(tiny: Any, tmp_path: Path) -> None:
    warn("of another run")
    out = tmp_path / "run"
    config = tiny("TFKNRM", "trainer.niters=2", "trainer.itersize=16", "trainer.warmupiters=1")
    with (tmp_path / "qrels.txt").open("a") as file:
        file.write("q0 0 absent 1\n")
    train(config, out=out)
    page = (out / "report.html").read_text()
    assert re.search(r"<dt>Written</dt><dd>20\d\d-\d\d-\d\d \d\d:\d\d UTC</dd>", page)
    assert re.search("<li>[^<]*1 of [^<]*absent", page) and "of another run" not in page
    chart = page[page.index("Learning rate lr") :]
    assert chart.count("<circle", 0, chart.index("</svg>")) == 16  # 2 iterations of 8 steps
    assert "iteration 0.125: " in chart and "iteration 2: " in chart


def test_a_finished_run_keeps_its_page(tiny: Any, tmp_path: Path) -> None:
    config = tiny("TFKNRM", "trainer.niters=1")
    train(config, out=tmp_path / "run")
    before = (tmp_path / "run" / "report.html").stat().st_mtime_ns
    train(config, out=tmp_path / "run")
    assert (tmp_path / "run" / "report.html").stat().st_mtime_ns == before


def test_all_folds_have_a_page_each_and_one_for_all(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "folds"
    result = train(tiny("TFKNRM", "trainer.niters=1", "data.folds.fold=all"), out=out)["result"]
    page = (out / "report.html").read_text()
    assert re.findall('href="([^"]+)"', page) == [
        *(f"fold-{n}/report.html" for n in range(3)),
        "fold-0/config.yaml",
    ]
    assert (out / "fold-0/config.yaml").exists()
    assert all((out / f"fold-{n}/report.html").exists() for n in range(3))
    assert "<h1>folds/fold-2</h1>" in (out / "fold-2/report.html").read_text()
    assert "12 queries" in page and "fold: all" in page and "Dev queries" not in page
    mean = measure(result["splits"]["test"]["reranked"]["ndcg_cut_10"])
    assert f"<span>Reranked</span><b>{mean}</b>" in page
    assert f"report: {out}/report.html" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ([], []),
        (["  data:", "    k: 1"], []),
        (["  data:", "*   k: 1  # default: 2", "    b: 3"], ["data:", "  k: 1  # default: 2"]),
        (
            [
                "  trainer:",
                "    name: tensorflow",
                "    batch: 4",
                "    loss:",
                "      name: lce",
                "*     k: 1",
                "* x: 2",
            ],
            ["trainer:", "  name: tensorflow", "  loss:", "    name: lce", "    k: 1", "x: 2"],
        ),
        (
            ["  a:", "    name: one", "    loss:", "      name: lce", "*   k: 1", "*   m: 2", "  b:", "    k: 1"],
            ["a:", "  name: one", "  k: 1", "  m: 2"],
        ),
    ],
)
def test_options_that_are_not_the_default_stand_in_their_sections(lines: list[str], kept: list[str]) -> None:
    assert changed(lines) == kept
