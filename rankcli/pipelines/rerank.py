"""Rerank a TREC run with a trained model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.config.load import load_saved
from rankcli.config.schema import RunConfig
from rankcli.data.formats import read_queries
from rankcli.data.store import DocStore, open_store
from rankcli.data.trec import ranking, read_run, write_run
from rankcli.errors import ConfigError, DataError, MissingError
from rankcli.extractors._base import Extractor
from rankcli.log import say, warn
from rankcli.pipelines._prepare import Prepared, cache_root, prepare
from rankcli.records.convert import ConversionJob, convert
from rankcli.rerankers._base import Reranker
from rankcli.rerankers._saved import load_reranker
from rankcli.samplers._candidates import Candidates
from rankcli.shapes import Judged
from rankcli.storage.base import open_storage
from rankcli.text.hub import resolve
from rankcli.trainers._base import Records, Scores
from rankcli.trainers._checkpoint import read_weights
from rankcli.trainers._predict import Predictor
from rankcli.trainers._runs import rerank as merge
from rankcli.trainers._strategy import make_runtime_deterministic, make_strategy


@dataclass(frozen=True)
class Inputs:
    """Texts and candidates to rerank."""

    store: DocStore
    queries: Mapping[str, str]
    run: Scores


def is_run_directory(model: str) -> bool:
    """Whether `model` is what `rankcli train` leaves, rather than a directory of weights or a hub id."""
    return (Path(model) / "run.json").is_file()


def run_config(model: Path) -> RunConfig:
    """The config of a run directory."""
    return load_saved(model / "config.yaml")


def open_model(model: str, weights: str, dtype: str) -> tuple[Reranker, Extractor]:
    """The reranker and its extractor: from a run directory by `weights`, or from a directory of weights or a hub id."""
    if not is_run_directory(model):
        if weights != "best":
            raise ConfigError(f"--weights {weights} needs a run directory", where=model)
        reranker, extractor, _ = load_reranker(resolve(model), dtype)
        return reranker, extractor
    out = Path(model)
    kind, _, which = weights.partition(":")
    metric = which if kind == "best" and which else run_config(out).metrics.optimize
    best = out / "best" / metric
    if not best.is_dir():
        kept = ", ".join(sorted(path.name for path in (out / "best").glob("*"))) or "none"
        raise MissingError(f"there are no best weights by {metric} (kept: {kept})", where=model)
    reranker, extractor, _ = load_reranker(best, dtype)
    if kind in ("last", "iter"):
        read_weights(out / "checkpoints", None if kind == "last" else int(which), reranker.variables)
    elif kind != "best":
        raise ConfigError(f"unknown --weights {weights!r}", fix="use best, best:METRIC, last or iter:N")
    return reranker, extractor


def _own_inputs(model: Path, split: str) -> Inputs:
    config = run_config(model)
    folds = config.data.folds
    if folds is not None and folds.fold == "all":
        raise ConfigError("this directory holds all folds", where=str(model), fix="give one of its fold-N directories")
    prepared: Prepared = prepare(config)
    return Inputs(prepared.dataset.docs, prepared.dataset.queries, prepared.candidates(split))


def _given_inputs(docs: str, queries: str, run: str) -> Inputs:
    store = open_store(Path(docs), None, cache_root(None))
    return Inputs(store, read_queries(Path(queries)), read_run(Path(run)))


def _checked(inputs: Inputs) -> Inputs:
    """Refuse a run whose queries or documents are not there; nothing could be scored or everything would be dropped."""
    unknown = [qid for qid in inputs.run if qid not in inputs.queries]
    if len(unknown) == len(inputs.run):
        raise DataError(f"none of the run's {len(unknown)} queries has a text, for example {unknown[0]!r}")
    if unknown:
        warn(f"{len(unknown)} queries of the run have no text and keep their order, for example {unknown[0]!r}")
    for qid, scores in inputs.run.items():
        for docid in scores:
            if docid not in inputs.store:
                raise DataError(f"document {docid!r} (query {qid!r}) is in the run but not in the collection")
    return inputs


def rerank(
    *,
    model: str,
    output: Path,
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

    Without `docs`, `queries` and `run` the run directory's own data and candidates of `split` are reranked.
    """
    given = [docs, queries, run]
    if any(given) and not all(given):
        raise ConfigError("give all of --docs, --queries and --run, or none of them")
    if docs and queries and run:
        inputs = _given_inputs(docs, queries, run)
    elif is_run_directory(model):
        inputs = _own_inputs(Path(model), split)
    else:
        raise ConfigError("--docs, --queries and --run are needed: this model is not a run directory", where=model)
    inputs = _checked(inputs)
    make_runtime_deterministic(0)
    devices = make_strategy(strategy)
    with devices.scope():
        reranker, extractor = open_model(model, weights, "bfloat16" if amp == "bf16" else "float32")
    scores = _score(inputs, extractor, Predictor(devices, reranker, extractor, evalbatch), depth)
    write_run(output, merge(inputs.run, scores), tag="rankcli")
    pairs = sum(map(len, scores.values()))
    say(f"reranked {pairs} pairs of {len(scores)} queries")
    return {"result": {"queries": len(scores), "pairs": pairs, "output": str(output)}, "text": f"wrote {output}"}


def _score(inputs: Inputs, extractor: Extractor, predictor: Predictor, depth: int | None) -> Scores:
    longest = max(map(len, inputs.run.values()))
    known = {qid: ranking(found) for qid, found in inputs.run.items() if qid in inputs.queries}
    judged = Judged(qids=tuple(sorted(known)), run=known)
    candidates = Candidates(judged, depth or longest)
    scratch = cache_root(None)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="rerank.tmp.") as folder:
        storage = open_storage(folder)
        job = ConversionJob(
            cache_id="rerank",
            identity={},
            sampler=candidates,
            samples=len(candidates),
            extractor=extractor,
            queries=inputs.queries,
            docs=inputs.store,
            storage=storage,
        )
        manifest = convert(job, processes=os.cpu_count() or 1)
        return predictor.scores(Records(manifest, storage), "reranking")
