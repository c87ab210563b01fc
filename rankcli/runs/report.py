"""Gathers what `report.html` tells of a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from rankcli.config.registry import DATASETS, EXTRACTORS, RERANKERS, SAMPLERS
from rankcli.config.render import marked
from rankcli.config.schema import SPLITS, RunConfig, tasks
from rankcli.evaluation.trec import Qrels, Run, evaluate
from rankcli.log import say
from rankcli.runs.prepare import Prepared
from rankcli.runs.directory import RunDirectory
from rankcli.runs.sets import TRAIN
from rankcli.report.facts import Facts, Fold
from rankcli.report.history import History
from rankcli.report.page import write_report
from rankcli.report.timing import slowest

NAME = "report.html"
OF_ONE_FOLD = [f"{split}_queries" for split in SPLITS]
RUNS = {"first_stage": "test.first_stage.run", "reranked": "test.run", "interpolated": "test.interpolated.run"}


def report(prepared: Prepared, directory: RunDirectory, result: Mapping[str, Any], runs: Mapping[str, Run]) -> None:
    """Write the page of one run from what lies in its directory and its test runs by stage, and say where it is."""
    out, qrels = directory.out, prepared.dataset.judgments("test")
    facts = Facts(
        **_common(prepared.config, prepared, directory, result, qrels, runs),
        run=json.loads((out / "run.json").read_text()),
        history=history_of(out),
        counts=_counts(prepared),
    )
    _write(facts, directory)


def report_folds(
    config: RunConfig,
    prepared: Prepared,
    directory: RunDirectory,
    result: Mapping[str, Any],
    qrels: Qrels,
    runs: Mapping[str, Run],
) -> None:
    """Write the page of all folds from their pooled test runs by stage; `prepared` is any fold, `qrels` are of all."""
    places = [directory.out / f"fold-{number}" for number in range(len(result["folds"]))]
    run = json.loads((places[0] / "run.json").read_text())
    facts = Facts(
        **_common(config, prepared, directory, result, qrels, runs),
        run={key: run[key] for key in ("versions", "devices", "command")},
        history=history_of(*places),
        folds=list(_folds(result, config.metrics.optimize)),
        counts={name: n for name, n in prepared.dataset.report.items() if name not in OF_ONE_FOLD},
    )
    _write(facts, directory)


def _write(facts: Facts, directory: RunDirectory) -> None:
    write_report(directory.out / NAME, facts)
    part = slowest(facts.time)
    say(f"report: {directory.name}/{NAME}" + (f"; slowest part: {part}" if part else ""))


def _common(
    config: RunConfig,
    prepared: Prepared,
    directory: RunDirectory,
    result: Mapping[str, Any],
    qrels: Qrels,
    runs: Mapping[str, Run],
) -> dict[str, Any]:
    return {
        "name": _name(directory.name),
        "metric": config.metrics.optimize,
        "result": result,
        "values": _values(runs, config, qrels),
        "queries": {qid: prepared.dataset.queries[qid] for qid in qrels},
        "summary": _summary(config),
        "options": excerpt(marked(config)),
    }


def history_of(*places: Path) -> History:
    """What the metrics of some run directories tell; a directory without them tells nothing."""
    files = [place / "metrics.jsonl" for place in places]
    return History.parse("".join(file.read_text() for file in files if file.exists()))


def _name(directory: str) -> str:
    """The name of a run directory; a fold's with that of the run it belongs to."""
    parts = PurePosixPath(directory).parts
    return "/".join(parts[-2:] if parts[-1].startswith("fold-") else parts[-1:])


def _values(runs: Mapping[str, Run], config: RunConfig, qrels: Qrels) -> dict[str, dict[str, float]]:
    """By stage, the value of every test query in the metric that chose the weights."""
    metric = config.metrics.optimize
    return {stage: evaluate(qrels, run, [metric], config.data.relevance_level)[metric] for stage, run in runs.items()}


def _summary(config: RunConfig) -> dict[str, str]:
    trainer = config.trainer
    return {
        "Reranker": RERANKERS.name_of(config.reranker),
        "Extractor": EXTRACTORS.name_of(config.extractor),
        **{f"Sampler {name}".strip(): _drawn(task.sampler) for name, task in tasks(config).items()},
        "Collection": _collection(config),
        "Training": f"{trainer.niters} × {trainer.steps_per_iter} steps of {_groups(config)}",
    }


def _collection(config: RunConfig) -> str:
    """The name of the documents, or of the source that makes them."""
    data = config.data
    return data.builtin or str(data.docs or DATASETS.name_of(data.reader)).rsplit("/", 1)[-1]


def _drawn(sampler: Any) -> str:
    return f"{SAMPLERS.name_of(sampler)}, {sampler.group_size} documents a group"


def _groups(config: RunConfig) -> str:
    """The groups of a step."""
    found = {name: task.samples // config.trainer.steps for name, task in tasks(config).items()}
    return " and ".join(f"{count} groups {name}".strip() for name, count in found.items())


def _counts(prepared: Prepared) -> dict[str, int]:
    trainer = prepared.config.trainer
    return {
        **prepared.dataset.report,
        **{f"{each.name}_samples_read": each.samples for each in prepared.of(TRAIN).values()},
        "candidates_reranked_per_dev_query": trainer.threshold,
        "candidates_reranked_per_test_query": trainer.testthreshold,
    }


def _folds(result: Mapping[str, Any], metric: str) -> Iterator[Fold]:
    for number, (fold, alpha) in enumerate(zip(result["folds"], result["alpha"], strict=True)):
        name = f"fold-{number}"
        best = fold["best"][metric]["iter"]
        yield Fold(name=name, page=f"{name}/{NAME}", run_id=fold["run_id"], iteration=best, alpha=alpha)


def excerpt(lines: Sequence[str]) -> list[str]:
    """Of `marked` lines those that are not the default, with the sections they stand in and the sections' names."""
    kept: list[str] = []
    above: dict[int, list[str]] = {}  # by depth: the line of the section, and its name's
    for line in lines:
        mark, said = line[0], line[2:]
        depth = (len(said) - len(said.lstrip())) // 2
        above = {level: found for level, found in above.items() if level < depth}
        if said.endswith(":"):
            above[depth] = [said]
        elif said.lstrip().startswith("name: ") and mark == " " and depth - 1 in above:
            above[depth - 1].append(said)
        elif mark == "*":
            kept += [text for level in sorted(above) for text in above.pop(level)]
            kept.append(said)
    return kept
