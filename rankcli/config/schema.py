"""The shape of a run's configuration: its data, its components and its metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rankcli.config.metrics import checked_names
from rankcli.config.registry import (
    DATASETS,
    EXTRACTORS,
    RERANKERS,
    SAMPLERS,
    SEARCHERS,
    SIGNALS,
    TRAINERS,
    component,
    components,
    option,
)
from rankcli.config.types import NonNegativeFloat, NonNegativeInt, PositiveInt

SPLITS = ("train", "dev", "test")
ALL = "all"  # every set of records

Places = str | tuple[str, ...]  # one file or several


@dataclass(frozen=True, kw_only=True)
class Folds:
    """The split into train, dev and test queries: k folds of the judged queries, or one file of query ids per split."""

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

    docs: Places | None = option(
        None, "documents: a file, folder or zip archive, or a list of them; or `ir_datasets:ID`", path="file"
    )
    queries: Places | dict[str, Places] | None = option(None, "queries: a file, or several", path="file")
    qrels: Places | dict[str, Places] | None = option(
        None,
        "judgments; or {train, dev, test} files, which then make the split; without dev, a fifth of train is dev",
        path="file",
    )
    topics: tuple[str, ...] = option((), "fields of TREC topics to read as the query, as [title, desc]; default: title")
    triples: str | None = option(None, "MS MARCO training triples of ids: query, relevant, not relevant", path="file")
    builtin: Literal["stdlib-docs"] | None = option(None, "a collection made on the spot instead of files")
    source: Any = component(DATASETS, None, "any other source instead of files: {name: NAME, ...}")
    format: Literal["jsonl", "tsv", "trec", "parquet"] | None = option(
        None, "of docs and queries; default: seen from the content"
    )
    run: Any = component(
        SEARCHERS, "bm25", "candidates: a TREC run file, or a searcher (`bm25`, {name: bm25, k1: 1.2})"
    )
    relevance_level: PositiveInt = option(1, "lowest grade that counts as relevant")
    folds: Folds | None = option(None, "the split; default: what the qrels or the built-in collection say")
    devsets: dict[str, DevSet] | None = option(None, "further dev sets by name: {NAME: {qrels, queries, run}}")

    def __post_init__(self) -> None:
        for name in sorted({*SPLITS, ALL}.intersection(self.devsets or {})):
            raise ValueError(f"no further dev set can be called {name!r}: that is a part of the split, or all of it")
        if self.source and (self.docs or self.queries or self.qrels or self.builtin):
            raise ValueError("`source` brings its own docs, queries and qrels: leave those out, and `builtin`")
        if self.builtin and (self.docs or self.queries or self.qrels or self.folds):
            raise ValueError("`builtin` brings its own docs, queries, qrels and split: leave those out")
        if not (self.builtin or self.source) and not (
            self.docs and ("ir_datasets:" in str(self.docs) or (self.queries and self.qrels))
        ):
            raise ValueError("give `docs`, `queries` and `qrels` (or `builtin: stdlib-docs`)")
        if isinstance(self.qrels, dict) and not {"train", "test"} <= set(self.qrels) <= set(SPLITS):
            raise ValueError(
                "qrels by part of the split need `train` and `test`; without `dev`, a fifth of train is dev "
                "(a single file goes with `folds`)"
            )
        if isinstance(self.qrels, (str, tuple)) and self.folds is None:
            raise ValueError("`folds` is needed with a single qrels file, for example `folds: {k: 3, fold: 0}`")

    @property
    def reader(self) -> Any:
        """The options of the source; `builtin`, or `docs`, `queries`, `qrels` and `format`, are short for them."""
        if self.source:
            return self.source
        if self.builtin:
            return DATASETS.get("builtin")(collection=self.builtin)
        files = {"docs": self.docs, "queries": self.queries, "qrels": self.qrels}
        return DATASETS.get("files")(**files, format=self.format, topics=self.topics)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The measures that choose the best weights, and those that are reported, by the names of trec_eval."""

    optimize: str = option("ndcg_cut_10", "the metric that chooses weights and alpha on dev")
    report: tuple[str, ...] = option(("map", "RR@10"), "further metrics, in the order of the tables")

    def __post_init__(self) -> None:
        optimize, report = checked_names([self.optimize]), checked_names(self.report)
        object.__setattr__(self, "optimize", optimize[0])
        object.__setattr__(self, "report", report)

    @property
    def all(self) -> tuple[str, ...]:
        """`optimize` and then `report`, each once."""
        return tuple(dict.fromkeys((self.optimize, *self.report)))


@dataclass(frozen=True, kw_only=True)
class Init:
    """Weights to start from, loaded over the reranker's usual initial ones: those of a run, of a saved reranker or of
    a Hugging Face model, its head included.
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
class VectorOptions:
    """The kept vectors of a field whose encoder is frozen: each text is encoded once, for all runs."""

    store: str = option(
        "auto",
        "`memory`, `disk` (mapped files) or `auto`, which decides by size; or gs://BUCKET/PREFIX, to keep them there",
        identity=False,
    )
    dtype: Literal["float32", "float16"] = option("float32", "the type in which numbers are kept")

    def __post_init__(self) -> None:
        if self.store not in ("auto", "memory", "disk") and not self.store.startswith("gs://"):
            raise ValueError(f"store {self.store!r} is none of `auto`, `memory`, `disk` and gs://BUCKET/PREFIX")


@dataclass(frozen=True, kw_only=True)
class MixtureOptions:
    """A weighted sum of signals about a query and a document, learnt on judged queries at the end of a training."""

    signals: Any = components(SIGNALS, "what is added: a list of those in `rankcli modules signals`")
    l2: NonNegativeFloat | Literal["auto"] = option(
        "auto", "how strongly weights are held at those to start from; `auto`: chosen by cross-validation"
    )

    careful: bool = option(
        False, "keep a signal only if its cross-validated gain over those kept before exceeds its standard error"
    )

    def __post_init__(self) -> None:
        if not self.signals:
            raise ValueError("give `signals`, for example [first_stage, reranker]")
        if len(set(self.signals)) < len(self.signals):
            raise ValueError("a signal is there twice with the same options")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One whole run. A component section is the options object that is registered under the section's `name`."""

    data: Data
    reranker: Any = component(RERANKERS, None, "what scores a query with its documents")
    extractor: Any = component(EXTRACTORS, None, "how texts become token sequences; default: what the reranker reads")
    sampler: Any = component(SAMPLERS, "LCE", "how training groups are drawn from judgments and candidates")
    trainer: Any = component(TRAINERS, "tensorflow", "how it is trained")
    metrics: Metrics = Metrics()
    init: Init | None = option(None, "other weights to start from")
    mixture: MixtureOptions | None = option(None, "signals that are mixed with learnt weights")
    caches: dict[str, VectorOptions] | None = option(
        None, "vectors of frozen encoders to keep, by field: {doc: {store, dtype}, query: {...}}"
    )


class Task(NamedTuple):
    """A training task: the sampler of its groups, the extractor of their texts, its loss, and its number of samples."""

    sampler: Any
    extractor: Any
    loss: Any
    samples: int


def tasks(config: RunConfig) -> dict[str, Task]:
    """The tasks of the trainer by name. A trainer of a single task has it under an empty name; a task without an
    extractor has the run's.
    """
    trainer = config.trainer
    several = trainer.several
    if not several:
        return {"": Task(config.sampler, config.extractor, trainer.loss, trainer.samples)}
    return {
        name: Task(task.sampler, task.extractor or config.extractor, task.loss, trainer.steps * task.batch)
        for name, task in several.items()
    }
