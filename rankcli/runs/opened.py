"""Open the reranker of `--model` and `--weights`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rankcli.config.registry import RERANKERS, path_options
from rankcli.encoders.build import find_model_directory
from rankcli.errors import StorageError
from rankcli.extractors.base import Extractor
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.saved import load_reranker
from rankcli.runs.model import Model, places
from rankcli.runs.start import Start, hashes_of_models
from rankcli.runs.written import read_run
from rankcli.training.variables import assign_variables


class OpenModel(NamedTuple):
    """A reranker, its extractor, the columns that both read, and whether it scores a query's documents together."""

    reranker: Reranker
    extractor: Extractor
    columns: tuple[str, ...]
    listwise: bool


def open_model(model: Model, weights: str, dtype: str) -> OpenModel:
    """Open a reranker: from a run directory by `weights`, or from a directory of weights or a hub id."""
    directory, checkpoint = places(model, weights)
    reranker, extractor, sections = load_reranker(directory, dtype)
    if checkpoint is not None:
        if getattr(model.config.reranker, "adapter", None):
            reranker = _at_start(model, extractor, dtype)
        assign_variables(checkpoint, reranker.variables)
    options = RERANKERS.get(sections["reranker"]["name"])
    columns = {*options.columns, *extractor.columns}
    return OpenModel(reranker, extractor, tuple(sorted(columns)), options.listwise)


def _at_start(model: Model, extractor: Extractor, dtype: str) -> Reranker:
    """Build the reranker of a run as its training started: a checkpoint has only what an adapter changed of it.

    StorageError if the models that it started from are others now.
    """
    config = model.config
    models = {name: find_model_directory(said) for name, said in path_options(config.reranker, "model").items() if said}
    start = Start(config.reranker, config.extractor, extractor, models, config.init)
    identity = read_run(Path(model.path), model.said)["identity"]
    started = {"pretrained": identity["weights"], **identity.get("models", {})}
    changed = [name for name, now in hashes_of_models(models).items() if started.get(name) != now]
    if changed or (start.initial and identity["init"] != start.initial.identity):
        what = "the model that its adapter belongs to is not the one that training started from"
        raise StorageError(what, where=model.said, fix="put that model back, or use `--weights best`")
    reranker = start.build(config.trainer.seed, dtype)
    start.initialise(reranker)
    return reranker
