"""The mixture of a rerank: the one that a training has learnt, or a weight of the reranker, as chosen on dev."""

from __future__ import annotations

from pathlib import Path

from rankcli.config.metrics import canonical
from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.evaluation.calibration import Sigmoid
from rankcli.log import warn
from rankcli.runs.mixed import Mixture, read_mixture, reads_reranker
from rankcli.runs.model import Model
from rankcli.runs.written import MIXTURE, RESULT, read_result


def mixing_of(model: Model, weights: str, mix: str | float) -> Mixture | float | None:
    """Return the mixture of `rerank --mix auto` where the training has learnt one; else the alpha of `alpha_of`."""
    folder = Path(model.path)
    finished = mix == "auto" and model.is_run_directory and (folder / RESULT).is_file()
    if not finished or not read_result(folder, files=(MIXTURE,)).get("mixture"):
        return alpha_of(model, weights, mix)
    mixture = read_mixture(folder)
    if reads_reranker(mixture.signals):
        _warn_of_others(model, weights, "the mixture was learnt")
    return mixture


def alpha_of(model: Model, weights: str, mix: str | float) -> float | None:
    """Return the alpha of `rerank --mix`: None for `none`, the given number, or for `auto` that of a run directory.

    ConfigError where there is none to take, because the model is not the directory of a finished run. Warns where
    `weights` are not those that alpha was chosen for.
    """
    if mix == "none":
        return None
    if mix != "auto":
        return float(mix)
    path = Path(model.path) / RESULT
    if not model.is_run_directory or not path.is_file():
        raise ConfigError(
            "alpha is not known: this is not the directory of a finished run",
            where=model.said,
            fix="train it to the end, or give a number: --mix 0.5",
        )
    _warn_of_others(model, weights, "alpha was chosen")
    return _checked(read_result(path.parent, files=()).get("alpha"), path)


def probability_of(model: Model, weights: str, mix: str | float) -> Sigmoid:
    """Return the function from the scores that `--mix` gives to probabilities, which the training has fitted on dev."""
    folder = Path(model.path)
    if not model.is_run_directory or not (folder / RESULT).is_file():
        raise ConfigError(
            "probabilities are not known: this is not the directory of a finished run",
            where=model.said,
            fix="train it to the end, or leave --probability out",
        )
    if mix not in ("auto", "none"):
        what = "probabilities are known for the mixture that the training chose, not for this alpha"
        raise ConfigError(what, where=f"--mix {mix:g}", fix="use --mix auto or --mix none")
    result = read_result(folder, files=())
    stage = "reranked" if mix == "none" else "mixed" if result.get("mixture") else "interpolated"
    found = (result.get("probability") or {}).get(stage)
    if not found:
        what = "no probabilities: the training had no relevant candidate of dev, or was of an older version"
        raise MissingError(what, where=str(folder / RESULT), fix="train it again")
    _warn_of_others(model, weights, "probabilities were fitted")
    return Sigmoid(found["slope"], found["offset"])


def _warn_of_others(model: Model, weights: str, what: str) -> None:
    optimize = model.config.metrics.optimize
    kind, _, metric = weights.partition(":")
    if kind != "best" or canonical(metric) not in ("", optimize):
        warn(f"{model.said}: {what} for the best weights by {optimize}, not for {weights}")


def _checked(alpha: object, path: Path) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise StorageError(f"alpha is {alpha!r}, not a number from 0 to 1", where=str(path), fix="give --mix a number")
    return float(alpha)
