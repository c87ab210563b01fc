"""Resolve `--model` and `--weights`: weights of a run directory, a model directory, or a model of the hub."""

from __future__ import annotations

import glob
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.config.load import load_saved
from rankcli.config.metrics import canonical
from rankcli.config.registry import SEARCHERS
from rankcli.config.schema import RunConfig
from rankcli.config.validate import component_from
from rankcli.data.dataset import load_dataset
from rankcli.data.hashes import input_sha256
from rankcli.encoders.build import find_model_directory
from rankcli.errors import ConfigError, MissingError, RankcliError
from rankcli.log import warn
from rankcli.rerankers.saved import FILE
from rankcli.runs.written import CONFIG, MIXTURE, RESULT, RUN, read_config, read_result
from rankcli.storage.base import is_remote
from rankcli.storage.inputs import exists, local_tree
from rankcli.storage.places import local_root
from rankcli.training.checkpoint import checkpoint_name, find_checkpoint

WEIGHTS = re.compile(r"best|last|best:(?P<metric>.+)|iter:(?P<iteration>[0-9]{1,9})")


class Model(NamedTuple):
    """The value of `--model`, and its path on this machine or its hub id."""

    said: str
    path: str

    @property
    def is_run_directory(self) -> bool:
        """True for a run directory of `rankcli train`; False for a directory of weights and for a hub id."""
        return (Path(self.path) / RUN).is_file()

    @property
    def config(self) -> RunConfig:
        """The config of a run directory."""
        return read_config(Path(self.path))

    @property
    def home(self) -> Model | None:
        """The run directory that this model is or is part of; None if there is none."""
        path = Path(self.path).absolute()
        found = (Model(self.said, str(each)) for each in (path, path.parent.parent))
        return next((each for each in found if each.is_run_directory), None)


def find_model(said: str, weights: str, option: str = "--weights") -> Model:
    """Resolve `--model`; for a bucket, download the files that `weights` needs. `option` is the flag named in errors.

    ConfigError for arguments that are certainly wrong before any weights are opened.
    """
    match = WEIGHTS.fullmatch(weights)
    if not match:
        fix = "use best, best:METRIC, last or iter:N"
        raise ConfigError(f"unknown weights {weights!r}", where=option, fix=fix)
    if not is_remote(said):
        _check_local(said)
    model = _fetched(said, match) if is_remote(said) else Model(said, said)
    if model.is_run_directory:
        return model
    if _holds_folds(model):
        raise ConfigError("this directory holds all folds", where=said, fix="give one of its fold-N directories")
    if weights != "best":
        raise ConfigError(f"{option} {weights} needs a run directory", where=said, fix=f"leave {option} out")
    return model


def _check_local(said: str) -> None:
    """Raise ConfigError for a file, and for a path that does not exist and is no hub id."""
    path = Path(said).expanduser()
    if path.is_file():
        raise ConfigError("this is a file, not a directory", where=said, fix="give a run directory or one of weights")
    if not path.exists() and _is_path(said, path):
        raise ConfigError("no such directory", where=said, fix="give a directory or a hub id such as `org/model`")


def _is_path(said: str, path: Path) -> bool:
    """True for text that is no hub id: those have one slash at most, and not the folder of runs before it."""
    inside_runs = said.startswith("runs/") or any(path.parent.glob(f"*/{RUN}"))
    return said.startswith(("/", "./", "../", "~")) or said.count("/") > 1 or ("/" in said and inside_runs)


def _fetched(said: str, weights: re.Match[str]) -> Model:
    """Download the files of a run directory in a bucket that `weights` needs, or of the run directory that contains a
    directory of best weights.

    Any other URI is returned unchanged.
    """
    uri = said.rstrip("/")
    home, inside, name = uri.rpartition("/best/")
    if exists(f"{uri}/{RUN}"):
        return Model(
            said, str(local_tree(uri, (RUN, CONFIG, RESULT, MIXTURE, f"best/*/{FILE}", *_needed(uri, weights))))
        )
    if inside and exists(f"{home}/{RUN}"):
        return Model(
            said, str(local_tree(home, (RUN, CONFIG, RESULT, MIXTURE, f"best/{glob.escape(name)}/*")) / "best" / name)
        )
    return Model(said, uri)


def _needed(uri: str, weights: re.Match[str]) -> list[str]:
    """List the files of a run directory that `weights` needs: the best by a metric and, if asked for, checkpoints."""
    metric = canonical(weights["metric"] or "") or load_saved(local_tree(uri, (CONFIG,)) / CONFIG).metrics.optimize
    patterns = [f"best/{glob.escape(metric)}/*"]
    if weights["iteration"]:
        patterns.append(f"checkpoints/{checkpoint_name(int(weights['iteration']))}/*")
    elif weights[0] == "last":
        patterns.append("checkpoints/*")
    return patterns


def _holds_folds(model: Model) -> bool:
    fold = f"{model.path}/fold-0"
    return exists(f"{fold}/{RUN}") if is_remote(fold) else Path(fold).is_dir()


def warn_unfinished(model: Model) -> None:
    """Warn where the training of a model has not ended."""
    home = model.home
    if home is not None and not (Path(home.path) / RESULT).is_file():
        warn(f"{home.said}: this training is not finished; the weights are those kept until now")


def places(model: Model, weights: str) -> tuple[Path, Path | None]:
    """Return the directory of a model and the checkpoint of `weights`; no checkpoint if the directory has these
    weights.
    """
    if not model.is_run_directory:
        return find_model_directory(model.path), None
    said = WEIGHTS.fullmatch(weights)
    directory = _best(model, canonical(said["metric"]) if said and said["metric"] else model.config.metrics.optimize)
    if weights.startswith("best"):
        return directory, None
    iteration = int(said["iteration"]) if said and said["iteration"] else None
    return directory, find_checkpoint(Path(model.path) / "checkpoints", iteration)


def weights_identity(model: Model, weights: str) -> dict[str, str]:
    """Return the hashes of all files that the model of `weights` is read from."""
    folders = [folder for folder in places(model, weights) if folder is not None]
    files = [(folder, path) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {f"{folder.name}/{path.relative_to(folder)}": input_sha256(path) for folder, path in files}


def _best(model: Model, metric: str) -> Path:
    """Return the directory of the best weights by a metric.

    The name is user input, so it is looked up in a listing and never joined to a path. MissingError if it is not found.
    """
    folders = sorted((Path(model.path) / "best").glob("*"))
    kept = {path.name: path for path in folders if (path / FILE).is_file()}
    if metric not in kept:
        raise MissingError(
            f"there are no best weights by {metric!r} (kept: {', '.join(kept) or 'none'})",
            where=model.said,
            fix="name one that is kept, or train with the metric in `metrics`",
        )
    return kept[metric]


def trained_queries(model: Model) -> dict[str, str]:
    """Return the texts by id of the queries that the model's run was trained on.

    Empty if the training is not known. If its data are missing, a warning is given and the result is empty, too.
    """
    home = model.home
    if home is None:
        return {}
    config = home.config
    data = replace(config.data, devsets=None)  # they train nothing
    try:
        return load_dataset(data, local_root(config.trainer.storage)).topics("train")
    except RankcliError as error:
        warn(f"which queries {home.said} was trained on cannot be told: {error}")
        return {}


def searcher_of(model: Model) -> Any:
    """Return the options of the first stage of a model's training, tuned. ConfigError where it is not known."""
    home = model.home
    known = read_result(Path(home.path), home.said, files=()) if home and (Path(home.path) / RESULT).is_file() else {}
    if not known.get("searcher"):
        what = "--run is needed: which searcher this model was trained with is not known"
        raise ConfigError(what, where=model.said, fix="rankcli search makes a run")
    return component_from(SEARCHERS, known["searcher"], model.said)
