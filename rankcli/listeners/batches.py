"""The batches that were trained on, with their scores: to look at what a training sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import LISTENERS, option
from rankcli.config.types import PositiveInt
from rankcli.listeners._lines import Lines
from rankcli.listeners.base import Entry, Listener, ListenerContext, Moment, Training

BATCHES = "batches.jsonl"


@LISTENERS.register("batches")
@dataclass(frozen=True, kw_only=True)
class Batches:
    """Writes the groups of a step to `batches.jsonl`: ids of query and documents, labels and scores before the update.

    A thread reads the ids from the records and writes, while the training goes on. It does not change the run id.
    """

    version: ClassVar[int] = 1
    identity: ClassVar[bool] = False
    every: PositiveInt = option(100, "steps from one batch that is written to the next", identity=False)

    def build(self, ctx: ListenerContext) -> Listener:
        """Build the listener."""
        return BatchLines(self, ctx)


class BatchLines(Listener):
    """One line per group, in the order of the samples."""

    reads_scores = True

    def __init__(self, options: Batches, ctx: ListenerContext) -> None:
        self._every, self._lines = options.every, Lines(ctx.out / BATCHES)
        self._pool, self._pending = ThreadPoolExecutor(1), list[Future[None]]()

    def after_initialisation(self, training: Training) -> None:
        """Keep the training, for the groups of its steps."""
        self._training = training

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to the size of the file."""
        self._lines.restore(state)

    def start_training(self, now: Moment, entries: Sequence[Entry]) -> None:
        """Cut off the lines of steps that will be made again."""
        self._lines.start()

    def end_step(self, now: Moment, done: Mapping[str, Any]) -> None:
        """Have the groups of a step written."""
        if now.step % self._every == 0:
            scores = {name.partition("/")[2]: value for name, value in done.items() if name.startswith("scores/")}
            self._pending.append(self._pool.submit(self._write, now.step, scores))

    def state(self) -> dict[str, Any]:
        """Return the size of the file, once all is written."""
        while self._pending:
            self._pending.pop(0).result()
        return self._lines.state()

    def end_training(self, now: Moment, stopped: bool) -> None:
        """Wait until all is written."""
        self.state()

    def _write(self, step: int, scores: Mapping[str, Any]) -> None:
        self._lines.append(self._entries(step, {task: values.numpy().tolist() for task, values in scores.items()}))

    def _entries(self, step: int, scores: Mapping[str, Sequence[Sequence[float]]]) -> Iterator[Mapping[str, Any]]:
        places = dict.fromkeys(scores, 0)
        for task, example in self._training.groups(step - 1):
            found = scores[task][places[task]][: len(example.docids)]
            places[task] += 1
            yield {
                "step": step,
                "task": task,
                "query": example.qid,
                "documents": example.docids,
                "labels": example.labels.tolist(),
                "scores": found,
            }
