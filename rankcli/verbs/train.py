"""Train one run, or one per fold, and measure it on the test queries."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rankcli.config.registry import EXTRACTORS, RERANKERS
from rankcli.config.render import resolved, section, to_yaml
from rankcli.config.schema import RunConfig
from rankcli.data.trec import read_run, write_run
from rankcli.errors import ConfigError
from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.report import split_table
from rankcli.evaluation.runs import top
from rankcli.evaluation.trec import Run
from rankcli.listeners.base import DEV, Validation
from rankcli.listeners.team import chosen
from rankcli.log import say
from rankcli.records.interleave import Records
from rankcli.report.history import added
from rankcli.runs.directory import RunDirectory, result_versions, write_json
from rankcli.runs.hosts import check_same, common_directory
from rankcli.runs.outcome import Judgments, choose_alpha, stages, summary
from rankcli.runs.plan import check_parts, plan
from rankcli.runs.prepare import Prepared, prepare
from rankcli.runs.report import RUNS, history_of, report, report_folds
from rankcli.storage.disk import guard
from rankcli.storage.mirror import Mirror
from rankcli.storage.places import local_root
from rankcli.storage.scratch import sweep_files
from rankcli.training.base import TrainerContext, TrainingSet
from rankcli.training.hosts import Hosts
from rankcli.training.meter import Meter
from rankcli.training.strategy import make_strategy, open_devices


def train(config: RunConfig, *, out: str | Path, overwrite: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Run the config into `out`, a directory here or a `gs://` URI.

    Returns `text` for people and `result`, the content of `result.json` (or the plan).
    """
    mirror = Mirror(out, local_root(config.trainer.storage))
    mirror.check()
    chosen(config.trainer, [DEV, *(config.data.devsets or {})], config.metrics)  # to tell what is wrong before any work
    folds = config.data.folds
    if folds is not None and folds.fold == "all":
        return _all_folds(config, mirror, overwrite, dry_run)
    if dry_run:
        return plan(_prepared(config))
    hosts = _hosts(config)
    with hosts.together():
        prepared = _prepared(config)
        with common_directory(hosts, mirror, overwrite) as directory:
            result = _one_run(prepared, directory, hosts)
    return {"result": result, "text": _text(result, mirror.uri)}


def _hosts(config: RunConfig) -> Hosts:
    """The hosts to train on. Several must find each other before anything else opens a device."""
    trainer = config.trainer
    return Hosts(make_strategy(trainer.strategy) if trainer.strategy == "multiworker" else None)


def _prepared(config: RunConfig) -> Prepared:
    """A config with its inputs and other weights to start from: what is wrong with them is told before all work."""
    prepared = prepare(config)
    if prepared.initial is not None:
        prepared.initial.check()
        prepared.initial.warn_of_leakage(prepared.dataset)
    check_parts(prepared)
    return prepared


def _text(result: Mapping[str, Any], out: str) -> str:
    parts = [f"{split}\n{split_table(found)}" for split, found in result["splits"].items()]
    if result.get("stopped"):
        parts.append(f"stopped early, after iteration {result['stopped']['iter']}: {result['stopped']['why']}")
    parts.append(
        f"alpha (weight of the reranker, chosen on dev): {result['alpha']}\n"
        f"trained {result['train_seconds']:.0f} s at {result['pairs_per_second']:.1f} pairs/s; run directory: {out}"
    )
    return "\n\n".join(parts)


def _one_run(prepared: Prepared, directory: RunDirectory, hosts: Hosts) -> dict[str, Any]:
    config, out = prepared.config, directory.out
    also = {"fastforward": config.trainer.fastforward, "versions": result_versions(), "caches": prepared.cache_ids}
    check_same(hosts, {**prepared.run_identity, **also})
    finished = directory.open(prepared.run_id, prepared.run_identity, config.trainer.fastforward)
    if finished is not None and _tested_on(out) == prepared.cache_ids["test"]:
        say(f"{directory.name}: this run is finished; its result follows (--overwrite trains anew)")
        return finished
    if finished is not None:
        say(f"{directory.name}: this run is finished, but its test was another one: testing anew")
        (out / "result.json").unlink()
    directory.describe(to_yaml(resolved(config)), prepared.run_id, prepared.run_identity, prepared.cache_ids)
    open_devices(config.trainer)  # to tell what they cannot do before any conversion
    meter = Meter()
    with ExitStack() as uses:
        context = _context(prepared, directory, uses)
        meter.lap("conversion")
        loop = config.trainer.build(context)
        state = loop.fit()
        meter.lap("training")
        test = prepared.use("test", directory.name, uses)
        meter.lap("conversion")
        result, runs = _measure(prepared, loop, state, test, out)
        meter.lap("test")
    times = meter.times()
    result["seconds"] = {**history_of(out).seconds(), **{part: times[part] for part in ("conversion", "test")}}
    report(prepared, directory, result, runs)
    write_json(out / "result.json", result)
    directory.sync()
    return result


def _tested_on(out: Path) -> Any:
    """The id of the test records that `result.json` is about; a run's own id leaves them out, as does training."""
    return json.loads((out / "run.json").read_text())["cache_ids"]["test"]


def _context(prepared: Prepared, directory: RunDirectory, uses: ExitStack) -> TrainerContext:
    config = prepared.config
    return TrainerContext(
        reranker=config.reranker,
        extractor=prepared.extractor,
        models=prepared.models,
        sections={
            "reranker": section(RERANKERS, config.reranker),
            "extractor": section(EXTRACTORS, config.extractor),
        },
        train={
            key: TrainingSet(prepared.use(each.name, directory.name, uses), each.extractor)
            for key, each in prepared.of("train").items()
        },
        dev={
            key: Validation(
                prepared.use(each.name, directory.name, uses),
                each.judgments,
                each.candidates,
                config.data.relevance_level,
                config.metrics,
            )
            for key, each in prepared.of("dev").items()
        },
        out=directory.out,
        run_id=prepared.run_id,
        sync=directory.sync,
        sampler=config.sampler,
        initialise=prepared.initialise,
    )


def _measure(
    prepared: Prepared, loop: Any, state: Any, test: Records, out: Path
) -> tuple[dict[str, Any], Mapping[str, Run]]:
    """Rerank test with the best weights, choose alpha on dev, compare with the first stage: the result, and the test
    runs by stage.
    """
    trainer = prepared.config.trainer
    depths = {"dev": trainer.threshold, "test": trainer.testthreshold}
    found = loop.best_predictor().scores(test, "reranking test")
    scores = {"dev": _dev_scores(prepared, out), "test": found}
    judgments = {split: _judgments(prepared, split) for split in depths}
    first = {split: prepared.candidates(split) for split in depths}
    alpha = choose_alpha(judgments["dev"], first["dev"], scores["dev"], depths["dev"])
    runs = {split: stages(first[split], scores[split], alpha, depths[split]) for split in depths}
    for stage, name in RUNS.items():
        write_run(out / name, runs["test"][stage], tag=f"rankcli-{stage}")
    result = {
        "schema_version": 1,
        "run_id": prepared.run_id,
        "splits": {split: summary(judgments[split], runs[split]) for split in depths},
        "alpha": alpha,
        **loop.outcome(state),
        "train_seconds": state.seconds,
        "pairs_per_second": prepared.pairs * state.step / trainer.steps / max(state.seconds, 1e-9),
    }
    return result, runs["test"]


def _dev_scores(prepared: Prepared, out: Path) -> Scores:
    """What the best weights gave the dev candidates, from the run that validation wrote."""
    run, depth = read_run(out / "dev.run"), prepared.config.trainer.threshold
    kept = top(prepared.candidates("dev"), depth)
    return {qid: {docid: run[qid][docid] for docid in scores} for qid, scores in kept.items()}


def _judgments(prepared: Prepared, split: str) -> Judgments:
    config = prepared.config
    return Judgments(prepared.dataset.judgments(split), config.metrics.all, config.data.relevance_level)


def _fold(config: RunConfig, number: int) -> RunConfig:
    assert config.data.folds is not None
    folds = dataclasses.replace(config.data.folds, fold=number)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, folds=folds))


def _check_for_folds(directory: RunDirectory) -> None:
    """ConfigError for the directory of a single run: folds of two runs must never lie side by side."""
    if (directory.out / "run.json").exists():
        fix = "give another --out, or --overwrite to set a run aside"
        raise ConfigError("this is not a directory of all folds", where=directory.name, fix=fix)
    with guard(directory.out):
        sweep_files(directory.out)  # that a killed run was writing; each fold has its own


def _all_folds(config: RunConfig, mirror: Mirror, overwrite: bool, dry_run: bool) -> dict[str, Any]:
    """Every fold in turn, each in `OUT/fold-N`; then the test runs of all folds pooled into one."""
    assert config.data.folds is not None and config.data.folds.k is not None
    numbers = range(config.data.folds.k)
    if dry_run:
        return plan(_prepared(_fold(config, 0)), folds=len(numbers))
    hosts = _hosts(config)
    with hosts.together():
        prepared = _prepared(_fold(config, 0))
        with common_directory(hosts, mirror, overwrite) as directory:
            pooled = _folds(config, numbers, prepared, directory, hosts)
    return {"result": pooled, "text": _text(pooled, mirror.uri)}


def _folds(
    config: RunConfig, numbers: range, prepared: Prepared, directory: RunDirectory, hosts: Hosts
) -> dict[str, Any]:
    _check_for_folds(directory)
    results: list[dict[str, Any]] = []
    qrels: dict[str, Mapping[str, int]] = {}
    for number in numbers:
        say(f"fold {number} of {len(numbers)}")
        prepared = _prepared(_fold(config, number)) if number else prepared
        with directory.fold(number) as fold:
            results.append(_one_run(prepared, fold, hosts))
        qrels.update(prepared.dataset.judgments("test"))
    judgments = Judgments(qrels, config.metrics.all, config.data.relevance_level)
    pooled, runs = _pooled(results, judgments, directory.out)
    report_folds(config, prepared, directory, pooled, qrels, runs)
    write_json(directory.out / "result.json", pooled)
    directory.sync()
    return pooled


def _pooled(results: list[dict[str, Any]], judgments: Judgments, out: Path) -> tuple[dict[str, Any], Mapping[str, Run]]:
    """The test runs of all folds as one, written and measured: the result, and the runs by stage."""
    runs: dict[str, Scores] = {stage: {} for stage in RUNS}
    for stage, name in RUNS.items():
        for number in range(len(results)):
            runs[stage].update(read_run(out / f"fold-{number}" / name))
        write_run(out / name, runs[stage], tag=f"rankcli-{stage}")
    pooled = {
        "schema_version": 1,
        "run_id": None,
        "splits": {"test": summary(judgments, runs)},
        "alpha": [result["alpha"] for result in results],
        "folds": [{"run_id": result["run_id"], "best": result["best"]} for result in results],
        "train_seconds": sum(result["train_seconds"] for result in results),
        "pairs_per_second": sum(result["pairs_per_second"] for result in results) / len(results),
        "seconds": added(result.get("seconds", {}) for result in results),
    }
    return pooled, runs
