"""One run: trained or resumed, and measured on the test queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.config.registry import SEARCHERS
from rankcli.config.render import section
from rankcli.data.trec import CompactRun, read_run
from rankcli.errors import DamageError, DataError
from rankcli.evaluation.interpolate import Scores, interpolate
from rankcli.evaluation.runs import rerank, top
from rankcli.evaluation.trec import Run
from rankcli.listeners.base import Validation
from rankcli.listeners.validation import DEV_RUN
from rankcli.log import say, warn
from rankcli.records.interleave import Records
from rankcli.records.keys import pair_keys
from rankcli.report.history import Series
from rankcli.runs.directory import RunDirectory, result_versions
from rankcli.runs.hosts import check_same
from rankcli.runs.memory import need_of, warn_of_memory
from rankcli.runs.mixed import (
    Lesson,
    Mixture,
    identity_of,
    learnt,
    reads_reranker,
    top_candidates,
    write_mixture,
)
from rankcli.runs.outcome import choose_alpha, judgments, probabilities, run_files, stages, summary, write_test
from rankcli.runs.prepare import Prepared
from rankcli.runs.report import Subject, history_of, report
from rankcli.runs.sets import DEV, TEST, TRAIN, DrawnSet
from rankcli.runs.vectors import Keep
from rankcli.runs.written import MIXTURE, RESULT, write_result
from rankcli.runs.written import read_run as read_run_json
from rankcli.signals.base import Candidates
from rankcli.storage.noted import Noted, check_noted
from rankcli.training.base import TrainerContext, TrainingSet
from rankcli.training.hooks import compares_groups
from rankcli.training.hosts import Hosts
from rankcli.training.meter import Meter
from rankcli.training.rates import Rates
from rankcli.training.strategy import open_devices

DRAWN = 200  # steps of a curve of learning rates
Use = Callable[[str], Records]


def run_once(run: Prepared, directory: RunDirectory, hosts: Hosts) -> dict[str, Any]:
    """Train and test in a run directory; return the content of its `result.json`. A finished run is not repeated."""
    finished = _finished(run, directory, hosts)
    if finished is not None:
        return finished
    directory.describe(run.about.yaml, run.identity.run_id, run.identity.content, run.sets.cache_ids)
    open_devices(run.trainer)  # so that unsupported devices raise an error before any conversion
    meter = Meter()
    used_by = directory.name, run.identity.run_id
    with run.sets.used_by(*used_by) as use, run.caches.used_by(*used_by) as keep:
        context = _context(run, directory, use, keep)
        meter.lap("conversion")
        loop = run.trainer.build(context)
        if need := need_of(loop.learner.reranker, run.trainer, run.sets):
            say(need.line())
            warn_of_memory(need)
        state = loop.fit()
        meter.lap("training")
        test = use(TEST)
        meter.lap("conversion")
        result, runs = measure(run, loop, state, test, directory.out)
        meter.lap("test")
    times = meter.times()
    result["seconds"] = {
        **history_of(directory.out).seconds(),
        **{part: times[part] for part in ("conversion", "test")},
    }
    report(_subject(run, loop.learner.rates, state.step), directory, result, runs)
    write_result(directory.out, result, [DEV_RUN, *run_files(result), *([MIXTURE] if run.mixture else [])])
    directory.sync()
    return result


def _finished(run: Prepared, directory: RunDirectory, hosts: Hosts) -> dict[str, Any] | None:
    """Return the result of a finished run if it was tested on the same records. Otherwise make the directory ready."""
    identity, ids, fastforward = run.identity, run.sets.cache_ids, run.trainer.fastforward
    also = {"fastforward": fastforward, "versions": result_versions(), "caches": ids}
    check_same(hosts, {**identity.content, **also})
    finished = directory.open(identity.run_id, identity.content, fastforward)
    if finished is None:
        return None
    if _tested_on(directory.out) == ids[TEST] and _mixed_alike(run, finished):
        say(f"{directory.name}: this run is finished; its result follows (--overwrite trains anew)")
        return finished
    say(f"{directory.name}: this run is finished, but its test was another one: testing anew")
    (directory.out / RESULT).unlink()
    return None


def _mixed_alike(run: Prepared, finished: Mapping[str, Any]) -> bool:
    """True if the mixture of a result is the one that is wanted now, or if there is none in both."""
    wanted = run.mixture and identity_of(run.mixture)
    return bool((finished.get("mixture") or {}).get("identity") == wanted)


def _tested_on(out: Path) -> Any:
    """Return the cache id of the test records of `result.json`.

    The run id does not depend on these records, because training does not use them.
    """
    return read_run_json(out)["cache_ids"].get(TEST)


def _context(run: Prepared, directory: RunDirectory, use: Use, keep: Keep) -> TrainerContext:
    sets, start, measures = run.sets, run.start, run.measures
    train = sets.of(TRAIN)
    drawn = train.get(TRAIN)  # None for several tasks, which have no common sampler
    keyed = compares_groups(run.trainer.losses(), run.trainer.hooks)
    return TrainerContext(
        reranker=start.reranker,
        extractor=start.extractor,
        models=start.models,
        sections=run.about.sections,
        train={key: TrainingSet(use(each.name), each.extractor, keyed) for key, each in train.items()},
        dev={
            key: Validation(use(each.name), each.judgments, each.candidates, measures.relevance_level, measures.metrics)
            for key, each in sets.of(DEV).items()
        },
        out=directory.out,
        run_id=run.identity.run_id,
        sync=directory.sync,
        sampler=drawn.drawn_by if isinstance(drawn, DrawnSet) else None,
        initialise=start.initialise,
        keep=keep,
        judged=pair_keys(next(iter(train.values())).relevant()) if keyed else None,  # the same of all tasks
    )


def measure(run: Prepared, loop: Any, state: Any, test: Records, out: Path) -> tuple[dict[str, Any], Mapping[str, Run]]:
    """Rerank test with the best weights, choose alpha on dev, compare with the first stage.

    Return the result, and the test runs by stage.
    """
    depths = {DEV: run.trainer.threshold, TEST: run.trainer.test_depth}
    found = loop.best_scorer().scores(test, "reranking test")
    first = {split: run.sets[split].candidates for split in depths}
    scores = {DEV: _dev_scores(loop, first[DEV], depths[DEV], out), TEST: found}
    judged = {split: judgments(run.dataset.judgments(split), run.measures) for split in depths}
    alpha = choose_alpha(judged[DEV], first[DEV], scores[DEV], depths[DEV])
    runs = {split: stages(first[split], scores[split], alpha, depths[split]) for split in depths}
    given = {split: {"reranked": scores[split]} for split in depths}
    for split, depth in depths.items():
        given[split]["interpolated"] = interpolate(top(first[split], depth), scores[split], alpha)
    mixture = _mixed(run, scores, runs[TEST], given, out) if run.mixture else None
    write_test(out, runs[TEST], judged[TEST])
    result = {
        "schema_version": 1,
        "run_id": run.identity.run_id,
        "splits": {split: summary(judged[split], runs[split]) for split in depths},
        "first_stage": run.first_stage,
        "searcher": section(SEARCHERS, run.searcher) if run.searches else None,
        "alpha": alpha,
        **({"mixture": mixture.told} if mixture else {}),
        "probability": probabilities(given[DEV], given[TEST], judged[DEV], judged[TEST]),
        **loop.outcome(state),
        "train_seconds": state.seconds,
        "pairs_per_second": run.sets.pairs * state.step / max(run.trainer.steps, 1) / max(state.seconds, 1e-9),
    }
    return result, runs[TEST]


def _mixed(
    run: Prepared, scores: Mapping[str, Scores], test: dict[str, Run], given: dict[str, dict[str, Scores]], out: Path
) -> Mixture:
    """Learn the mixture, write it, and add its test run, and its scores of both splits to `given`.

    A reranker that was trained has seen the training queries: with its score, only dev queries teach.
    """
    assert run.mixture is not None
    own = reads_reranker(run.mixture.signals)
    qids = [qid for split in ((DEV,) if own else (TRAIN, DEV)) for qid in run.dataset.split[split]]
    depths, queries = (run.trainer.threshold, run.trainer.test_depth), run.dataset.queries
    taught = top_candidates(queries, run.candidates.part(qids), depths[0], scores[DEV] if own else None)
    lesson = Lesson(run.mixture, run.dataset, taught, run.measures.metrics.optimize, depths[1], run.caches.storage)
    first = {split: run.sets[split].candidates for split in (DEV, TEST)}
    wanted: dict[str, Candidates] = {}
    for split, depth in zip(first, depths, strict=True):
        wanted |= top_candidates(queries, first[split], depth, scores[split] if own else None)
    mixture, found = learnt(lesson, wanted)
    for split, each in first.items():
        given[split]["mixed"] = {qid: found[qid] for qid in each if qid in found}
    test["mixed"] = rerank(first[TEST], given[TEST]["mixed"])
    write_mixture(out, mixture)
    return mixture


def _dev_scores(loop: Any, candidates: CompactRun, depth: int, out: Path) -> Scores:
    """Return the scores of the best weights for the dev candidates, from the run that validation wrote.

    If it is gone or was changed, it is made again.
    """
    try:
        return _kept_scores(loop.dev_run, candidates, depth, out)
    except (DamageError, DataError) as error:
        warn(f"{error.where}: {error.what}; dev is reranked again")
    loop.write_dev_run()
    return _kept_scores(loop.dev_run, candidates, depth, out)


def _kept_scores(known: Noted, candidates: CompactRun, depth: int, out: Path) -> Scores:
    path = out / DEV_RUN
    if not path.is_file():
        raise DamageError("the file is missing", where=str(path))
    check_noted(out, known)
    run = read_run(path)
    try:
        return {qid: {docid: run[qid][docid] for docid in scores} for qid, scores in top(candidates, depth).items()}
    except KeyError as error:
        raise DamageError(f"it does not have {error}", where=str(path)) from error


def _subject(run: Prepared, rates: Rates, steps: int) -> Subject:
    counts = {
        **run.dataset.report,
        **{f"{each.name}_samples_read": each.samples for each in run.sets.of(TRAIN).values()},
        "candidates_reranked_per_dev_query": run.trainer.threshold,
        "candidates_reranked_per_test_query": run.trainer.test_depth,
    }
    return Subject(
        about=run.about,
        measures=run.measures,
        queries=run.dataset.queries,
        qrels=run.dataset.judgments(TEST),
        docs=run.dataset.docs,
        counts=counts,
        rates=_drawn_rates(rates, steps, run.trainer.steps_per_iter),
    )


def _drawn_rates(rates: Rates, steps: int, steps_per_iter: int) -> dict[str, Series]:
    """Return the learning rates of each group after at most `DRAWN` steps, by iteration."""
    drawn = sorted({int(step) for step in np.linspace(0, steps - 1, min(steps, DRAWN))})
    found = {step: rates(step) for step in drawn}
    return {name: [((step + 1) / steps_per_iter, found[step][name]) for step in drawn] for name in rates.starts}
