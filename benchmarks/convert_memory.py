"""Memory and time of `rankcli convert` on collections of up to a million documents.

The collections are made up (`benchmarks/_synthetic.py`), with groups of 1 + 7 documents, so many of them that some 95 %
of the documents are used. The command runs as a user runs it, from parsing the collection to the manifest, on two
CPUs, with nothing kept from before. Memory is that of all its processes together, looked at ten times a second; checked
is what they have in memory with shared pages counted once, mapped files included.

`ratio` is the peak with the most documents over that with the fewest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._memory import watched
from benchmarks._report import check, print_report, rounded, run
from benchmarks._synthetic import write_collection
from benchmarks._tokenizer import minilm
from rankcli.log import say

SAMPLES_PER_DOCUMENT = 0.4
CPUS = 2


def main() -> None:
    """Run the benchmark."""
    options = _options()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CPUS])
    rounds = []
    for documents in options.documents:
        with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
            convert = _converter(Path(folder), documents, options.tokenizer)
            rounds.append(convert(round(documents * SAMPLES_PER_DOCUMENT)))
            if documents == options.documents[0]:
                rounds += [convert(samples) for samples in options.samples]
    _report(rounds, options.documents)


def _converter(folder: Path, documents: int, tokenizer: Path) -> Callable[[int], dict[str, Any]]:
    """A function that converts a number of samples of a new collection of `documents` documents in `folder`."""
    write_collection(folder, documents)
    config = folder / "config.yaml"

    def convert(samples: int) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=folder) as storage:
            config.write_text(json.dumps(_config(folder, samples, tokenizer, storage)), encoding="utf-8")
            say(f"{documents:,} documents, {samples:,} samples")
            rankcli = [sys.executable, "-m", "rankcli", "convert", "--config", str(config), "--split", "train"]
            spent, peak = watched(rankcli)
        return {
            "documents": documents,
            "samples": samples,
            "seconds": rounded(spent.wall),
            "cpu_seconds": rounded(spent.cpu),
            **{f"{name}_mb": rounded(getattr(peak, name) / 1e6) for name in ("pss", "anonymous", "rss")},
            "processes": peak.processes,
        }

    return convert


def _config(folder: Path, samples: int, tokenizer: Path, storage: str) -> dict[str, Any]:
    """The configuration; JSON is YAML."""
    return {
        "data": {
            "docs": str(folder / "docs.jsonl"),
            "queries": str(folder / "queries.jsonl"),
            "qrels": {split: str(folder / f"{split}.qrels") for split in ("train", "dev", "test")},
            "run": str(folder / "first.run"),
        },
        "reranker": {"name": "crossencoder"},
        "extractor": {"name": "passage", "maxseqlen": 256, "maxqlen": 32, "tokenizer": str(tokenizer)},
        "sampler": {"name": "LCE", "nneg": 7},
        "trainer": {"niters": 1, "itersize": samples, "batch": 8, "storage": storage},
    }


def _report(rounds: list[dict[str, Any]], documents: list[int]) -> None:
    by_documents = [found for found in rounds if found["samples"] == found["documents"] * SAMPLES_PER_DOCUMENT]
    sizes, seconds = ([found[key] for found in by_documents] for key in ("documents", "seconds"))
    fit = np.corrcoef(sizes, seconds)[0, 1] ** 2 if len(sizes) > 2 else 1.0
    checks = {
        "peak_mb": check(max(found["pss_mb"] for found in rounds), "< 1000"),
        "linear_fit_r2": check(float(fit), ">= 0.99"),
    }
    conditions = {"documents": documents, "samples_per_document": SAMPLES_PER_DOCUMENT, "cpus_used": CPUS}
    print_report(by_documents[-1]["pss_mb"] / by_documents[0]["pss_mb"], rounds, checks, conditions)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench convert-memory", description=__doc__.split("\n")[0])
    sizes = [125_000, 250_000, 500_000, 1_000_000]
    parser.add_argument("--documents", type=int, nargs="+", default=sizes, help="sizes of collections [%(default)s]")
    samples = [10_000, 1_000_000]
    parser.add_argument("--samples", type=int, nargs="*", default=samples, help="on the first of them [%(default)s]")
    parser.add_argument("--tokenizer", type=Path, default=minilm(), metavar="DIR", help="[that of all-MiniLM-L6-v2]")
    parser.add_argument("--data", metavar="DIR", help="not used: the collections are made up")
    parser.add_argument("--scratch", metavar="DIR", help="where collections and records are written, some 6 GB")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
