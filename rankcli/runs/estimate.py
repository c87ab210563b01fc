"""The time of a training on this machine, foretold from a few pairs that are scored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from rankcli.backend import tf
from rankcli.records.extract import examples_of
from rankcli.records.texts import InMemory
from rankcli.rerankers.base import Reranker
from rankcli.runs.sets import TEST, RankedSet
from rankcli.shapes import Example, Sample
from rankcli.training.encode import VectorScorer, scorer

QUERIES, DEPTH = 4, 16  # the pairs that are scored
GRADIENTS = 2.0  # a backward pass computes about twice as much as a forward pass
HERE = ("auto", "cpu")  # strategies whose devices are this machine's, and open at no cost


def minutes(
    reranker: Reranker,
    whole_groups: bool,
    trainer: Any,
    ranked: Mapping[str, RankedSet],
    drawn: int,
    encoded: int | None = None,
) -> float | None:
    """Return the minutes that training, validations and test compute, without conversion and compilation.

    `ranked` are the dev and test sets, `drawn` is the number of pairs that are trained on. Where all vectors are kept,
    only the texts that are `encoded` count. None where nothing can be scored, or where the training runs on other
    devices.
    """
    dev = next(iter(ranked.values()))
    examples = list(_few(dev))
    if not examples or trainer.strategy not in HERE:
        return None
    scoring = scorer(tf.distribute.get_strategy(), reranker, dev.extractor, trainer.evalbatch, whole_groups)
    for _ in range(2):  # the first time it compiles
        start = time.perf_counter()
        for _ in scoring.scored(iter(examples), {}):
            pass
    seconds = (time.perf_counter() - start) / sum(len(example.docids) for example in examples)
    if encoded is not None:
        return encoded * seconds / 60
    pairs = drawn * (1 + GRADIENTS) + scored(ranked, trainer, isinstance(scoring, VectorScorer))
    return pairs * seconds / 60


def scored(ranked: Mapping[str, RankedSet], trainer: Any, once: bool) -> int:
    """Return the number of pairs that all validations and the test score; of documents, if each is encoded `once`."""
    pairs = 0
    for each in ranked.values():
        texts = min(len(each.dataset.docs), each.pairs) if once else each.pairs
        pairs += texts * (1 if each.split == TEST else 1 + trainer.niters // trainer.validatefreq)
    return pairs


def _few(each: RankedSet) -> Iterator[Example]:
    """Yield examples of the first queries, with the first of their candidates."""
    samples = [_shallow(each.sampler(n)) for n in range(min(QUERIES, each.samples))]
    queries = InMemory(each.dataset.queries)
    yield from examples_of(samples, each.extractor, queries, each.texts, each.features, each.drawn_columns)


def _shallow(sample: Sample) -> Sample:
    columns = {name: values[:DEPTH] for name, values in sample.columns.items()}
    return Sample(sample.qid, sample.docids[:DEPTH], sample.labels[:DEPTH], columns)
