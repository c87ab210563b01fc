"""Gather the content of `report.html` for a finished run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rankcli.config.schema import SPLITS
from rankcli.data.source import Documents
from rankcli.evaluation.trec import Qrels, Run, evaluate
from rankcli.log import say, warned
from rankcli.report.facts import Facts, Fold
from rankcli.report.history import RunHistory, Series
from rankcli.report.page import write_report
from rankcli.report.timing import slowest
from rankcli.runs.about import About, Measures
from rankcli.runs.directory import RunDirectory
from rankcli.runs.rankings import rankings_of
from rankcli.runs.written import read_run
from rankcli.storage.json_files import whole_file

NAME = "report.html"
OF_ONE_FOLD = [f"{split}_queries" for split in SPLITS]


@dataclass(frozen=True)
class Subject:
    """The content of a page that is not in the run directory: texts of the config, queries, judgments of the test
    queries, documents, counts of the data that was read, and learning rates by iteration.
    """

    about: About
    measures: Measures
    queries: Mapping[str, str]
    qrels: Qrels
    docs: Documents
    counts: Mapping[str, int]
    rates: Mapping[str, Series]


def report(subject: Subject, directory: RunDirectory, result: Mapping[str, Any], runs: Mapping[str, Run]) -> None:
    """Write the page of one run from the files in its directory and its test runs by stage, and log its path."""
    out = directory.out
    facts = Facts(
        **_common(subject, directory, result, runs),
        run=read_run(out),
        history=history_of(out),
        counts=subject.counts,
        rates=subject.rates,
    )
    _write(facts, directory)


def report_folds(subject: Subject, directory: RunDirectory, result: Mapping[str, Any], runs: Mapping[str, Run]) -> None:
    """Write the page of all folds from their pooled test runs by stage. The subject has the judgments of all folds."""
    places = [directory.out / f"fold-{number}" for number in range(len(result["folds"]))]
    run = read_run(places[0])
    facts = Facts(
        **_common(subject, directory, result, runs),
        run={key: run[key] for key in ("versions", "devices", "command")},
        history=history_of(*places),
        folds=list(_folds(result, subject.measures.metrics.optimize)),
        counts={name: n for name, n in subject.counts.items() if name not in OF_ONE_FOLD},
    )
    _write(facts, directory)


def _write(facts: Facts, directory: RunDirectory) -> None:
    write_report(directory.out / NAME, facts)
    part = slowest(facts.time)
    say(f"report: {directory.name}/{NAME}" + (f"; slowest part: {part}" if part else ""))


def _common(
    subject: Subject, directory: RunDirectory, result: Mapping[str, Any], runs: Mapping[str, Run]
) -> dict[str, Any]:
    values = _values(runs, subject.measures, subject.qrels)
    return {
        "name": _name(directory.name),
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "warnings": warned(),
        "metric": subject.measures.metrics.optimize,
        "result": result,
        "values": values,
        "rankings": list(rankings_of(values, runs, subject.qrels, subject.docs)),
        "queries": {qid: subject.queries[qid] for qid in subject.qrels},
        "summary": subject.about.summary,
        "options": subject.about.options,
    }


def history_of(*places: Path) -> RunHistory:
    """Read the history of some run directories from their metrics. A directory without metrics adds nothing."""
    files = [place / "metrics.jsonl" for place in places]
    return RunHistory.parse("".join(whole_file(file).decode(errors="replace") for file in files if file.exists()))


def _name(directory: str) -> str:
    """Return the name of a run directory; for a fold, with the name of its run."""
    parts = PurePosixPath(directory).parts
    return "/".join(parts[-2:] if parts[-1].startswith("fold-") else parts[-1:])


def _values(runs: Mapping[str, Run], measures: Measures, qrels: Qrels) -> dict[str, dict[str, float]]:
    """Return, by stage, the value of every test query in the metric that chose the weights."""
    metric, level = measures.metrics.optimize, measures.relevance_level
    return {stage: evaluate(qrels, run, [metric], level)[metric] for stage, run in runs.items()}


def _folds(result: Mapping[str, Any], metric: str) -> Iterator[Fold]:
    for number, (fold, alpha) in enumerate(zip(result["folds"], result["alpha"], strict=True)):
        name = f"fold-{number}"
        best = fold["best"][metric]["iter"]
        yield Fold(name=name, page=f"{name}/{NAME}", run_id=fold["run_id"], iteration=best, alpha=alpha)
