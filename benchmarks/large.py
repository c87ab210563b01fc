"""Time and memory of the commands on a large collection: search, evaluate, the dry run of a training, rerank.

Documents of ten words, queries of three and judgments are made up and written to files; each command is the real one,
in a process of its own. The model that reranks is a TFKNRM trained for two steps on 300 of the documents.

`ratio` is the peak memory of any command in GB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._memory import watched
from benchmarks._report import check, print_report, rounded, run
from benchmarks.triples import passages, write_lines
from rankcli.log import say

SMALL = 300  # documents and queries that the model is trained on


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        os.environ["RANKCLI_CACHE"] = f"{folder}/cache"
        os.chdir(folder)
        _write(options.documents, options.queries)
        _command("train", "small.yaml", "-q")
        steps = {
            "search": ("search", *FILES, "--k", str(options.k), "-o", "large.run"),
            "evaluate": ("evaluate", "--qrels", "qrels.txt", "--run", "large.run"),
            "train --dry-run": ("train", "large.yaml", "--dry-run"),
            "rerank": (
                "rerank",
                "--model",
                "runs/small",
                *FILES,
                "--run",
                "large.run",
                "--depth",
                "2",
                "-o",
                "new.run",
            ),
        }
        rounds = [_measured(name, command) for name, command in steps.items()]
        lines = Path("large.run").read_bytes().count(b"\n")
    peak = max(found["rss_mb"] for found in rounds)
    checks = {"peak_mb": check(peak, "< 4000")}
    sizes = {"documents": options.documents, "queries": options.queries, "lines": lines}
    print_report(peak / 1000, rounds, checks, sizes)


FILES = ("--docs", "docs.tsv", "--queries", "queries.tsv")


def _write(documents: int, queries: int) -> None:
    write_lines(Path("docs.tsv"), passages(documents))
    write_lines(Path("queries.tsv"), _queries(queries))
    write_lines(Path("qrels.txt"), (f"q{n} 0 {n * 7919 % documents} 1\n" for n in range(queries)))
    files = "docs: docs.tsv, queries: queries.tsv, qrels: qrels.txt, folds: {k: 3}"
    Path("large.yaml").write_text(f"data: {{{files}, run: large.run}}\nreranker: TFKNRM\n")
    write_lines(Path("few.tsv"), passages(SMALL))
    write_lines(Path("few-queries.tsv"), _queries(SMALL))
    write_lines(Path("few-qrels.txt"), (f"q{n} 0 {n} 1\n" for n in range(SMALL)))
    few = "docs: few.tsv, queries: few-queries.tsv, qrels: few-qrels.txt, folds: {k: 3}"
    trainer = "{niters: 1, itersize: 8, strategy: cpu}"
    Path("small.yaml").write_text(f"data: {{{few}}}\nreranker: TFKNRM\ntrainer: {trainer}\n")


def _queries(count: int) -> Iterator[str]:
    """Lines of an id and three words of the passages' vocabulary, the nth query's first word as in the nth passage."""
    draw = np.random.default_rng(3)
    firsts = (line.split("\t")[1].split()[0] for line in passages(count))
    others = [line.split("\t")[1].split()[:2] for line in passages(min(count, 1000))]
    for n, first in enumerate(firsts):
        yield f"q{n}\t{first} {' '.join(others[draw.integers(len(others))])}\n"


def _command(*arguments: str) -> Any:
    return watched([sys.executable, "-m", "rankcli", *arguments])


def _measured(name: str, command: tuple[str, ...]) -> dict[str, Any]:
    spent, peak = _command(*command)
    found = {"command": name, "seconds": rounded(spent.wall), "rss_mb": rounded(peak.rss / 1e6)}
    say(str(found))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench large", description=__doc__.split("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000, help="documents [%(default)s]")
    parser.add_argument("--queries", type=int, default=100_000, help="queries [%(default)s]")
    parser.add_argument("--k", type=int, default=50, help="lines of the run for each query [%(default)s]")
    parser.add_argument("--data", metavar="DIR", help="not used: everything is made up")
    parser.add_argument("--scratch", metavar="DIR", help="where files and caches are written, some 2 GB")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
