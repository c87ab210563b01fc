"""Share of the ceiling that `rankcli rerank` and `train` reach: useful operations, padding, compilations.

The ceiling is measured in the same rounds: the dense products of an encoder layer of MiniLM over 4,096 tokens, each by
the better of TensorFlow and PyTorch, the fastest of many runs. Useful operations are those that the scores need
(`benchmarks/_flops.py` has the formula), in training three times that; the seconds are those of `rerank` from run file
to run file, and of the training loop. Four processes take turns; a first turn of each is not counted. `ratio` is the
median share of the ceiling in reranking on Vaswani.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._alternate import alternate
from benchmarks._flops import TRAINING, Size, ceiling, useful_flops
from benchmarks._matmul import encoder_shapes, flops
from benchmarks._report import check, median, print_report, rounded, run
from benchmarks._turns import Contender
from benchmarks._work import Collection, cross_encoder, in_turns, pairs_in, pairs_of, parser, peer_python
from rankcli.records.workers import available_cpus

QUERIES, GROUPS, BATCH, ROWS = 16, 32, 8, 4096
COMPILATIONS = 3  # of a step: far fewer than there are shapes of batches


def main() -> None:
    """Run the benchmark."""
    made = parser("ceiling", __doc__)
    made.add_argument("--collection", choices=["vaswani", "cranfield"], default="vaswani", help="[%(default)s]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch, ExitStack() as open_contenders:
        model = cross_encoder(Path(scratch))
        size = Size.of(json.loads((model / "config.json").read_text()))
        shapes = encoder_shapes(ROWS, size.hidden, size.intermediate)
        turns = 1 + options.rounds
        trainer = in_turns(turns, GROUPS, BATCH, options.precision)
        source = options.data / options.collection
        collection = Collection(source, Path(scratch, "work"), model, trainer)
        first = collection.write_run(QUERIES)
        task = {"does": "matmul", "shapes": shapes, "precision": options.precision, "threads": available_cpus()}
        rerank_task = collection.task("rerank", run=str(first), precision=options.precision)
        contenders = {
            "tensorflow": Contender(sys.executable, "_our_side", task),
            "pytorch": Contender(peer_python(), "_peer_side", task),
            "rerank": Contender(sys.executable, "_our_side", rerank_task),
            "train": Contender(sys.executable, "_our_side", collection.task("train")),
        }
        for contender in contenders.values():
            open_contenders.enter_context(contender)

        def turn(contender: Contender, name: str, _: int) -> dict[str, Any]:
            return contender.turn(**({"output": f"{scratch}/out.run"} if name == "rerank" else {}))

        counted = contenders["rerank"].turn(output=f"{scratch}/out.run", count=True)
        found = alternate(contenders, options.rounds, turn)
        pairs = pairs_in(first)
        work = {
            "rerank": useful_flops(size, collection.lengths(pairs)),
            "train": [
                TRAINING * useful_flops(size, collection.lengths(pairs_of(samples)))
                for samples in _dealt(collection.samples(GROUPS * turns), GROUPS)[1:]
            ],
        }
    operations = [flops(shape) for shape in shapes]
    rounds = [_round(each, number, work, operations) for number, each in enumerate(found)]
    checks = {
        "rerank_share": check(median(each["rerank_share"] for each in rounds), ">= 0.8"),
        "train_share": check(median(each["train_share"] for each in rounds), ">= 0.55"),
        "rerank_padding": check(counted["padding_share"], "<= 0.05"),
        "train_padding": check(median(each["train"]["padding_share"] for each in found), "<= 0.05"),
        "waiting_share": check(median(each["train"]["waiting_share"] for each in found), "< 0.03"),
        "rerank_compilations": check(counted["traces"], f"<= {COMPILATIONS}"),
        "train_compilations": check(found[-1]["train"]["traces"], f"<= {COMPILATIONS}"),
    }
    conditions = {
        "precision": options.precision,
        "collection": options.collection,
        "rerank_pairs": len(pairs),
        "train_groups": GROUPS,
        "shapes": shapes,
    }
    print_report(checks["rerank_share"]["value"], rounds, checks, conditions)


def _dealt(samples: list[Any], size: int) -> list[list[Any]]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def _round(found: dict[str, Any], number: int, work: dict[str, Any], operations: list[int]) -> dict[str, Any]:
    top = ceiling(operations, [found[name]["seconds"] for name in ("tensorflow", "pytorch")])
    alone = {name: sum(operations) / sum(found[name]["seconds"]) for name in ("tensorflow", "pytorch")}
    rates = {
        "rerank": work["rerank"] / found["rerank"]["seconds"],
        "train": work["train"][number] / found["train"]["seconds"],
    }
    return {
        "ceiling_gflops": rounded(top / 1e9),
        **{f"{name}_gflops": rounded(rate / 1e9) for name, rate in {**alone, **rates}.items()},
        **{f"{name}_share": rounded(rate / top) for name, rate in rates.items()},
    }


if __name__ == "__main__":
    run(main)
