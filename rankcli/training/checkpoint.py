"""Checkpoints: model, optimizer slots and the training's state, complete or absent.

A checkpoint is a directory `iter-00001` (`iter-00001-step-000123` between iterations) with TensorFlow's `ckpt.*` and
`state.json`. It is written under a temporary name, synced to disk, and renamed: TensorFlow itself never syncs. A thread
writes it while training goes on. It writes a snapshot, which TensorFlow takes without a copy: a variable whose value is
referenced elsewhere gets a new buffer at its next update.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rankcli.backend import tf
from rankcli.errors import MissingError, RankcliError, StorageError
from rankcli.log import warn
from rankcli.storage.disk import free_bytes, guard
from rankcli.storage.json_files import whole_file
from rankcli.storage.scratch import replacing_directory, scratch, sweep
from rankcli.training.base import State

SCHEMA = 2
_NAME = re.compile(r"iter-\d+(-step-\d+)?")


def _bag(variables: Mapping[str, Any]) -> Any:
    """Return the model's variables, by path, as an object that TensorFlow can save."""
    model = tf.Module()
    model.by_path = dict(variables)
    return model


def _snapshot(module: Any) -> Any:
    """Copy the present values of a module's public attributes to host variables under the same names."""
    copy = tf.Module()
    for name, value in vars(module).items():
        if not name.startswith("_"):
            setattr(copy, name, tf.nest.map_structure(_frozen, value))
    return copy


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _frozen(variable: Any) -> Any:
    with tf.device("/cpu:0"):
        return tf.Variable(variable.read_value(), trainable=False)


def _newest_first(directory: Path) -> list[Path]:
    """Return the complete checkpoints by number: `iter-00002` is newer than `iter-00001-step-...`, and step 1000000
    newer than step 999999.
    """
    found = directory.iterdir() if directory.is_dir() else []
    complete = (path for path in found if _NAME.fullmatch(path.name))
    return sorted(complete, key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.name)], reverse=True)


def checkpoint_name(iteration: int) -> str:
    """Return the name of the checkpoint at the end of an iteration."""
    return f"iter-{iteration:05d}"


def _name_at(step: int, steps_per_iter: int) -> str:
    """Return the name of the checkpoint after a step."""
    iteration, between = divmod(step, steps_per_iter)
    return checkpoint_name(iteration) + (f"-step-{step:06d}" if between else "")


def find_checkpoint(directory: Path, iteration: int | None) -> Path:
    """Return the newest checkpoint, or the one of `iteration`; MissingError if it does not exist."""
    names = {path.name: path for path in _newest_first(directory)}
    wanted = next(iter(names), None) if iteration is None else checkpoint_name(iteration)
    if wanted not in names:
        raise MissingError(
            f"there is no checkpoint {wanted or ''} (kept: {', '.join(names) or 'none'})", where=str(directory)
        )
    return names[wanted]


class Checkpoints:
    """The checkpoints of one run directory. The newest `keep` that can be loaded are kept.

    Enter the context while training. Leaving it waits for the thread that writes.
    """

    def __init__(
        self,
        directory: Path,
        run_id: str,
        variables: Mapping[str, Any],
        states: Sequence[Any],
        keep: int = 2,
        hooks: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory, self.run_id, self.keep = directory, run_id, keep
        self._model, self._states, self._hooks = _bag(variables), list(states), dict(hooks or {})
        self._broken: set[str] = set()
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def save(self, state: State, steps_per_iter: int) -> None:
        """Start to write a checkpoint of the present variables and `state`. When it is complete, old ones are removed.

        Waits first for the previous checkpoint. An error is raised by the next call of a method of this class.
        """
        self.wait()
        name = _name_at(state.step, steps_per_iter)
        content = {"schema_version": SCHEMA, "run_id": self.run_id, **dataclasses.asdict(state)}
        text = json.dumps({**content, "sha256": _checksum(content)}, indent=1)
        hooks = {name: _snapshot(hook) for name, hook in self._hooks.items()}
        snapshot = self._saver(_snapshot(self._model), map(_snapshot, self._states), hooks)
        self._writing = self._thread.submit(self._write, name, snapshot, text)

    def wait(self) -> None:
        """Wait until no checkpoint is being written, and raise the error of the last one, if any."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def written(self) -> bool:
        """True if a checkpoint was completed since the last call of this method or of `wait`."""
        if self._writing is None or not self._writing.done():
            return False
        self.wait()
        return True

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.wait()
        except RankcliError as failed:
            if error is None:
                raise
            warn(str(failed))  # the first error is the reason why the training ends; this one is only a warning
        finally:
            self._thread.shutdown()

    @staticmethod
    def _saver(model: Any, states: Iterable[Any], hooks: Mapping[str, Any]) -> Any:
        others = {"hooks": dict(hooks)} if hooks else {}
        return tf.train.Checkpoint(model=model, optimizers=list(states), **others)

    def _write(self, name: str, snapshot: Any, text: str) -> None:
        """Write a checkpoint, then remove old ones."""
        target = self.directory / name
        with guard(target):
            if name in self._broken:
                self._set_aside(target)
            with replacing_directory(target) as building:
                _write_tensors(snapshot, building)
                (building / "state.json").write_text(text)
        self._remove_old()

    def _remove_old(self) -> None:
        """Keep the newest `keep` checkpoints that can be loaded; remove the others, each by an atomic rename first."""
        with guard(self.directory):
            loading = [path for path in _newest_first(self.directory) if path.name not in self._broken]
            for old in loading[self.keep :]:
                with scratch(self.directory, old.name) as place:
                    old.rename(place / "old")

    def _set_aside(self, broken: Path) -> None:
        """Rename a checkpoint that cannot be loaded, so that a new one can take its name."""
        places = (broken.with_name(f"{broken.name}.broken-{n}") for n in itertools.count(1))
        broken.rename(next(place for place in places if not place.exists()))
        self._broken.discard(broken.name)

    def restore(self, steps_per_iter: int) -> State | None:
        """Load the newest checkpoint that can be loaded, and return its state; None if there is no checkpoint.

        Those that cannot be loaded, or are not of the step in their name, give a warning and are kept. StorageError if
        none can be loaded.
        """
        if self.directory.is_dir():
            sweep(self.directory, "iter-")
        existing = _newest_first(self.directory)
        for candidate in existing:
            try:
                state = self._load(candidate, steps_per_iter)
                self._remove_old()  # a kill may have prevented this before
                return state
            except (StorageError, PermissionError):
                raise
            except Exception as error:  # TensorFlow's readers may raise any error; the warning tells it
                self._broken.add(candidate.name)
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                warn(f"{candidate}: this checkpoint does not load ({reason}); trying the one before")
        if existing:
            raise StorageError(
                f"none of the {len(existing)} checkpoints loads",
                where=str(self.directory),
                fix="train anew with --overwrite",
            )
        return None

    def _load(self, directory: Path, steps_per_iter: int) -> State:
        content = json.loads(whole_file(directory / "state.json"))
        if content["schema_version"] != SCHEMA or content["run_id"] != self.run_id:
            raise ValueError("written by another run or another version")
        if content.pop("sha256") != _checksum(content):
            raise ValueError("state.json is damaged")
        del content["schema_version"], content["run_id"]
        state = State(**content)
        if not _is_sound(state) or _name_at(state.step, steps_per_iter) != directory.name:
            raise ValueError(f"state.json has impossible values, step {state.step!r}")
        self._saver(self._model, self._states, self._hooks).read(str(directory / "ckpt")).assert_consumed()
        return state


@contextmanager
def of_this_training(where: Path) -> Iterator[None]:
    """Raise StorageError where the state of a checkpoint lacks what is restored from it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"the newest checkpoint's state is not one of this training: {error!r}"
        raise StorageError(what, where=str(where), fix="train anew with --overwrite") from error


def _is_sound(state: State) -> bool:
    """True if all values have the types and the ranges of a training."""
    whole = all(type(value) is int for value in (state.step, state.skipped, state.unusable, state.validated))
    return (
        whole
        and min(state.step, state.skipped, state.unusable, state.validated + 1) >= 0
        and all(type(value) in (int, float) and math.isfinite(value) for value in (state.loss_sum, state.seconds))
        and all(isinstance(value, dict) for value in (state.sums, state.measured, state.listeners))
        and isinstance(state.history, list)
    )


def _write_tensors(snapshot: Any, building: Path) -> None:
    try:
        snapshot.write(str(building / "ckpt"))
    except tf.errors.OpError as error:
        raise StorageError(
            f"the checkpoint could not be written: {error.message}; {free_bytes(building):,} bytes are free",
            where=str(building),
            fix="free some space",
        ) from error
