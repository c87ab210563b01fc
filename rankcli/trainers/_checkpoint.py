"""Checkpoints: model, optimizer slots and the training's state, complete or absent.

A checkpoint is a directory `iter-00001` (`iter-00001-step-000123` between iterations) with TensorFlow's `ckpt.*` and
`state.json`. It is written under a temporary name, synced to disk, and renamed: TensorFlow itself never syncs.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.errors import MissingError, StorageError
from rankcli.log import warn
from rankcli.storage.base import free_bytes, guard
from rankcli.storage.scratch import replacing_directory, sweep
from rankcli.trainers._base import State

KEEP = 2  # the newest, and one to fall back on
SCHEMA = 1


def _bag(variables: Mapping[str, Any]) -> Any:
    """The model's variables, by path, as something that TensorFlow saves."""
    model = tf.Module()
    model.by_path = dict(variables)
    return model


def _newest_first(directory: Path) -> list[Path]:
    """By number: `iter-00002` comes after `iter-00001-step-...`, and step 1000000 after step 999999."""
    found = directory.glob("iter-*") if directory.is_dir() else []
    complete = (path for path in found if ".tmp." not in path.name)
    return sorted(complete, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.name)], reverse=True)


def checkpoint_name(iteration: int) -> str:
    """What the checkpoint at the end of an iteration is called."""
    return f"iter-{iteration:05d}"


def find_checkpoint(directory: Path, iteration: int | None) -> Path:
    """The newest checkpoint, or the one of `iteration`; MissingError when it is not kept."""
    names = {path.name: path for path in _newest_first(directory)}
    wanted = next(iter(names), None) if iteration is None else checkpoint_name(iteration)
    if wanted not in names:
        raise MissingError(
            f"there is no checkpoint {wanted or ''} (kept: {', '.join(names) or 'none'})", where=str(directory)
        )
    return names[wanted]


class Checkpoints:
    """The checkpoints of one run directory."""

    def __init__(self, directory: Path, run_id: str, variables: Mapping[str, Any], optimizers: Sequence[Any]) -> None:
        self.directory, self.run_id = directory, run_id
        self._saver = tf.train.Checkpoint(model=_bag(variables), optimizers=list(optimizers))

    def save(self, state: State, steps_per_iter: int) -> None:
        """Write a checkpoint of `state`, then remove all but the newest `KEEP`."""
        iteration, between = divmod(state.step, steps_per_iter)
        name = checkpoint_name(iteration) + (f"-step-{state.step:06d}" if between else "")
        with guard(self.directory / name), replacing_directory(self.directory / name) as building:
            self._write(building)
            content = {"schema_version": SCHEMA, "run_id": self.run_id, **dataclasses.asdict(state)}
            (building / "state.json").write_text(json.dumps(content, indent=1))
        with guard(self.directory):
            for old in _newest_first(self.directory)[KEEP:]:
                shutil.rmtree(old)

    def _write(self, building: Path) -> None:
        try:
            self._saver.write(str(building / "ckpt"))
        except tf.errors.OpError as error:
            raise StorageError(
                f"the checkpoint could not be written: {error.message}; {free_bytes(building):,} bytes are free",
                where=str(building),
                fix="free some space",
            ) from error

    def restore(self) -> State | None:
        """Load the newest checkpoint that loads; None when there is none. Those that fail are reported and kept."""
        if self.directory.is_dir():
            sweep(self.directory, "iter-")
        existing = _newest_first(self.directory)
        for candidate in existing:
            try:
                return self._load(candidate)
            except (OSError, ValueError, KeyError, TypeError, AssertionError, tf.errors.OpError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                warn(f"{candidate}: this checkpoint does not load ({reason}); trying the one before")
        if existing:
            raise StorageError(
                f"none of the {len(existing)} checkpoints loads",
                where=str(self.directory),
                fix="train anew with --overwrite",
            )
        return None

    def _load(self, directory: Path) -> State:
        content = json.loads((directory / "state.json").read_text())
        if content.pop("schema_version") != SCHEMA or content.pop("run_id") != self.run_id:
            raise ValueError("written by another run or another version")
        self._saver.read(str(directory / "ckpt")).assert_consumed()
        return State(**content)
