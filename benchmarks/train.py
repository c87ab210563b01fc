"""Training: pairs per second of `rankcli train` and of sentence-transformers' `CrossEncoderTrainer`, in turn.

A MiniLM cross-encoder on groups of 1 + 7 documents from BM25's top 100, whole loop: reading, tokens to batches,
dropout, gradients, AdamW, metrics. Both take the same groups in the same order, from the same weights, with the same
batch, threads and precision (bf16: weights in float32, computed in bfloat16). The peer's loss is `ListNetLoss`, its
labels such that it is the same function as rankcli's `lce`.

Each side is a process that starts once per collection and then takes turns of the same groups; while one computes the
other waits. Start-up, and all of the first turn, in which shapes are compiled and memory is taken, are not counted, for
either. `ratio` is the median over the rounds on Vaswani.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._alternate import about_peer, alternate, ratio_of, speeds
from benchmarks._report import check, print_report, rounded, run
from benchmarks._shapes import MINILM, SHAPES, started_from
from benchmarks._turns import Contender
from benchmarks._work import (
    MAXQLEN,
    MAXSEQLEN,
    NEGATIVES,
    Collection,
    in_turns,
    pairs_of,
    parser,
    peer_python,
)

GROUPS = {"vaswani": 32, "cranfield": 16}  # in a turn
WANTED = {"vaswani": ">= 3", "cranfield": ">= 2"}
BATCH, LR = 8, 2e-5
MINI_BATCH = 8  # pairs; the fastest: none is the same with 8 groups per step, and -1, all at once, pads far more


def main() -> None:
    """Run the benchmark."""
    made = parser("train", __doc__)
    made.add_argument("--collections", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="[both]")
    made.add_argument(
        "--mini-batch", type=int, default=MINI_BATCH, help="of the peer's loss; -1: all at once [%(default)s]"
    )
    made.add_argument(
        "--shape", choices=[MINILM, *SHAPES], default=MINILM, help="of the model; all but the first have random weights"
    )
    made.add_argument("--groups", type=int, help=f"of a turn on each collection, a multiple of {BATCH} [{GROUPS}]")
    options = made.parse_args()
    rounds: list[dict[str, Any]] = []
    conditions: dict[str, Any] = {
        "precision": options.precision,
        "shape": options.shape,
        "batch_groups": BATCH,
        "mini_batch": options.mini_batch,
    }
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        model = started_from(options.shape, Path(scratch), options.data)
        for name in options.collections:
            found, about = _measure(name, Path(scratch), model, options)
            rounds += found
            conditions[name] = about
    checks = {name: check(ratio_of(rounds, name), WANTED[name]) for name in options.collections}
    conditions |= {"documents_per_group": 1 + NEGATIVES, "maxseqlen": MAXSEQLEN, "maxqlen": MAXQLEN}
    print_report(ratio_of(rounds, options.collections[0]), rounds, checks, conditions)


def _measure(
    name: str, scratch: Path, model: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rounds on a collection, and what it is."""
    groups, turns = options.groups or GROUPS[name], 1 + options.rounds
    trainer = {**in_turns(turns, groups, BATCH, options.precision), "bertlr": LR, "lr": LR}
    collection = Collection(options.data / name, scratch / name, model, trainer)
    peer_task = collection.task(
        "train",
        groups=str(collection.write_groups(groups * turns)),
        turn=groups,
        batch=BATCH,
        mini_batch=options.mini_batch,
        precision=options.precision,
        lr=LR,
        warmup=0.1,
        weight_decay=0.0,
        seed=42,
    )
    with (
        Contender(peer_python(), "_peer_side", peer_task) as peer,
        Contender(sys.executable, "_our_side", collection.task("train")) as ours,
    ):
        found = alternate({"rankcli": ours, "peer": peer}, options.rounds)
        shares = [{key: each["rankcli"][key] for key in ("waiting_share", "padding_share")} for each in found]
        rates = [speeds(each, groups * (1 + NEGATIVES), name) for each in found]
        rounds = [{**rate, **share} for rate, share in zip(rates, shares, strict=True)]
        lengths = collection.lengths(pairs_of(collection.samples(groups * turns)))
        about = {"groups_per_turn": groups, "tokens_per_pair": rounded(lengths.mean()), **about_peer(peer)}
    return rounds, about


if __name__ == "__main__":
    run(main)
