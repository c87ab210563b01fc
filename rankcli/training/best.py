"""The best weights that a resumed training still needs: checked, and made again from a checkpoint if they are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rankcli.errors import DamageError, StorageError
from rankcli.log import warn
from rankcli.rerankers.saved import FILE, check_saved
from rankcli.training.checkpoint import checkpoint_name
from rankcli.training.variables import assign_variables


def damaged_weights(out: Path, best: Mapping[str, Mapping[str, Any]]) -> dict[str, DamageError]:
    """The metrics whose best weights are missing or damaged, with the reason."""
    found = {}
    for metric, kept in best.items():
        folder = out / kept["path"]
        try:
            if not (folder / FILE).is_file():
                raise DamageError("the best weights are missing", where=str(folder))
            check_saved(folder)
        except DamageError as error:
            found[metric] = error
    return found


def make_again(
    out: Path, kept: Mapping[str, Any], error: DamageError, variables: Mapping[str, Any], save: Callable[[Path], None]
) -> None:
    """Save best weights again from the checkpoint of their iteration, which sets the `variables`.

    StorageError if that checkpoint is not kept.
    """
    checkpoint = out / "checkpoints" / checkpoint_name(kept["iter"])
    if not checkpoint.is_dir():
        what = f"{error.what}; the checkpoint of iteration {kept['iter']}, to make them from, is not kept"
        raise StorageError(what, where=error.where, fix="put them back, or train anew with --overwrite") from error
    warn(f"{error.where}: {error.what}; they are made again from {checkpoint.name}")
    assign_variables(checkpoint, variables)
    save(Path(kept["path"]))
