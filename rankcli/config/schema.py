"""The shape of a run's configuration: what is read, which components are composed, which metrics are reported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rankcli.config.registry import (
    EXTRACTORS,
    HOOKS,
    LOSSES,
    RERANKERS,
    SAMPLERS,
    SEARCHERS,
    TRAINERS,
    component,
    option,
)
from rankcli.config.types import NonNegativeInt, PositiveInt

SPLITS = ("train", "dev", "test")
ALL = "all"  # every set of records


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Which queries train, choose weights and test: k-fold over the judged queries, or one file of query ids per
    split.
    """

    k: PositiveInt | None = option(
        None, "number of folds, at least 3: test = fold, dev = the next one, train = the rest"
    )
    fold: NonNegativeInt | Literal["all"] = option(
        0, "the fold to test on, or `all`: every fold in turn, test runs pooled"
    )
    seed: int = option(7, "shuffles the queries before they are dealt to folds")
    train: str | None = option(None, "file of query ids, one per line", path="file")
    dev: str | None = option(None, "file of query ids, one per line", path="file")
    test: str | None = option(None, "file of query ids, one per line", path="file")

    def __post_init__(self) -> None:
        files = [self.train, self.dev, self.test]
        if (self.k is None) == (None in files):
            raise ValueError("give either `k` (with `fold`) or all of `train`, `dev` and `test`")
        if self.k is not None and self.k < 3:
            raise ValueError("k must be at least 3: one fold tests, one chooses the weights, the rest train")
        if self.k is not None and self.fold != "all" and self.fold >= self.k:
            raise ValueError(f"fold must be below k = {self.k} (folds count from 0)")


@dataclass(frozen=True, kw_only=True)
class DevSet:
    """Further queries to validate on, over the same collection; they train nothing and choose no weights."""

    qrels: str = option(help="judgments", path="file")
    queries: str | None = option(None, "queries; default: those of `data`", path="file")
    run: Any = component(SEARCHERS, None, "candidates: a TREC run file, or a searcher; default: what `data.run` says")


@dataclass(frozen=True, kw_only=True)
class Data:
    """The collection, its queries and judgments, the candidates to rerank, and the split into train, dev and test."""

    docs: str | None = option(None, "documents: JSONL, TSV or TREC; or `ir_datasets:ID`", path="file")
    queries: str | None = option(None, "queries: JSONL, TSV or TREC topics", path="file")
    qrels: str | dict[str, str] | None = option(
        None, "judgments; or {train, dev, test} files, which then make the split", path="file"
    )
    triples: str | None = option(None, "MS MARCO training triples of ids: query, relevant, not relevant", path="file")
    builtin: Literal["stdlib-docs"] | None = option(None, "a collection made on the spot instead of files")
    format: Literal["jsonl", "tsv", "trec"] | None = option(None, "of docs and queries; default: seen from the content")
    run: Any = component(
        SEARCHERS, "bm25", "candidates: a TREC run file, or a searcher (`bm25`, {name: bm25, k1: 1.2})"
    )
    relevance_level: PositiveInt = option(1, "lowest grade that counts as relevant")
    folds: Folds | None = option(None, "the split; default: what the qrels or the built-in collection say")
    devsets: dict[str, DevSet] | None = option(None, "further dev sets by name: {NAME: {qrels, queries, run}}")

    def __post_init__(self) -> None:
        for name in sorted({*SPLITS, ALL}.intersection(self.devsets or {})):
            raise ValueError(f"no further dev set can be called {name!r}: that is a part of the split, or all of it")
        if self.builtin and (self.docs or self.queries or self.qrels or self.folds):
            raise ValueError("`builtin` brings its own docs, queries, qrels and split: leave those out")
        if not self.builtin and not (
            self.docs and (self.docs.startswith("ir_datasets:") or (self.queries and self.qrels))
        ):
            raise ValueError("give `docs`, `queries` and `qrels` (or `builtin: stdlib-docs`)")
        if isinstance(self.qrels, dict) and set(self.qrels) != set(SPLITS):
            raise ValueError("qrels by split need exactly the keys train, dev and test")
        if isinstance(self.qrels, str) and self.folds is None:
            raise ValueError("`folds` is needed with a single qrels file, for example `folds: {k: 3, fold: 0}`")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Which trec_eval measures choose the best weights and which are reported."""

    optimize: str = option("ndcg_cut_10", "the metric that chooses weights and alpha on dev")
    report: tuple[str, ...] = option(("map", "RR@10"), "further metrics, in the order of the tables")

    @property
    def all(self) -> tuple[str, ...]:
        """`optimize` and then `report`, each once."""
        return tuple(dict.fromkeys((self.optimize, *self.report)))


@dataclass(frozen=True, kw_only=True)
class Init:
    """Other weights to start from, laid over the reranker's usual initial ones: those of a run, of a saved reranker or
    of a Hugging Face model, its head included.
    """

    model: str = option(help="a run directory, a directory of weights or a hub id", path="model")
    weights: str = option("best", "of a run directory: `best`, `last`, `best:METRIC` or `iter:N`")
    only: str | None = option(None, "regular expression of the variable paths to load, as in trainer.groups")
    map: dict[str, str] | None = option(
        None, "{regular expression: replacement} from names in the file to names that a saved reranker has"
    )
    strict: bool = option(True, "false: load what matches, and tell what does not", identity=False)

    def __post_init__(self) -> None:
        rules = [("only", self.only or "", ""), *(("map", *rule) for rule in (self.map or {}).items())]
        for name, pattern, replacement in rules:
            try:
                re.sub(pattern, replacement, "")
            except (re.error, IndexError) as error:
                raise ValueError(f"{name}: {pattern!r} to {replacement!r} is no regular expression: {error}") from error


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One whole run. The component sections hold the options object that the registry knows under the section's
    `name`.
    """

    data: Data
    reranker: Any = component(RERANKERS, None, "what scores a query with its documents")
    extractor: Any = component(EXTRACTORS, None, "how texts become token sequences; default: what the reranker reads")
    sampler: Any = component(SAMPLERS, "LCE", "how training groups are drawn from judgments and candidates")
    trainer: Any = component(TRAINERS, "tensorflow", "how it is trained")
    metrics: Metrics = Metrics()
    init: Init | None = option(None, "other weights to start from")


def is_listwise(reranker: Any) -> bool:
    """Tell whether a reranker (options) scores the documents of a group together: its class constant `listwise`."""
    return bool(getattr(reranker, "listwise", False))


def vectors_of(reranker: Any) -> tuple[str, ...]:
    """The names of the vectors that a reranker (options) gives: its class constant `vectors`."""
    return tuple(getattr(reranker, "vectors", ()))


def columns_of(sampler: Any) -> tuple[str, ...]:
    """The names of the columns that a sampler (options) can give: its class constant `gives`."""
    return tuple(getattr(sampler, "gives", ()))


class Task(NamedTuple):
    """What is trained on together: how groups are drawn, how their texts are read, what is minimised, and how many
    samples that takes.
    """

    sampler: Any
    extractor: Any
    loss: Any
    samples: int


def tasks(config: RunConfig) -> dict[str, Task]:
    """The tasks of the trainer by name, with the run's own extractor where a task has none; a trainer without several
    has one, without a name.
    """
    trainer = config.trainer
    several = trainer.several
    if not several:
        return {"": Task(config.sampler, config.extractor, trainer.loss, trainer.samples)}
    return {
        name: Task(task.sampler, task.extractor or config.extractor, task.loss, trainer.steps * task.batch)
        for name, task in several.items()
    }


def conflicts(config: RunConfig) -> list[str]:
    """What does not fit between components, one sentence each; empty when all fits."""
    found = _unread("", config.extractor, config.reranker)
    for name, task in tasks(config).items():
        prefix = f"trainer.tasks.{name}." if name else ""
        if name and task.extractor is not config.extractor:
            found += _unread(prefix, task.extractor, config.reranker)
        for key, loss in {f"{prefix or 'trainer.'}loss": task.loss, **_further_losses(config)}.items():
            found += _unfit(key, loss, task.sampler, config)
        found += _too_many(f"{prefix}sampler", task.sampler, config.trainer)
    if config.trainer.accumulate > 1:
        found += _divided(config)
    if "" not in tasks(config) and config.sampler != SAMPLERS.get("LCE")():
        found.append("sampler: every task has a sampler of its own; leave this one out")
    if isinstance(config.data.qrels, dict) and config.data.folds is not None:
        found.append("data.folds: the qrels are given per split already; leave `folds` out")
    return found


def _further_losses(config: RunConfig) -> dict[str, Any]:
    """The losses of hooks, which are computed on every task."""
    hooks = enumerate(config.trainer.hooks)
    return {f"trainer.hooks.{n}.{key}": loss for n, hook in hooks for key, loss in hook.losses.items()}


def _unread(prefix: str, extractor: Any, reranker: Any) -> list[str]:
    """What the reranker reads and the extractor does not make."""
    if set(reranker.fields) <= set(extractor.fields):
        return []
    return [
        f"{prefix}extractor.name: {EXTRACTORS.name_of(extractor)!r} makes {', '.join(extractor.fields)}, but reranker "
        f"{RERANKERS.name_of(reranker)!r} reads {', '.join(reranker.fields)}; use {reranker.default_extractor!r}"
    ]


def _unfit(key: str, loss: Any, sampler: Any, config: RunConfig) -> list[str]:
    """What keeps a loss from being computed on a sampler's groups and the reranker's outputs."""
    found, trainer = [], config.trainer
    if loss.min_docs > (size := trainer.group_size or sampler.group_size):
        read, made = f"trainer {TRAINERS.name_of(trainer)!r} reads", f"sampler {SAMPLERS.name_of(sampler)!r} makes"
        found.append(
            f"{key}: needs at least {loss.min_docs} documents per group, but {read if trainer.group_size else made} "
            f"groups of {size}; use larger groups (`LCE`, `triplet`) or a loss of single documents (`bce`, `mse`)"
        )
    if absent := set(loss.reads) - {"scores", *vectors_of(config.reranker)}:
        found.append(
            f"{key}: {LOSSES.name_of(loss)!r} reads the vectors {', '.join(sorted(absent))}, which reranker "
            f"{RERANKERS.name_of(config.reranker)!r} does not give; use a reranker that does, such as `biencoder`"
        )
    if absent := set(loss.columns) - set(columns_of(sampler)):
        found.append(
            f"{key}: {LOSSES.name_of(loss)!r} reads the columns {', '.join(sorted(absent))}, which sampler "
            f"{SAMPLERS.name_of(sampler)!r} does not give; use a sampler that does"
        )
    return found


def _too_many(key: str, sampler: Any, trainer: Any) -> list[str]:
    """What keeps a trainer of groups of some size from training on a sampler's."""
    if trainer.group_size in (None, sampler.group_size):
        return []
    return [
        f"{key}: {SAMPLERS.name_of(sampler)!r} makes groups of {sampler.group_size} documents, but trainer "
        f"{TRAINERS.name_of(trainer)!r} reads groups of {trainer.group_size}; use `pair`"
    ]


def _divided(config: RunConfig) -> list[str]:
    """Losses and hooks that compare groups of a whole batch, where a micro-batch holds only a part of it."""
    return [
        f"{key}: {name!r} compares the groups of a batch with each other, but with trainer.accumulate = "
        f"{config.trainer.accumulate} it would see a micro-batch at a time; use accumulate: 1"
        for key, name in _in_batch(config)
    ]


def _in_batch(config: RunConfig) -> Iterator[tuple[str, str]]:
    own = {f"trainer.tasks.{name}.loss" if name else "trainer.loss": task.loss for name, task in tasks(config).items()}
    for key, loss in {**own, **_further_losses(config)}.items():
        if loss.in_batch:
            yield key, LOSSES.name_of(loss)
    for n, hook in enumerate(config.trainer.hooks):
        if hook.in_batch:
            yield f"trainer.hooks.{n}", HOOKS.name_of(hook)
