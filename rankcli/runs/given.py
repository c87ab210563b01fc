"""The data of a run directory, or of files, to rerank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rankcli.data.dataset import load_dataset
from rankcli.data.documents import open_store
from rankcli.data.source import NoDocuments
from rankcli.data.trec import CompactRun
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor
from rankcli.runs.candidates import first_stage, searched, warn_unanswered
from rankcli.runs.listed import features_in
from rankcli.runs.model import Model, searcher_of, trained_queries
from rankcli.runs.stream import Inputs, run_in
from rankcli.runs.tuned import tuned_stage
from rankcli.storage.places import local_root


def own_inputs(model: Model, split: str) -> Inputs:
    """Return the data of a run directory, and the candidates of one part of its split."""
    config = model.config
    root = local_root(config.trainer.storage)
    dataset = load_dataset(config.data, root)
    found = first_stage(dataset, tuned_stage(config, dataset, root).option, root)
    run = found.part(sorted(dataset.split[split]))
    trained = dataset.topics("train")
    return Inputs(
        dataset.docs, dataset.queries, run.items(), f"{model.said}, {split}", trained, dataset.features, dataset.content
    )


def listed_inputs(model: Model, path: str, extractor: Extractor, scores: str | None = None) -> Inputs:
    """Return the lists of a file of features; `scores` is a run, of which the model reads the scores."""
    if model.home is None:
        raise ConfigError("--features needs a run directory, which says how the file is read", where=model.said)
    source = features_in(path, model.home.config, getattr(extractor, "width", None), scores)
    lists = source.qrels[""].items()
    run = CompactRun.of((qid, dict.fromkeys(grades, 0.0)) for qid, grades in lists)
    docs = source.docs or NoDocuments(path)
    return Inputs(docs, source.queries, run.items(), path, {}, source.features, source.fingerprint)


def given_inputs(model: Model, docs: str, queries: Mapping[str, str], run: str | None) -> Inputs:
    """Return texts, and the candidates of a run, or those that are searched as in the training."""
    store = open_store(docs, None, local_root())
    if run is None:
        searcher = searcher_of(model)
        found = searched(store, queries, searcher)
        warn_unanswered(found, queries)
        return Inputs(store, queries, found.items(), str(searcher), trained_queries(model))
    return Inputs(store, queries, run_in(run), run, trained_queries(model))


def own_files(model: Model) -> Iterator[str | Path]:
    """Yield the paths among the options of the model's own data, and other texts."""
    left: list[Any] = [asdict(model.config.data)]
    while left:
        value = left.pop()
        if isinstance(value, (str, Path)):
            yield value
        left += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
