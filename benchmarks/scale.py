"""Throughput against sequence length, list size, depth and devices: time should grow with the tokens alone.

Collections are made up of words of one token each, so that every pair has as many tokens as wanted. `rerank`: runs of
pairs of several lengths, and of several depths, with an open model. `train`: a training per point, for several lengths,
list sizes, and one or two virtual devices on the same cores. Of each the fastest turn counts, the first one aside.
`ratio` is the time per token of the longest sequences over that of the shortest, in reranking; attention alone makes it
1.06 from 32 to 256 tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import check, print_report, rounded, run
from benchmarks._tokenizer import minilm
from benchmarks._turns import Contender
from benchmarks._work import NEGATIVES, Collection, cross_encoder, in_turns, parser
from rankcli.log import say

QUERY_WORDS, SPECIAL = 5, 3
LENGTHS, LISTS, DEPTHS = (32, 64, 128, 256), (2, 8, 32), (25, 50, 100, 200)
LENGTH = 64  # where another thing varies
QUERIES, TRAIN_PAIRS = 8, 128


@dataclass(frozen=True)
class Point:
    """A measurement: `varies` names the series."""

    varies: str
    length: int = LENGTH
    documents: int = 1 + NEGATIVES  # of a query when reranking, of a group when training
    devices: int = 1


def main() -> None:
    """Run the benchmark."""
    options = parser("scale", __doc__, rounds=2).parse_args()
    rerank = [Point("length", length, 100) for length in LENGTHS] + [Point("depth", documents=d) for d in DEPTHS]
    train = [Point("length", length) for length in LENGTHS] + [Point("list", documents=size) for size in LISTS]
    train += [Point("devices", devices=count) for count in (1, 2)]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        model = cross_encoder(Path(scratch))
        rounds = _reranking(rerank, Path(scratch), model, options)
        rounds += [_training(point, Path(scratch, f"train-{n}"), model, options) for n, point in enumerate(train)]
    _report(rounds, options.precision)


def write_collection(folder: Path, length: int, documents: int) -> None:
    """A collection in which every pair has `length` tokens, and each of `QUERIES` queries `documents` documents."""
    words = [w for w in (minilm() / "vocab.txt").read_text().split() if w.isascii() and w.isalpha() and len(w) > 3]
    draw = np.random.default_rng(0)
    folder.mkdir()

    def text(count: int) -> str:
        return " ".join(draw.choice(words, count))

    docs = [{"_id": f"d{n}", "text": text(length - QUERY_WORDS - SPECIAL)} for n in range(QUERIES * documents)]
    queries = [{"_id": f"q{n}", "text": text(QUERY_WORDS)} for n in range(QUERIES)]
    for name, rows in {"corpus": docs, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = [(q, QUERIES * rank + q, rank) for q in range(QUERIES) for rank in range(documents)]
    (folder / "first.run").write_text("".join(f"q{q} Q0 d{d} {rank + 1} {-rank} all\n" for q, d, rank in found))
    (folder / "qrels.txt").write_text("".join(f"q{q} 0 d{q} 1\n" for q in range(QUERIES)))


def _reranking(points: list[Point], scratch: Path, model: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    task = {"does": "rerank", "model": str(model), "precision": options.precision}
    files = []
    for n, point in enumerate(points):
        folder = scratch / f"rerank-{n}"
        write_collection(folder, point.length, point.documents)
        found = {"docs": "corpus.jsonl", "queries": "queries.jsonl", "run": "first.run", "output": "out.run"}
        files.append({name: str(folder / file) for name, file in found.items()})
    best: dict[int, dict[str, Any]] = {}
    with Contender(sys.executable, "_our_side", task) as ours:
        for number in range(1 + options.rounds):
            for n, arguments in enumerate(files):
                turn = ours.turn(**arguments)
                if number and (n not in best or turn["seconds"] < best[n]["seconds"]):
                    best[n] = turn
            say(f"reranking: turn {number + 1} of {1 + options.rounds}")
    return [_figures("rerank", point, best[n]) for n, point in enumerate(points)]


def _training(point: Point, folder: Path, model: Path, options: argparse.Namespace) -> dict[str, Any]:
    say(f"training: {point}")
    groups = max(TRAIN_PAIRS // point.documents, 4)
    trainer = {
        **in_turns(1 + options.rounds, groups, groups // 4, options.precision),
        "strategy": "mirrored" if point.devices > 1 else "cpu",
    }
    write_collection(folder, point.length, 40)
    task = {
        "does": "train",
        "config": str(Collection(folder, folder, model, trainer).config),
        "overrides": [f"sampler.nneg={point.documents - 1}", f"data.run={folder / 'first.run'}"],
        "devices": point.devices,
    }
    with Contender(sys.executable, "_our_side", task) as ours:
        turns = [ours.turn() for _ in range(options.rounds)]
    return _figures("train", point, min(turns, key=lambda turn: float(turn["seconds"])))


def _figures(what: str, point: Point, turn: dict[str, Any]) -> dict[str, Any]:
    tokens = point.length * turn["pairs"]
    shares: dict[str, Any] = {name: turn[name] for name in ("waiting_share", "padding_share") if name in turn}
    figures = {
        "what": what,
        "varies": point.varies,
        "length": point.length,
        "documents": point.documents,
        "devices": point.devices,
        "pairs_per_s": rounded(turn["pairs"] / turn["seconds"]),
        "tokens": tokens,
        "tokens_per_s": rounded(tokens / turn["seconds"]),
        "seconds": rounded(turn["seconds"]),
    }
    return {**figures, **shares}


def linearity(rounds: list[dict[str, Any]], what: str) -> float:
    """R^2 of a straight line through seconds by tokens, over all points of one device."""
    points = [(each["tokens"], each["seconds"]) for each in rounds if each["what"] == what and each["devices"] == 1]
    return float(np.corrcoef(np.array(points).T)[0, 1] ** 2)


def per_token(rounds: list[dict[str, Any]], what: str) -> float:
    """Seconds per token with the longest sequences, over those with the shortest."""
    rates = [each["tokens_per_s"] for each in rounds if (each["what"], each["varies"]) == (what, "length")]
    return float(rates[0] / rates[-1])


def _report(rounds: list[dict[str, Any]], precision: str) -> None:
    devices = [each["pairs_per_s"] for each in rounds if each["varies"] == "devices"]
    checks = {
        "rerank_linear_r2": check(linearity(rounds, "rerank"), ">= 0.98"),
        "rerank_time_per_token_longest": check(per_token(rounds, "rerank"), "<= 1.25"),
        "train_time_per_token_longest": check(per_token(rounds, "train"), "<= 1.25"),
        "two_devices": check(devices[1] / devices[0], ">= 0.9"),
        "waiting_share": check(max(each.get("waiting_share", 0.0) for each in rounds), "< 0.03"),
    }
    print_report(per_token(rounds, "rerank"), rounds, checks, {"precision": precision, "queries": QUERIES})


if __name__ == "__main__":
    run(main)
