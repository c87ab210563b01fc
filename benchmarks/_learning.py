"""Parts of the benchmarks of losses and clicks: inputs as files, figures that are kept, spread and intervals."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import rounded
from rankcli.data.trec import Run, ranking

RESAMPLES = 2_000
Row = dict[str, Any]


def parser(name: str, description: str | None, seeds: int) -> argparse.ArgumentParser:
    """The options of both benchmarks."""
    made = argparse.ArgumentParser(f"scripts/bench {name}", description=(description or "").split("\n")[0])
    made.add_argument("--seeds", type=int, default=seeds, help="how many [%(default)s]")
    made.add_argument(
        "--scratch", metavar="DIR", help="where it works, and goes on if it is stopped [a temporary folder]"
    )
    return made


class Done:
    """Figures of trainings by key, a line of a file each: what is there is not trained again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, Row] = {row["key"]: row for row in map(json.loads, lines)}

    def __call__(self, key: str, make: Callable[[], Row]) -> Row:
        """The figures of a key, made if they are not there."""
        if key not in self.rows:
            self.rows[key] = {"key": key, **make()}
            with self.path.open("a") as file:
                file.write(json.dumps(self.rows[key]) + "\n")
        return self.rows[key]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation over the seeds, the least and the greatest."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    found = {"mean": statistics.mean(values), "deviation": deviation, "least": min(values), "most": max(values)}
    return {name: rounded(value) for name, value in found.items()}


def interval(differences: Any) -> tuple[float, float]:
    """The 95 % interval of the mean, by a bootstrap over the queries."""
    draws = np.random.default_rng(0).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return rounded(float(low)), rounded(float(high))


def write_run(path: Path, found: Run, depth: int) -> None:
    """Write the first `depth` documents of every query."""
    with path.open("w") as file:
        for qid in sorted(found):
            for rank, docid in enumerate(ranking(found[qid])[:depth], 1):
                file.write(f"{qid} Q0 {docid} {rank} {found[qid][docid]} bm25\n")


def write_qrels(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments."""
    lines = [f"{qid} 0 {docid} {grade}\n" for qid, judged in qrels.items() for docid, grade in judged.items()]
    path.write_text("".join(lines))


def write_texts(path: Path, texts: Iterable[tuple[str, str]]) -> None:
    """Write documents or queries as JSONL."""
    path.write_text("".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts))
