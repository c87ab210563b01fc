"""A head on a frozen encoder: steps per second of `rankcli train` over kept vectors, and without them, in turn.

MiniLM as a frozen bi-encoder with the head `skip`, groups of 1 + 7 documents, 8 groups a step, whole loop. Both take
the same groups in the same order; over kept vectors a turn has more of them, as its steps are short. Start-up, the
encoding of each text once, and the first turn are not counted, for either. `ratio` is the median over the rounds on the
first collection.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._alternate import alternate, ratio_of
from benchmarks._report import check, print_report, rounded, run
from benchmarks._tokenizer import minilm
from benchmarks._turns import Contender
from benchmarks._work import MAXQLEN, MAXSEQLEN, NEGATIVES, Collection, in_turns, parser

BATCH = 8  # groups
GROUPS = {"kept": 1600, "computed": 32}  # in a turn
CACHES = {"kept": "{doc: {}, query: {}}", "computed": "null"}
WANTED = ">= 20"


def main() -> None:
    """Run the benchmark."""
    made = parser("cached", __doc__)
    made.add_argument("--collections", nargs="+", default=["vaswani", "cranfield"], help="[both]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        rounds = [each for name in options.collections for each in _rounds(name, Path(scratch), options)]
    checks = {name: check(ratio_of(rounds, name), WANTED) for name in options.collections}
    conditions = {"precision": options.precision, "batch_groups": BATCH, "documents_per_group": 1 + NEGATIVES}
    conditions |= {"maxdoclen": MAXSEQLEN, "maxqlen": MAXQLEN}
    print_report(ratio_of(rounds, options.collections[0]), rounds, checks, conditions)


def _rounds(name: str, scratch: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rounds on a collection."""
    with (
        Contender(sys.executable, "_our_side", _task("kept", name, scratch, options)) as kept,
        Contender(sys.executable, "_our_side", _task("computed", name, scratch, options)) as computed,
    ):
        found = alternate({"kept": kept, "computed": computed}, options.rounds)
    return [_speeds(each, name) for each in found]


def _task(side: str, name: str, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    trainer = {**in_turns(1 + options.rounds, GROUPS[side], BATCH, options.precision), "lr": 1e-4}
    collection = Collection(options.data / name, scratch / f"{name}-{side}", minilm(), trainer)
    overrides = [
        f"reranker={{name: biencoder, pretrained: {minilm()}, frozen: true, head: skip}}",
        f"extractor={{name: apart, maxdoclen: {MAXSEQLEN}, maxqlen: {MAXQLEN}}}",
        f"caches={CACHES[side]}",
    ]
    return collection.task("train", overrides=overrides)


def _speeds(found: dict[str, Any], collection: str) -> dict[str, Any]:
    pairs = BATCH * (1 + NEGATIVES)
    kept, computed = (found[side] for side in ("kept", "computed"))
    speeds = {f"{side}_steps_per_s": rounded(each["pairs_per_second"] / pairs) for side, each in found.items()}
    cpu = {side: each["cpu_seconds"] / each["pairs"] for side, each in found.items()}
    return {
        "collection": collection,
        **speeds,
        "ratio": rounded(kept["pairs_per_second"] / computed["pairs_per_second"]),
        "cpu_ratio": rounded(cpu["computed"] / cpu["kept"]),
    }


if __name__ == "__main__":
    run(main)
