"""The weight of the reranker in the mixture with the first stage, as a training has chosen it on dev."""

from __future__ import annotations

from pathlib import Path

from rankcli.config.metrics import canonical
from rankcli.errors import ConfigError, StorageError
from rankcli.log import warn
from rankcli.runs.model import Model
from rankcli.runs.written import RESULT, read_result


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
    optimize = model.config.metrics.optimize
    kind, _, metric = weights.partition(":")
    if kind != "best" or canonical(metric) not in ("", optimize):
        warn(f"{model.said}: alpha was chosen for the best weights by {optimize}, not for {weights}")
    return _checked(read_result(path.parent, files=()).get("alpha"), path)


def _checked(alpha: object, path: Path) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise StorageError(f"alpha is {alpha!r}, not a number from 0 to 1", where=str(path), fix="give --mix a number")
    return float(alpha)
