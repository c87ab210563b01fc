"""The cost of checkpoints in a training: MiniLM on Vaswani in the default configuration, one checkpoint per 40 steps.

A round makes some steps after a checkpoint was begun, up to the moment when both the steps and the checkpoint are done,
and as many without one, in turn. The difference is what the checkpoint costs, wherever it is written; it is divided by
the time of an iteration's steps. The same is done with processor seconds, which say more on a busy machine. `ratio` is
the median share of the time. `in_line` is how long training would stand still if it waited for the checkpoint.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks._report import check, median, print_report, rounded, run
from benchmarks._tokenizer import minilm
from rankcli.config.load import load_config
from rankcli.log import say
from rankcli.training.base import State
from rankcli.training.loop import Loop
from rankcli.verbs.train import train

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RANKCLI_DATA") or ROOT / "data")
WANTED = "< 0.03"


class Enough(Exception):
    """All rounds are done."""


def main() -> None:
    """Run the benchmark."""
    options = _options()
    rounds: list[dict[str, Any]] = []

    def fit(loop: Loop) -> State:
        rounds.extend(_rounds(loop, options.rounds, options.steps))
        raise Enough

    Loop.fit = fit  # type: ignore
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        names = {"docs": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.txt"}
        given = [f"data.{key}={options.data / 'vaswani' / name}" for key, name in names.items()]
        given += [f"reranker.pretrained={minilm()}", f"trainer.storage={folder}/cache", "data.folds.fold=0"]
        steps = 1 + 2 * options.rounds * options.steps
        given += [f"trainer.niters={-(-steps // 40)}", "trainer.strategy=cpu"]
        config, _ = load_config([ROOT / "configs" / "vaswani.yaml"], given)
        try:
            train(config, out=f"{folder}/run")
        except Enough:
            say("done")
    checks = {name: check(median(each[name] for each in rounds), WANTED) for name in ("share", "cpu_share")}
    conditions = {"steps_per_checkpoint": config.trainer.steps_per_iter, "steps_timed": options.steps}
    print_report(median(each["share"] for each in rounds), rounds, checks, conditions)


def _rounds(loop: Loop, count: int, steps: int) -> Iterator[dict[str, Any]]:
    state, per_checkpoint = State(), loop.options.steps_per_iter
    batches = loop._batches(0)
    with loop.checkpoints:
        loop._train_on(next(batches), state)  # compiles
        loop._save(state)  # makes the directory
        loop.checkpoints.wait()

        def alone() -> None:
            for _ in range(steps):
                loop._train_on(next(batches), state)

        def along() -> None:
            loop._save(state)
            alone()
            loop.checkpoints.wait()

        def in_line() -> None:
            loop._save(state)
            loop.checkpoints.wait()

        for number in range(count):
            turns = {"alone": alone, "along": along}
            names = list(turns)[:: 1 if number % 2 else -1]
            spent = {name: _seconds(turns[name]) for name in names}
            (wall, cpu), (wall_along, cpu_along) = spent["alone"], spent["along"]
            say(f"round {number + 1} of {count}")
            yield {
                "step_seconds": rounded(wall / steps),
                "share": rounded((wall_along - wall) / wall * steps / per_checkpoint),
                "cpu_share": rounded((cpu_along - cpu) / cpu * steps / per_checkpoint),
                "in_line_seconds": rounded(_seconds(in_line)[0]),
            }


def _seconds(do: Callable[[], None]) -> tuple[float, float]:
    """By the clock, and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    return time.perf_counter() - wall, time.process_time() - cpu


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench checkpoint", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--steps", type=int, default=10, help="steps in a turn [%(default)s]")
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help="where the collections lie [%(default)s]"
    )
    parser.add_argument("--scratch", metavar="DIR", help="where records and checkpoints are written, 1 GB")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
