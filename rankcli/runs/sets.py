"""The sets of records of a run: one per task to train on, one or several to validate on, one to test on.

A training set is called `train`, or `train/TASK` where a trainer has several tasks. The validation sets are `dev` and,
for every further dev set, `dev/NAME`. The last set is `test`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rankcli.config.columns import prediction_columns, training_columns
from rankcli.config.identity import component_identity, digest, digest_of_items
from rankcli.config.registry import EXTRACTORS, SAMPLERS
from rankcli.config.schema import ALL, SPLITS, RunConfig, tasks
from rankcli.data.dataset import Dataset
from rankcli.data.hashes import input_sha256
from rankcli.data.source import FeatureStore, NoDocuments
from rankcli.data.trec import CompactRun, Qrels
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, of_training, reads_titles
from rankcli.records.texts import FEATURES, InMemory, Texts
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.candidates import Candidates
from rankcli.shapes import Judged

TRAIN, DEV, TEST = SPLITS


@dataclass(frozen=True, kw_only=True)
class RecordSet(ABC):
    """One set: its queries, the groups that are made of their candidates, and the extractor of their texts.

    `ranked` has the candidates of all queries of the set, and perhaps of others.
    """

    name: str
    dataset: Dataset
    ranked: CompactRun
    options: Any  # of the extractor
    extractor: Extractor
    columns: tuple[str, ...] = ()  # those that a component reads, sorted

    @property
    def split(self) -> str:
        """The part of the dataset's split: `train`, `dev` or `test`."""
        return self.name.partition("/")[0]

    @property
    def key(self) -> str:
        """The trainer's name for it: the task, the dev set, or the part of the split."""
        return self.name.rpartition("/")[2]

    @property
    def judgments(self) -> Qrels:
        """The judgments of its queries, for metrics."""
        return self.dataset.judgments(self.split)

    @property
    def candidates(self) -> CompactRun:
        """The first-stage run of its queries, to its full depth."""
        return self.ranked.part(self.dataset.split[self.split])

    @property
    def drawn_columns(self) -> tuple[str, ...]:
        """The columns of its samples. Features are not among them: they come from the source."""
        return tuple(name for name in self.columns if name != FEATURES)

    @property
    def features(self) -> FeatureStore | None:
        """The features of the source; None if no component reads them."""
        return self.dataset.features if FEATURES in self.columns else None

    @cached_property
    def texts(self) -> Texts:
        """The documents. For a source without texts: the ids of judged documents and candidates, with empty texts."""
        if not isinstance(self.dataset.docs, NoDocuments):
            return self.dataset.docs
        judged = {docid for grades in self.judgments.values() for docid in grades}
        candidates = {docid for qid in self.judgments for docid in self.ranked.get(qid, {})}
        return InMemory(dict.fromkeys(sorted(judged | candidates), ""), "document")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that its records depend on, readable."""
        qids = sorted(self.dataset.split[self.split])
        ranked = ((qid, sorted(self.ranked.get(qid, {}).items())) for qid in qids)
        extractor = component_identity(EXTRACTORS, self.options, input_sha256)
        extractor.pop("tokenizer", None)  # the fingerprint identifies the tokenizer, wherever it was loaded from
        return {
            "split": self.split,
            "data": self.dataset.fingerprint(self.split),
            "run": digest_of_items(ranked),
            "relevance_level": self.dataset.relevance_level,
            "sampler": self.made_by,
            "extractor": {**extractor, "vocabulary": self.extractor.fingerprint},
            **({"columns": list(self.columns)} if self.columns else {}),
            **({"titles": self.dataset.docs.titles} if reads_titles(self.extractor) else {}),
        }

    @cached_property
    def cache_id(self) -> str:
        """The cache id of its records: a digest of its identity."""
        return digest(self.identity)

    @property
    def judged(self) -> Judged:
        """The input of its sampler."""
        return self.dataset.judged(self.split, self.ranked)

    def relevant(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the queries with judgments, each with the documents that are judged relevant to it."""
        judged = self.judged
        for qid in judged.qids:
            grades = judged.qrels.get(qid, {})
            yield qid, [docid for docid, grade in grades.items() if grade >= self.dataset.relevance_level]

    @property
    @abstractmethod
    def made_by(self) -> dict[str, Any]:
        """The options that its groups are made with, for the identity."""

    @property
    @abstractmethod
    def sampler(self) -> Any:
        """The function from n to the ids of group n."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """The number of samples that a run needs."""

    @property
    @abstractmethod
    def group_size(self) -> int:
        """The largest number of documents in a group."""


@dataclass(frozen=True, kw_only=True)
class DrawnSet(RecordSet):
    """A training set: groups that a sampler draws."""

    drawn_by: Any
    seed: int
    wanted: int

    @property
    def made_by(self) -> dict[str, Any]:
        """The sampler and its seed, and the order of the documents if the draws depend on it."""
        order = {"docs": self.dataset.docs.order} if self.drawn_by.draws_docs else {}
        return {**component_identity(SAMPLERS, self.drawn_by, input_sha256), "seed": self.seed, **order}

    @cached_property
    def sampler(self) -> Any:
        """The sampler over the training queries."""
        context = SamplerContext(
            judged=self.judged,
            relevance_level=self.dataset.relevance_level,
            seed=self.seed,
            docs=self.dataset.docs if self.drawn_by.draws_docs else None,
            triples=self.dataset.triples,
            columns=frozenset(self.columns),
        )
        return self.drawn_by.build(context)

    @property
    def samples(self) -> int:
        """The number of samples that the training reads in all."""
        return self.wanted

    @property
    def group_size(self) -> int:
        """The number of documents in every group."""
        return int(self.drawn_by.group_size)


@dataclass(frozen=True, kw_only=True)
class RankedSet(RecordSet):
    """A dev or test set: one group per query, its first `depth` candidates."""

    depth: int

    @property
    def made_by(self) -> dict[str, Any]:
        """The depth."""
        return {"depth": self.depth}

    @cached_property
    def sampler(self) -> Candidates:
        """The queries with their candidates."""
        return Candidates(self.judged, self.depth, frozenset(self.columns))

    @property
    def samples(self) -> int:
        """The number of queries that have candidates."""
        return len(self.sampler)

    @property
    def pairs(self) -> int:
        """The number of documents in all groups."""
        return self.sampler.documents

    @property
    def group_size(self) -> int:
        """The number of documents in the largest group."""
        return self.sampler.group_size


def set_names(config: RunConfig) -> tuple[str, ...]:
    """Return the names of all sets of a config, training sets first."""
    return (*_training_names(config).values(), DEV, *(f"{DEV}/{name}" for name in config.data.devsets or {}), TEST)


def named(config: RunConfig, said: str) -> tuple[str, ...]:
    """Return the sets that `said` names: one set, all of a part of the split, or all. ConfigError lists the legal
    names.
    """
    names = set_names(config)
    found = tuple(name for name in names if said in (ALL, name, name.partition("/")[0]))
    if not found:
        legal = ", ".join(dict.fromkeys((*SPLITS, *names, ALL)))
        raise ConfigError(f"there is no set of records {said!r} (there are: {legal})", where="--split")
    return found


def record_sets(
    config: RunConfig, dataset: Dataset, ranked: Mapping[str, CompactRun], extractors: Mapping[str, Extractor]
) -> dict[str, RecordSet]:
    """Return all sets by name.

    `ranked` has the candidates of the split under an empty name, and those of further dev sets under their names.
    `extractors` has the run's extractor under an empty name, and those of tasks under their names.
    """
    found = [
        *_training_sets(config, dataset, ranked[""], extractors),
        *_ranked_sets(config, dataset, ranked, extractors[""]),
    ]
    return {each.name: each for each in found}


def _training_sets(
    config: RunConfig, dataset: Dataset, ranked: CompactRun, extractors: Mapping[str, Extractor]
) -> Iterator[RecordSet]:
    names = _training_names(config)
    for name, task in tasks(config).items():
        yield DrawnSet(
            name=names[name],
            dataset=dataset,
            ranked=ranked,
            options=task.extractor,
            extractor=of_training(extractors[name]),
            columns=training_columns(config, task),
            drawn_by=task.sampler,
            seed=config.trainer.seed,
            wanted=task.samples,
        )


def _ranked_sets(
    config: RunConfig, dataset: Dataset, ranked: Mapping[str, CompactRun], extractor: Extractor
) -> Iterator[RecordSet]:
    depths = {DEV: int(config.trainer.threshold), TEST: int(config.trainer.test_depth)}
    sets = {DEV: dataset, **{f"{DEV}/{name}": devset for name, devset in dataset.devsets.items()}, TEST: dataset}
    for name, data in sets.items():
        split, _, key = name.partition("/")
        yield RankedSet(
            name=name,
            dataset=data,
            ranked=ranked[key],
            options=config.extractor,
            extractor=extractor,
            columns=prediction_columns(config),
            depth=depths[split],
        )


def _training_names(config: RunConfig) -> dict[str, str]:
    """Return the name of every task's set."""
    return {name: f"{TRAIN}/{name}" if name else TRAIN for name in tasks(config)}
