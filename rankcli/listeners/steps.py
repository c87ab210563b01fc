"""The loss and the measures of single steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import PositiveInt
from rankcli.listeners._lines import Lines
from rankcli.listeners.base import Entry, Listener, ListenerContext, Moment

STEPS = "steps.jsonl"


@LISTENERS.register("steps")
@dataclass(frozen=True, kw_only=True)
class Steps:
    """Writes a line of `steps.jsonl` for every step: its loss, the terms of the loss, the measures of hooks.

    A line has what a line of `metrics.jsonl` has for an iteration. It does not change the run id.
    """

    version: ClassVar[int] = 1
    identity: ClassVar[bool] = False
    every: PositiveInt = option(1, "steps from one line to the next", identity=False)

    def build(self, ctx: ListenerContext) -> Listener:
        """Build the listener."""
        return StepLines(self, ctx)


class StepLines(Listener):
    """Writes what the training notes of a step. A step that is not finite has nothing but its number."""

    def __init__(self, options: Steps, ctx: ListenerContext) -> None:
        self._every, self._lines = options.every, Lines(ctx.out / STEPS)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to the size of the file."""
        self._lines.restore(state)

    def state(self) -> dict[str, Any]:
        """Return the size of the file."""
        return self._lines.state()

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Cut off the lines of steps that will be made again."""
        self._lines.start()

    def end_step(self, now: Moment, done: Mapping[str, Any]) -> None:
        """Write the line of a step."""
        if now.step % self._every == 0:
            self._lines.append([{"step": now.step, **done["noted"]}])
