"""All folds in turn, each in `OUT/fold-N`, and their test runs pooled into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rankcli.backend import graphs_let_go
from rankcli.config.schema import RunConfig
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError
from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.trec import Run
from rankcli.log import say
from rankcli.report.history import added
from rankcli.runs.about import about
from rankcli.runs.directory import RunDirectory
from rankcli.runs.outcome import RUNS, Judgments, judgments, run_files, summary, write_test
from rankcli.runs.prepare import Prepared, checked
from rankcli.runs.report import Subject, report_folds
from rankcli.runs.sets import TEST
from rankcli.runs.single import run_once
from rankcli.runs.written import write_result
from rankcli.storage.disk import guard
from rankcli.storage.scratch import sweep_files
from rankcli.training.hosts import Hosts


def configs_of_folds(config: RunConfig) -> list[RunConfig]:
    """Return the config of every fold if the config says `fold: all`, else an empty list."""
    folds = config.data.folds
    if folds is None or folds.fold != "all":
        return []
    assert folds.k is not None
    splits = [replace(folds, fold=number) for number in range(folds.k)]
    return [replace(config, data=replace(config.data, folds=split)) for split in splits]


def run_folds(
    config: RunConfig, folds: Sequence[RunConfig], first: Prepared, directory: RunDirectory, hosts: Hosts
) -> dict[str, Any]:
    """Train and test every fold, and return the content of the pooled `result.json`.

    `first` is the first fold, already prepared.
    """
    _check_for_folds(directory)
    results: list[dict[str, Any]] = []
    qrels: dict[str, Mapping[str, int]] = {}
    run = first
    for number, fold in enumerate(folds):
        say(f"fold {number} of {len(folds)}")
        run = checked(fold) if number else first
        with graphs_let_go(), directory.fold(number) as inside:
            results.append(run_once(run, inside, hosts))
        qrels.update(run.dataset.judgments(TEST))
    pooled, runs = _pooled(results, judgments(qrels, run.measures), directory.out)
    data = run.dataset
    subject = Subject(about(config), run.measures, data.queries, qrels, data.docs, data.report, {})
    report_folds(subject, directory, pooled, runs)
    write_result(directory.out, pooled, run_files(pooled))
    directory.sync()
    return pooled


def _check_for_folds(directory: RunDirectory) -> None:
    """Raise ConfigError for the directory of a single run, so that folds of two runs are never mixed. Remove temporary
    files.
    """
    if (directory.out / "run.json").exists():
        fix = "give another --out, or --overwrite to set a run aside"
        raise ConfigError("this is not a directory of all folds", where=directory.name, fix=fix)
    with guard(directory.out):
        sweep_files(directory.out)  # temporary files of a killed run; each fold sweeps its own directory


def _pooled(results: list[dict[str, Any]], judged: Judgments, out: Path) -> tuple[dict[str, Any], Mapping[str, Run]]:
    """Pool the test runs of all folds, write and measure them. Return the result and the runs by stage."""
    runs: dict[str, Scores] = {stage: {} for stage in RUNS if stage in results[0]["splits"][TEST]}
    for stage in runs:
        for number in range(len(results)):
            runs[stage].update(read_run(out / f"fold-{number}" / RUNS[stage]))
    write_test(out, runs, judged)
    pooled = {
        "schema_version": 1,
        "run_id": None,
        "splits": {TEST: summary(judged, runs)},
        "first_stage": [result.get("first_stage") for result in results],
        "alpha": [result["alpha"] for result in results],
        **({"mixture": [result["mixture"] for result in results]} if "mixed" in runs else {}),
        "folds": [{"run_id": result["run_id"], "best": result["best"]} for result in results],
        "train_seconds": sum(result["train_seconds"] for result in results),
        "pairs_per_second": sum(result["pairs_per_second"] for result in results) / len(results),
        "seconds": added(result.get("seconds", {}) for result in results),
    }
    return pooled, runs
