"""Reranking: pairs per second from run file to run file, of `rankcli rerank` and of sentence-transformers, in turn.

A MiniLM cross-encoder scores BM25's top 100. On the clock are reading the collection, the queries and the run,
tokenising, scoring, and writing the new run. The peer's `CrossEncoder.predict` sorts the pairs by length by itself;
both have the same weights, pairs per batch, threads and precision (bf16: rankcli casts its float32 weights, the peer
holds them in bfloat16).

Each side is a process with an open model that takes turns; while one computes the other waits. Opening the model, and a
first turn over the same run, in which shapes are compiled and memory is taken, are not counted, for either. `ratio` is
the median over the rounds on Vaswani. `largest_difference` between the two's scores is in standard deviations of them:
sides that do not read the same tokens differ by much more than precision does.

`--length 4000` joins documents of the collection until each has so many words, so that all sequences are cut off at so
many tokens; each query has 4 of them. `peak_mb` is the peak of each process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._alternate import about_peer, alternate, ratio_of, speeds
from benchmarks._report import check, print_report, rounded, run
from benchmarks._shapes import MINILM, SHAPES, started_from
from benchmarks._turns import Contender
from benchmarks._work import DEPTH, EVALBATCH, MAXSEQLEN, Collection, pairs_in, parser, peer_python
from rankcli.data.trec import read_run

QUERIES = {"vaswani": 16, "cranfield": 6}  # with 100 candidates each
LONG_DEPTH = 4
WANTED = {"vaswani": ">= 2", "cranfield": ">= 1.6"}


def main() -> None:
    """Run the benchmark."""
    made = parser("rerank", __doc__)
    made.add_argument("--collections", nargs="+", choices=list(QUERIES), default=list(QUERIES), help="[both]")
    made.add_argument(
        "--shape", choices=[MINILM, *SHAPES], default=MINILM, help="of the model; all but the first have random weights"
    )
    made.add_argument("--queries", type=int, help=f"of each collection, with 100 documents [{QUERIES}]")
    made.add_argument("--length", type=int, metavar="TOKENS", help="of documents, joined to be that long")
    options = made.parse_args()
    if options.length and options.shape == MINILM:
        made.error("--length: MiniLM reads 512 tokens; --shape ettin-17m reads 7,999")
    rounds: list[dict[str, Any]] = []
    conditions: dict[str, Any] = {"precision": options.precision, "shape": options.shape, "evalbatch": EVALBATCH}
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        model = started_from(options.shape, Path(scratch), options.data, options.length or MAXSEQLEN)
        for name in options.collections:
            found, conditions[name] = _measure(name, Path(scratch), model, options)
            rounds += found
    wanted = {} if options.length else {name: WANTED[name] for name in options.collections}
    checks = {name: check(ratio_of(rounds, name), goal) for name, goal in wanted.items()}
    largest = max(conditions[name]["largest_difference"] for name in options.collections)
    if options.precision == "fp32" or options.shape == MINILM:  # scores of random weights are about as far as rounding
        checks["largest_difference"] = check(largest, "< 0.1" if options.precision == "bf16" else "< 0.001")
    print_report(ratio_of(rounds, options.collections[0]), rounds, checks, conditions)


def _measure(
    name: str, scratch: Path, model: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rounds on a collection, and what it is."""
    source, depth = options.data / name, DEPTH
    if options.length:
        source, depth = _lengthened(source, scratch / "long" / name, options.length), LONG_DEPTH
    collection = Collection(source, scratch / name, model, {}, maxseqlen=options.length or MAXSEQLEN)
    first = collection.write_run(options.queries or QUERIES[name], depth=depth)
    task = collection.task("rerank", run=str(first), precision=options.precision)
    outputs = {side: collection.folder / f"{side}.run" for side in ("rankcli", "peer")}

    def turn(contender: Contender, side: str, _: int) -> dict[str, Any]:
        return contender.turn(output=str(outputs[side]))

    with (
        Contender(peer_python(), "_peer_side", task) as peer,
        Contender(sys.executable, "_our_side", task) as ours,
    ):
        found = alternate({"rankcli": ours, "peer": peer}, 1 + options.rounds, turn)[1:]
        versions = about_peer(peer)
    pairs = pairs_in(first)
    rounds = [speeds(each, len(pairs), name) for each in found]
    scores = [read_run(outputs[side]) for side in ("rankcli", "peer")]
    own, theirs = (np.array([found[qid][docid] for qid, docid in pairs]) for found in scores)
    differences = np.abs(own - theirs) / theirs.std()
    about = {
        "pairs": len(pairs),
        "tokens_per_pair": rounded(collection.lengths(pairs).mean()),
        "largest_difference": rounded(differences.max()),
        "peak_mb": {side: rounded(found[-1][side]["peak_mb"]) for side in outputs},
        **versions,
    }
    return rounds, about


def _lengthened(source: Path, target: Path, words: int) -> Path:
    """Write the collection again, with each document followed by its next ones until it has so many words."""
    shutil.copytree(source, target)
    rows = [json.loads(line) for line in (source / "corpus.jsonl").read_text().splitlines()]
    with (target / "corpus.jsonl").open("w") as file:
        for n, row in enumerate(rows):
            text: list[str] = []
            for follower in rows[n:] + rows[:n]:
                text += follower["text"].split()
                if len(text) >= words:
                    break
            file.write(json.dumps({"_id": row["_id"], "text": " ".join(text)}) + "\n")
    return target


if __name__ == "__main__":
    run(main)
