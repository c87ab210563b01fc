"""Rerank a TREC run with a trained model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.config.identity import digest_of_items
from rankcli.data.dataset import load_dataset
from rankcli.data.joins import warn_of_training
from rankcli.data.store import DocStore, open_store
from rankcli.data.trec import Run, ranking, read_run, write_run
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.interpolate import Scores
from rankcli.evaluation.runs import rerank as merge
from rankcli.extractors._base import Extractor
from rankcli.log import warn
from rankcli.pipelines._hosts import check_same
from rankcli.pipelines._model import Model, find_model, open_model, trained_queries
from rankcli.pipelines._rundir import versions
from rankcli.pipelines.search import first_stage, read_topics
from rankcli.records.convert import ConversionJob, convert
from rankcli.records.interleave import Records
from rankcli.samplers._candidates import Candidates
from rankcli.shapes import Judged
from rankcli.storage.base import open_storage
from rankcli.storage.places import local_root
from rankcli.storage.scratch import scratch
from rankcli.trainers._hosts import Hosts
from rankcli.trainers._predict import Predictor
from rankcli.trainers._strategy import make_runtime_deterministic, make_strategy

TAG = "rankcli-reranked"  # as in the run directory's own test.run


@dataclass(frozen=True)
class Inputs:
    """Texts and candidates to rerank, how messages call the run, and the texts of queries that were trained on."""

    store: DocStore
    queries: Mapping[str, str]
    run: Run
    source: str
    trained: Mapping[str, str]


def rerank(
    *,
    model: str,
    output: str | Path,
    weights: str = "best",
    docs: str | None = None,
    queries: str | None = None,
    run: str | None = None,
    depth: int | None = None,
    split: str = "test",
    evalbatch: int = 0,
    amp: str = "none",
    strategy: str = "auto",
) -> dict[str, Any]:
    """Score the first `depth` documents of each query and write the reordered run to `output`.

    Without `docs`, `queries` and `run` the run directory's own data and candidates of `split` are reranked. Of several
    hosts, each needs the model and the files; the first one writes.
    """
    given = [docs, queries, run]
    if any(given) and not all(given):
        raise ConfigError("give all of --docs, --queries and --run, or none of them")
    opened = Reranking(model, weights, evalbatch, amp, strategy, own=not any(given))
    return opened(output=output, docs=docs, queries=queries, run=run, depth=depth, split=split)


class Reranking:
    """A model that is open: it reranks run after run, and compiles once."""

    def __init__(
        self,
        model: str,
        weights: str = "best",
        evalbatch: int = 0,
        amp: str = "none",
        strategy: str = "auto",
        own: bool = False,
    ) -> None:
        self.model = find_model(model, weights)
        if own and not self.model.is_run_directory:
            raise ConfigError("--docs, --queries and --run are needed: this model is not a run directory", where=model)
        make_runtime_deterministic(0)
        devices = make_strategy(strategy)
        with devices.scope():
            reranker, self.extractor = open_model(self.model, weights, "bfloat16" if amp == "bf16" else "float32")
            reranker.freeze()
        self.hosts = Hosts(devices)
        self.predictor = Predictor(devices, reranker, self.extractor, evalbatch)

    def __call__(
        self,
        *,
        output: str | Path,
        docs: str | None = None,
        queries: str | None = None,
        run: str | None = None,
        depth: int | None = None,
        split: str = "test",
    ) -> dict[str, Any]:
        """Rerank a run, or one of the model's own run directory; what was done, for people and for programs."""
        if docs and queries and run:
            inputs = _given_inputs(self.model, docs, queries, run)
        else:
            inputs = _own_inputs(self.model, split)
        with self.hosts.together():
            given = {"candidates": digest_of_items(inputs.run.items()), "depth": depth, "versions": versions()}
            check_same(self.hosts, given)
            scores = _score(inputs, _candidates(inputs, depth), self.extractor, self.predictor)
        if self.hosts.chief:
            write_run(output, merge(inputs.run, scores), tag=TAG)
        return _outcome(inputs.run, scores, output)


def _outcome(run: Run, scores: Scores, output: str | Path) -> dict[str, Any]:
    done = {
        "output": str(output),
        "queries": len(run),
        "lines": sum(map(len, run.values())),
        "pairs": sum(map(len, scores.values())),
    }
    text = f"{output}: {done['lines']} lines for {len(run)} queries, {done['pairs']} pairs scored"
    return {"result": done, "text": text}


def _own_inputs(model: Model, split: str) -> Inputs:
    """The data of a run directory, and the candidates of one part of its split."""
    config = model.config
    root = local_root(config.trainer.storage)
    dataset = load_dataset(config.data, root)
    found = first_stage(dataset, config.data.run, root)
    run = found.part(dataset.split[split])
    return Inputs(dataset.docs, dataset.queries, run, f"{model.said}, {split}", dataset.topics("train"))


def _given_inputs(model: Model, docs: str, queries: str, run: str) -> Inputs:
    store = open_store(docs, None, local_root())
    return Inputs(store, read_topics(queries), read_run(run), run, trained_queries(model))


def _candidates(inputs: Inputs, depth: int | None) -> Candidates:
    """What is scored: documents with a text, of queries with a text. The rest keeps its place behind them."""
    retrieved = {docid for scores in inputs.run.values() for docid in scores}
    known = inputs.store.known(retrieved)
    queries = [qid for qid in inputs.run if qid in inputs.queries]
    _check_known(inputs, "queries", set(inputs.run), set(queries))
    _check_known(inputs, "documents", retrieved, known)
    warn_of_training(inputs.trained, {qid: inputs.queries[qid] for qid in queries}, inputs.source)
    run = {qid: tuple(docid for docid in ranking(inputs.run[qid]) if docid in known) for qid in queries}
    return Candidates(Judged(qids=tuple(sorted(run)), run=run), depth or max(map(len, run.values())))


def _check_known(inputs: Inputs, kind: str, used: set[str], known: set[str]) -> None:
    if not known:
        example = f", for example {min(used)!r}" if used else ""
        raise DataError(
            f"none of the run's {len(used)} {kind} has a text{example}",
            where=inputs.source,
            fix="check that the files belong together",
        )
    if unknown := used - known:
        warn(
            f"{inputs.source}: {len(unknown)} of {len(used)} {kind} have no text, for example {min(unknown)!r}; "
            "they are not scored and keep their order"
        )


def _score(inputs: Inputs, candidates: Candidates, extractor: Extractor, predictor: Predictor) -> Scores:
    with scratch(local_root(), "rerank") as folder:
        storage = open_storage(str(folder / "records"))
        job = ConversionJob(
            cache_id="rerank",
            identity={},
            sampler=candidates,
            samples=len(candidates),
            group_size=candidates.group_size,
            extractor=extractor,
            queries=inputs.queries,
            docs=inputs.store,
            storage=storage,
            work=folder / "work",
        )
        manifest = convert(job, processes=os.cpu_count() or 1)
        return predictor.scores(Records(manifest, storage), "reranking")
