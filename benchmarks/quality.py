"""Quality at equal work: nDCG@10 after the same number of pairs, of rankcli and of sentence-transformers.

Fold 0 of Vaswani, a MiniLM cross-encoder with a fresh head, three seeds of the order of the groups. Both sides train on
the same groups of 1 + 7 in the same order, from the same weights, with AdamW at one learning rate for all, linear decay
after a tenth, the same loss and precision. The last weights rerank BM25's top 50 of the queries that were not trained
on, dev and test together. Without dropout (the default) both compute the same function up to rounding, and what they
differ in is seen; with `--dropout 0.1` they draw differently, and 62 queries say little.

`ratio` is the mean difference of nDCG@10, rankcli's minus the peer's; its interval is a bootstrap over queries, each
with the mean of its seeds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._report import check, print_report, rounded, run
from benchmarks._turns import Contender
from benchmarks._work import NEGATIVES, Collection, amp, cross_encoder, parser, peer_python
from rankcli.data.trec import read_run
from rankcli.evaluation.trec import evaluate

METRIC, BATCH, WARMUP = "ndcg_cut_10", 8, 0.1
GROUPS, LR, HELD_OUT, DEPTH = 500, 1e-4, ("dev", "test"), 50
RESAMPLES = 10_000


def main() -> None:
    """Run the benchmark."""
    made = parser("quality", __doc__)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="[%(default)s]")
    made.add_argument("--groups", type=int, default=GROUPS, help="to train on [%(default)s]")
    made.add_argument("--lr", type=float, default=LR, help="[%(default)s]")
    made.add_argument("--dropout", type=float, default=0.0, help="[%(default)s]")
    options = made.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        model = cross_encoder(Path(scratch), options.dropout)
        rounds, values = [], []
        for seed in options.seeds:
            found = _one_seed(seed, Path(scratch, str(seed)), model, options)
            values.append(found)
            rounds.append({"seed": seed, **{side: rounded(float(np.mean(each))) for side, each in found.items()}})
    differences = np.mean([found["rankcli"] - found["peer"] for found in values], axis=0)
    low, high = interval(differences)
    conditions = {
        "precision": options.precision,
        "groups": options.groups,
        "pairs": options.groups * (1 + NEGATIVES),
        "learning_rate": options.lr,
        "dropout": options.dropout,
        "queries": len(differences),
        "bm25": rounded(float(np.mean(values[0]["bm25"]))),
        "interval": [rounded(low), rounded(high)],
    }
    print_report(float(np.mean(differences)), rounds, {"lower_bound": check(low, "> -0.01")}, conditions)


def interval(differences: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the mean, by a bootstrap over the queries."""
    draws = np.random.default_rng(0).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def _one_seed(seed: int, folder: Path, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The nDCG@10 of every test query, by side."""
    trainer = {
        "batch": BATCH,
        "itersize": options.groups,
        "niters": 1,
        "warmupiters": WARMUP,
        "bertlr": options.lr,
        "lr": options.lr,
        "amp": amp(options.precision),
        "seed": seed,
    }
    collection = Collection(options.data / "vaswani", folder, model, trainer, dropout=options.dropout)
    first = collection.write_run(splits=HELD_OUT, depth=DEPTH)
    outputs = {side: folder / f"{side}.run" for side in ("rankcli", "peer")}
    _rankcli(collection, outputs["rankcli"], first, options.precision)
    task = collection.task(
        "quality",
        groups=str(collection.write_groups(options.groups)),
        run=str(first),
        output=str(outputs["peer"]),
        batch=BATCH,
        mini_batch=8,
        precision=options.precision,
        lr=options.lr,
        warmup=WARMUP,
        weight_decay=0.0,
        seed=seed,
    )
    with Contender(peer_python(), "_peer_side", task):
        pass
    qrels = {q: judged for part in HELD_OUT for q, judged in collection.prepared.dataset.judgments(part).items()}
    runs = {"bm25": first, **outputs}
    per_query = {side: evaluate(qrels, read_run(path), [METRIC])[METRIC] for side, path in runs.items()}
    return {side: np.array([found[qid] for qid in sorted(qrels)]) for side, found in per_query.items()}


def _rankcli(collection: Collection, output: Path, first: Path, precision: str) -> None:
    """Train and rerank with the commands."""
    run_dir = collection.folder / "run"
    train = ["train", "--config", str(collection.config), "--out", str(run_dir)]
    data = {"docs": "corpus.jsonl", "queries": "queries.jsonl"}
    rerank = ["rerank", "--model", str(run_dir), "--weights", "last", "--amp", amp(precision), "--run", str(first)]
    rerank += [word for name, file in data.items() for word in (f"--{name}", str(collection.source / file))]
    for command in (train, [*rerank, "--output", str(output)]):
        env = {**os.environ, "RANKCLI_CACHE": str(collection.folder / "cache")}
        subprocess.run([sys.executable, "-m", "rankcli", *command], check=True, stdout=subprocess.DEVNULL, env=env)


if __name__ == "__main__":
    run(main)
