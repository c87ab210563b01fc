"""Look at a file of features and write a configuration for it."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankcli.config.registry import DATASETS
from rankcli.config.render import to_yaml
from rankcli.data.source import Source
from rankcli.datasets.elwc import ELWC
from rankcli.runs.listed import features_in, source_of

FIVE_FOLDS_FROM = 75  # judged queries; with fewer, a fifth is too few to choose weights on


@dataclass(frozen=True)
class Lists:
    """The facts about a file of features. `value` is the least and the greatest of them."""

    queries: int
    docs: int
    longest: int
    median: int
    features: int
    value: tuple[float, float]
    grades: dict[int, int]

    @property
    def text(self) -> str:
        """The facts as lines."""
        return (
            f"{self.queries} queries with {self.docs} documents (median {self.median}, at most {self.longest})\n"
            f"{self.features} features, from {self.value[0]:g} to {self.value[1]:g}\n"
            "grades: " + ", ".join(f"{grade}: {count}" for grade, count in self.grades.items())
        )

    @property
    def folds(self) -> int:
        """The number of folds that fits the number of queries."""
        return 5 if self.queries >= FIVE_FOLDS_FROM else 3


def look_at(path: str) -> Lists:
    """Read a file of features and count."""
    source = features_in(path)
    lists = source.qrels[""]
    lengths = [len(grades) for grades in lists.values()]
    return Lists(
        queries=len(lists),
        docs=sum(lengths),
        longest=max(lengths),
        median=int(statistics.median_low(lengths)),
        features=source.features.width if source.features else 0,
        value=_range(source),
        grades=dict(sorted(Counter(grade for grades in lists.values() for grade in grades.values()).items())),
    )


def _range(source: Source) -> tuple[float, float]:
    if source.features is None:
        return 0.0, 0.0
    blocks = (source.features.features(qid, tuple(grades)) for qid, grades in source.qrels[""].items())
    ends = [(float(np.min(block)), float(np.max(block))) for block in blocks]
    return min(low for low, _ in ends), max(high for _, high in ends)


def configuration_of(path: str, written: str, found: Lists) -> tuple[dict[str, Any], str]:
    """Return the section `data`, and the configuration as YAML with comments; it names the file as `written`."""
    options = source_of(path)
    source: dict[str, Any] = {"name": DATASETS.name_of(options), "path": written}
    if isinstance(options, ELWC):
        source |= {
            "label": options.label,
            "features": list(options.features or ()),
            "context": list(options.context or ()),
        }
    else:
        source |= {"width": found.features}
    data = {"source": source, "folds": {"k": found.folds, "fold": 0, "seed": 7}}
    notes = "".join(f"# {line}\n" for line in found.text.split("\n"))
    return data, (
        f"{notes}\n{to_yaml({'data': data})}"
        "# `fold: all` trains every fold in turn. With files of their own for the parts, leave folds out:\n"
        "#   path: {train: FILE, dev: FILE, test: FILE}\n\n"
        "reranker: {name: dnn, dropout: 0.5}\n"
        "extractor: {name: features, pieces: 4}  # each feature as pieces of its range, as trees see it\n"
        "# extractor: {name: features, log1p: true, standardize: true}  # the numbers; log1p is for counts\n"
        f"sampler: {{name: judged, size: {max(found.longest, 2)}}}  # the longest list\n"
        f"trainer: {{batch: 8, niters: 15, loss: ranknet, threshold: {found.longest}, "
        f"testthreshold: {found.longest}}}\n"
        "metrics: {optimize: ndcg_exp_cut_10}\n"
    )
