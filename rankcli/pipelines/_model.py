"""What `--model` and `--weights` name: weights of a run directory, a model directory, or a model of the hub."""

from __future__ import annotations

import re
from pathlib import Path

from rankcli.config.load import load_saved
from rankcli.config.schema import RunConfig
from rankcli.data.dataset import load_dataset
from rankcli.errors import ConfigError, MissingError, RankcliError
from rankcli.extractors._base import Extractor
from rankcli.log import warn
from rankcli.pipelines._prepare import cache_root
from rankcli.rerankers._base import Reranker
from rankcli.rerankers._saved import load_reranker
from rankcli.text.hub import resolve
from rankcli.trainers._checkpoint import read_weights

WEIGHTS = re.compile(r"best|last|best:(?P<metric>.+)|iter:(?P<iteration>[0-9]{1,9})")


def is_run_directory(model: str | Path) -> bool:
    """Whether `model` is what `rankcli train` leaves, rather than a directory of weights or a hub id."""
    return (Path(model) / "run.json").is_file()


def run_config(model: str | Path) -> RunConfig:
    """The config of a run directory."""
    return load_saved(Path(model) / "config.yaml")


def check_model(model: str, weights: str) -> None:
    """ConfigError for what can be told to be wrong without opening anything."""
    if not WEIGHTS.fullmatch(weights):
        fix = "use best, best:METRIC, last or iter:N"
        raise ConfigError(f"unknown weights {weights!r}", where="--weights", fix=fix)
    if is_run_directory(model):
        return
    if (Path(model) / "fold-0").is_dir():
        raise ConfigError("this directory holds all folds", where=model, fix="give one of its fold-N directories")
    if weights != "best":
        raise ConfigError(f"--weights {weights} needs a run directory", where=model, fix="leave --weights out")


def open_model(model: str, weights: str, dtype: str) -> tuple[Reranker, Extractor]:
    """The reranker and its extractor: from a run directory by `weights`, or from a directory of weights or a hub id."""
    if not is_run_directory(model):
        reranker, extractor, _ = load_reranker(resolve(model), dtype)
        return reranker, extractor
    said = WEIGHTS.fullmatch(weights)
    metric = said["metric"] if said and said["metric"] else run_config(model).metrics.optimize
    reranker, extractor, _ = load_reranker(_best(Path(model), metric), dtype)
    if not weights.startswith("best"):
        iteration = int(said["iteration"]) if said and said["iteration"] else None
        read_weights(Path(model) / "checkpoints", iteration, reranker.variables)
    return reranker, extractor


def _best(out: Path, metric: str) -> Path:
    """The best weights by a metric. The name is looked up, not joined to a path: it came from outside."""
    kept = {path.name: path for path in sorted((out / "best").glob("*")) if (path / "rankcli.json").is_file()}
    if metric not in kept:
        raise MissingError(
            f"there are no best weights by {metric!r} (kept: {', '.join(kept) or 'none'})",
            where=str(out),
            fix="name one that is kept, or train with the metric in `metrics`",
        )
    return kept[metric]


def trained_queries(model: str) -> dict[str, str]:
    """The texts of the queries that a run directory, or the one that weights lie in, was trained on, by id.

    Empty for a model whose training is not known; if its data are not there any more, a warning says so.
    """
    path = Path(model).absolute()
    home = next((each for each in (path, path.parent.parent) if is_run_directory(each)), None)
    if home is None:
        return {}
    config = run_config(home)
    try:
        return load_dataset(config.data, cache_root(config.trainer.storage)).topics("train")
    except RankcliError as error:
        warn(f"which queries {home} was trained on cannot be told: {error}")
        return {}
