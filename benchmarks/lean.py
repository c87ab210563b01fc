"""Trainings that need less memory beside the full one, in turn: LoRA, recomputed activations, and both.

MiniLM as a cross-encoder, groups of 1 + 7 documents, whole loop, from the same weights. Each variant is a process that
takes turns of the same groups. `gradients_mb` and `optimizer_mb` are those of the variables that are trained, as
`rankcli train --dry-run` tells them, `peak_mb` is the peak of the process. `ratio` is that of LoRA's steps per second
to those of the full training, the median over the rounds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._alternate import alternate
from benchmarks._report import median, print_report, rounded, run
from benchmarks._turns import Contender
from benchmarks._work import NEGATIVES, Collection, cross_encoder, in_turns, parser
from rankcli.config.load import load_config
from rankcli.verbs.train import train

LORA, AGAIN = "reranker.adapter={name: lora, rank: 8}", "trainer.recompute=true"
VARIANTS = {"full": [], "lora": [LORA], "recompute": [AGAIN], "both": [LORA, AGAIN]}


def main() -> None:
    """Run the benchmark."""
    made = parser("lean", __doc__)
    made.add_argument("--collection", default="vaswani", help="[%(default)s]")
    made.add_argument("--batch", type=int, default=8, help="groups of a step [%(default)s]")
    made.add_argument("--steps", type=int, default=4, help="of a turn [%(default)s]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch, ExitStack() as stack:
        os.environ["RANKCLI_CACHE"] = f"{scratch}/cache"
        collection = _collection(options, Path(scratch))
        needs = {name: _need(collection, words) for name, words in VARIANTS.items()}
        contenders = {
            name: stack.enter_context(Contender(sys.executable, "_our_side", collection.task("train", overrides=words)))
            for name, words in VARIANTS.items()
        }
        found = alternate(contenders, options.rounds)
    rounds = [{name: _measured(each, options.batch) for name, each in done.items()} for done in found]
    ratio = median(each["lora"]["steps_per_s"] / each["full"]["steps_per_s"] for each in rounds)
    conditions = {"precision": options.precision, "collection": options.collection, "batch_groups": options.batch}
    print_report(ratio, rounds, {}, {**conditions, "needs": needs, "slower": _slower(rounds)})


def _collection(options: argparse.Namespace, scratch: Path) -> Collection:
    trainer = in_turns(1 + options.rounds, options.steps * options.batch, options.batch, options.precision)
    folder = scratch / options.collection
    return Collection(options.data / options.collection, folder, cross_encoder(scratch), trainer)


def _need(collection: Collection, words: list[str]) -> dict[str, float]:
    """Return the megabytes that are held for the variables that are trained."""
    told = train(load_config([collection.config], words)[0], out="unused", dry_run=True)["result"]["memory"]["parts"]
    return {f"{name}_mb": rounded(told[name] / 1e6) for name in ("gradients", "optimizer")}


def _measured(done: dict[str, Any], batch: int) -> dict[str, float]:
    pairs = batch * (1 + NEGATIVES)
    return {"steps_per_s": rounded(done["pairs_per_second"] / pairs), "peak_mb": rounded(done["peak_mb"])}


def _slower(rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Each variant's time per step as a multiple of the full training's."""
    full = [each["full"]["steps_per_s"] for each in rounds]
    return {
        name: median(one / each[name]["steps_per_s"] for one, each in zip(full, rounds, strict=True))
        for name in VARIANTS
    }


if __name__ == "__main__":
    run(main)
