"""Events for TensorBoard: all numbers of metrics.jsonl, and at the end the options with the best metrics."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.backend import tf
from rankcli.config.load import load_saved
from rankcli.config.registry import LISTENERS, option
from rankcli.config.render import resolved
from rankcli.errors import MissingError
from rankcli.listeners.base import DEV, Entry, Listener, ListenerContext, Measured, Moment
from rankcli.storage.disk import guard

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
NOT_DRAWN = ("iter", "step", "time")


@LISTENERS.register("tensorboard")
@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Writes events for TensorBoard to `tensorboard/BOARDNAME`.

    They are losses, learning rates, gradient norms, rates and dev metrics of every iteration, and at the end the
    options of the run with its best metrics (HParams).
    """

    version: ClassVar[int] = 1
    identity: ClassVar[bool] = False
    boardname: str = option("default", "the folder below `tensorboard/`", identity=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.boardname):
            raise ValueError(f"boardname {self.boardname!r} is no name of a folder (letters, digits, `_.-`)")

    def build(self, ctx: ListenerContext) -> Listener:
        """Build the listener; MissingError without TensorBoard, which defines the format of its pages."""
        if importlib.util.find_spec("tensorboard") is None:
            raise MissingError("tensorboard is not installed", where=ctx.where, fix="pip install tensorboard")
        return Board(self, ctx)


class Board(Listener):
    """Draws from metrics.jsonl only.

    The events of a resumed run are written again from that file, so no step occurs twice, wherever the run was
    interrupted.
    """

    def __init__(self, options: TensorBoard, ctx: ListenerContext) -> None:
        self.ctx, self.folder = ctx, ctx.out / "tensorboard" / options.boardname
        self.best: dict[str, float] = {}  # of the main dev set

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Replace old event files by the entries so far."""
        with guard(self.folder):
            for old in self.folder.glob("events.out.tfevents.*"):
                old.unlink()
        self.writer = tf.summary.create_file_writer(str(self.folder))
        for entry in entries:
            self._write(entry)

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """Write the entry of an iteration."""
        self._write(entry)

    def after_validation(self, now: Moment, found: Sequence[Measured], entry: Entry) -> None:
        """Write the entry of a validation."""
        self._write(entry)

    def _write(self, entry: Entry) -> None:
        for metric, value in entry.get(DEV, {}).items():
            self.best[metric] = max(value, self.best.get(metric, value))
        with self.writer.as_default(step=entry["step"]):
            for tag, value in scalars(entry):
                tf.summary.scalar(tag, value)
        self.writer.flush()

    def end_training(self, now: Moment, stopped: bool) -> None:
        """Write the options of the run, and the best metrics with them."""
        from tensorboard.plugins.hparams import api

        options = flattened(resolved(load_saved(self.ctx.out / "config.yaml")))
        with self.writer.as_default(step=now.step):
            api.hparams(options, trial_id=self.ctx.out.name)
            for metric, value in self.best.items():
                tf.summary.scalar(f"best/{metric}", value)
        self.writer.close()


def scalars(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a line of metrics.jsonl with their tags: `train/loss`, `lr/GROUP`, `dev/METRIC`."""
    for key, value in entry.items():
        if key in NOT_DRAWN or value is None:
            continue
        if isinstance(value, Mapping):
            yield from ((f"{key}/{name}", number) for name, number in value.items())
        else:
            yield f"train/{key}", value


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted keys with numbers, texts and truth values. Lists become text; unset options are left out."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{prefix}{key}."))
        elif value is not None:
            found[f"{prefix}{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return found
