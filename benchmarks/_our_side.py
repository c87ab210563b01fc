"""The turns of rankcli: the same code that its commands run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._matmul import matmul_turns
from benchmarks._turns import Turns
from benchmarks._work import amp
from rankcli.backend import tf
from rankcli.config.load import load_config
from rankcli.log import say
from rankcli.rerankers.crossencoder import CrossEncoderModel
from rankcli.training import predict
from rankcli.training.history import History
from rankcli.training.loop import Loop
from rankcli.training.meter import Meter
from rankcli.verbs.rerank import Reranking
from rankcli.verbs.train import train as run_training


class Enough(Exception):
    """There are no more turns."""


def count_traces() -> dict[str, int]:
    """Count, under `traces`, the traces of the model from now on: each is one compilation."""
    counted, called = {"traces": 0}, CrossEncoderModel.__call__

    def counting(self: Any, *args: Any) -> Any:
        counted["traces"] += 1
        return called(self, *args)

    CrossEncoderModel.__call__ = counting  # type: ignore
    return counted


def train(turns: Turns) -> None:
    """Run a training whose iterations are the turns; the first one warms up.

    What is measured are the entries of `metrics.jsonl`: steps and the waiting for their input, as `rankcli train` says.
    """
    task, counted, entries = turns.task, count_traces(), list[dict[str, Any]]()
    append, end_of_iteration = History.append, Loop._end_of_iteration
    config, _ = load_config([task["config"]], task.get("overrides", ()))
    _make_devices(task.get("devices", 1))
    pairs = config.trainer.itersize * config.sampler.group_size

    def noting(self: History, entry: dict[str, Any]) -> None:
        append(self, entry)
        entries.append(entry)

    def pausing(self: Loop, state: Any, again: bool = False) -> Any:
        entries.clear()
        ended = end_of_iteration(self, state, again)
        if again:
            return ended
        # The entry's own `seconds` are those of the whole training so far.
        turns.answer({**entries[0], **counted, "pairs": pairs, "seconds": pairs / entries[0]["pairs_per_second"]})
        if state.step == config.trainer.steps or turns.wait() is None:
            raise Enough
        self.meter.lap("pause")
        return ended

    History.append, Loop._end_of_iteration = noting, pausing  # type: ignore
    with tempfile.TemporaryDirectory(dir=Path(task["config"]).parent) as folder:
        try:
            run_training(config, out=f"{folder}/run")
        except Enough:
            say("no more turns")


def rerank(turns: Turns) -> None:
    """Rerank a run in every turn, as `rankcli rerank` does, with a model that is open."""
    task, counted, meter = turns.task, count_traces(), Meter()
    reranking, plain = Reranking(task["model"], amp=amp(task["precision"])), predict.per_replica  # type: ignore[attr-defined]

    def counting(strategy: Any, batches: Any) -> Any:
        meter.count([{"rerank": batch} for batch in batches])
        meter.lap("steps")
        return plain(strategy, batches)

    turns.answer({})
    while (turn := turns.wait()) is not None:
        count = turn.pop("count", False)  # on the clock nothing is counted
        predict.per_replica = counting if count else plain  # type: ignore[attr-defined]
        start = time.perf_counter()
        files: dict[str, Any] = {name: task[name] for name in ("docs", "queries", "run") if name in task}
        done = reranking(**{**files, **turn})["result"]
        seconds = time.perf_counter() - start
        rates = meter.rates() if count else {}
        turns.answer({"pairs": done["pairs"], "seconds": seconds, **counted, **rates})


def matmul(turns: Turns) -> None:
    """Multiply matrices."""

    def product(rows: int, inner: int, columns: int, precision: str) -> Callable[[], Any]:
        dtype = tf.bfloat16 if precision == "bf16" else tf.float32
        left, right = (tf.cast(tf.random.normal(shape), dtype) for shape in ((rows, inner), (inner, columns)))
        multiply = tf.function(lambda: tf.matmul(left, right))
        return lambda: multiply()[0, 0].numpy()

    matmul_turns(turns, product)


def _make_devices(count: int) -> None:
    """Divide the CPU into virtual devices."""
    if count > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


if __name__ == "__main__":
    sides = {"train": train, "rerank": rerank, "matmul": matmul}
    given = Turns()
    sides[given.task["does"]](given)
