"""The memory of a training, beside the estimate that `rankcli train` gives before it starts.

Models of the sizes of MiniLM-L6 and BERT-base with random weights train for three steps on made-up documents that are
longer than any sequence, each in a process of its own, one after the other: the real command, with its validation, test
and checkpoint. A batch counts sequences. `rss_mb` is the peak of the process; `ratio` is the largest difference of the
estimate from it, as a share.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._memory import watched
from benchmarks._report import check, print_report, rounded, run
from benchmarks._tokenizer import minilm
from rankcli.log import say

SIZES = {
    "minilm": "{layers: 6, hidden: 384, heads: 12, intermediate: 1536}",
    "bert-base": "{layers: 12, hidden: 768, heads: 12, intermediate: 3072}",
}
EXTRACTORS = {"crossencoder": "{name: passage, maxseqlen: %d}", "biencoder": "{name: apart, maxdoclen: %d}"}
GROUP = 4  # documents
WANTED = "<= 0.25"


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        os.chdir(folder)
        os.environ["RANKCLI_CACHE"] = f"{folder}/cache"
        _write(Path(folder))
        rounds = [
            _measured(model, reranker, tokens, batch)
            for model in options.models
            for reranker in options.rerankers
            for tokens in options.tokens
            for batch in options.batches
        ]
    worst = max(abs(found["estimate_mb"] / found["rss_mb"] - 1) for found in rounds)
    print_report(worst, rounds, {"estimate": check(worst, WANTED)}, {"documents_of_a_group": GROUP})


def _write(folder: Path) -> None:
    words = [word for word in (minilm() / "vocab.txt").read_text().split() if word.isalpha() and word.isascii()]
    draw = np.random.default_rng(1)
    texts: Iterator[str] = (" ".join(draw.choice(words, 600)) for _ in range(40))
    documents = [{"_id": f"d{n}", "text": text} for n, text in enumerate(texts)]
    queries = [{"_id": f"q{n}", "text": " ".join(documents[n]["text"].split()[:20])} for n in range(12)]
    for name, rows in (("docs", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels.txt").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(12)))


def _measured(model: str, reranker: str, tokens: int, batch: int) -> dict[str, Any]:
    groups = batch // GROUP
    Path("config.yaml").write_text(
        "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
        f"reranker: {{name: {reranker}, encoder: {SIZES[model]}}}\n"
        f"extractor: {EXTRACTORS[reranker] % tokens}\n"
        f"sampler: {{name: LCE, nneg: {GROUP - 1}}}\n"
        f"trainer: {{batch: {groups}, niters: 1, itersize: {3 * groups}, threshold: 4, strategy: cpu}}\n"
    )
    command = [sys.executable, "-m", "rankcli", "train", "config.yaml", f"extractor.tokenizer={minilm()}"]
    told = subprocess.run([*command, "--dry-run", "--json"], check=True, stdout=subprocess.PIPE).stdout
    _, peak = watched([*command, "-q", "--overwrite"])
    found = {
        "model": model,
        "reranker": reranker,
        "tokens": tokens,
        "batch": batch,
        "rss_mb": rounded(peak.rss / 1e6),
        "estimate_mb": rounded(json.loads(told)["memory"]["bytes"] / 1e6),
    }
    say(str(found))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench memory", description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=SIZES, default=["minilm"], help="[%(default)s]")
    parser.add_argument("--rerankers", nargs="+", choices=EXTRACTORS, default=[*EXTRACTORS], help="[%(default)s]")
    parser.add_argument("--tokens", nargs="+", type=int, default=[256, 512], help="of a sequence [%(default)s]")
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 32], help="sequences of a step [%(default)s]")
    parser.add_argument("--data", metavar="DIR", help="not used: everything is made up")
    parser.add_argument("--scratch", metavar="DIR", help="where files and caches are written")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
