"""The data of a run: collection, queries, judgments and their split, joined and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rankcli.config.schema import SPLITS, Data, DevSet, Folds
from rankcli.data import folds, joins
from rankcli.data.folds import Split
from rankcli.data.source import Documents, FeatureStore, NoDocuments, Source, SourceContext, TrainingTriples
from rankcli.data.topics import read_judgments, read_topics
from rankcli.data.trec import CompactRun, Qrels
from rankcli.data.triple_files import open_triples
from rankcli.data.triple_views import TripleCandidates, TripleJudgments
from rankcli.errors import ConfigError
from rankcli.shapes import Judged


@dataclass(frozen=True)
class Dataset:
    """A collection with its queries, judgments and split. `content` is the fingerprint of documents and features.

    `qrels` has every judgment of the joined queries, also of documents that are not in the collection (`absent`),
    which count in metrics but are never trained on. `report` is a table of counts. With `folds.fold: all`, the split of
    the dataset itself has all queries in `test`; `at_fold` gives the single folds. With `listed`, nothing is searched:
    the candidates are the judged documents. `devsets` are further dev sets over the same collection, each a dataset
    with queries in `dev` alone.
    """

    docs: Documents
    queries: Mapping[str, str]
    qrels: Qrels
    split: Split
    relevance_level: int
    absent: frozenset[str]
    report: Mapping[str, int]
    content: str
    folds: Folds | None = None
    features: FeatureStore | None = None
    triples: TrainingTriples | None = None
    listed: bool = False
    devsets: Mapping[str, Dataset] = field(default_factory=dict)

    def at_fold(self, fold: int) -> Dataset:
        """The same data with the split of one of the configured k folds; ConfigError if there are no folds."""
        if self.folds is None or self.folds.k is None:
            raise ConfigError("the data are not split into folds", where="data.folds.k")
        split = folds.kfold(self.qrels, self.folds.k, fold, self.folds.seed)
        if self.triples is not None:
            known = set(self.triples.qids)
            split["train"] = tuple(qid for qid in split["train"] if qid in known)
        return replace(self, split=split)

    def topics(self, *splits: str) -> dict[str, str]:
        """The texts of the queries of some parts of the split (default: all), by id, sorted."""
        qids = sorted(qid for name in splits or SPLITS for qid in self.split[name])
        return {qid: self.queries[qid] for qid in qids}

    def judgments(self, split: str) -> Qrels:
        """The judgments of one part of the split, for metrics."""
        return {qid: self.qrels[qid] for qid in self.split[split]}

    def judged(self, split: str, run: CompactRun) -> Judged:
        """One part of the split for a sampler: judgments of documents with a text, and candidates, best first.

        In a dataset with triples, training queries have judgments and candidates from the triples alone.
        """
        qids = self.split[split]
        if self.triples is not None and split == "train":
            return Judged(qids, TripleJudgments(self.triples, qids), TripleCandidates(self.triples, qids))
        qrels = {qid: self._of_known(grades) for qid, grades in self.judgments(split).items()}
        return Judged(qids, qrels, run.part(qids).by_query)

    def fingerprint(self, split: str) -> str:
        """SHA-256 of the inputs of one part of the split: collection, its queries, their judgments and triples."""
        parts: list[object] = [self.content, self.topics(split), self.judgments(split)]
        if self.triples is not None and split == "train":
            parts.append(self.triples.fingerprint)
        return canonical_hash(parts)

    def _of_known(self, grades: Mapping[str, int]) -> Mapping[str, int]:
        """The judgments of documents with a text. Mostly all have one; then no copy is made."""
        if self.absent.isdisjoint(grades):
            return grades
        return {docid: grade for docid, grade in grades.items() if docid not in self.absent}


def load_dataset(data: Data, scratch: Path) -> Dataset:
    """Read and join everything that `data` names except the candidates; files made from it are kept in `scratch`."""
    source: Source = data.reader.build(SourceContext(scratch))
    dataset = _joined(data, source)
    if data.triples:
        source = replace(source, triples=open_triples(data.triples, dataset.docs, scratch))
    if source.triples:
        dataset = _with_triples(dataset, source.triples)
    devsets = {
        name: _devset(dataset, source.queries, data, name, options) for name, options in (data.devsets or {}).items()
    }
    counts = {f"dev/{name}_queries": len(devset.qrels) for name, devset in devsets.items()}
    return replace(dataset, devsets=devsets, report={**dataset.report, **counts})


def _devset(main: Dataset, queries: Mapping[str, str], data: Data, name: str, options: DevSet) -> Dataset:
    """Read a further dev set and check it like the main data; warn if training uses some of its queries."""
    own = read_topics(options.queries, data.format, data.topics) if options.queries else queries
    qrels = read_judgments(options.qrels)
    joined = joins.join_queries(own, qrels.keys(), options.qrels)
    judged = {qid: qrels[qid] for qid in joined}
    if options.queries:
        joins.warn_of_unjudged(own, judged, options.qrels)
    joins.check_relevant(judged, joined, data.relevance_level, options.qrels)
    absent = joins.join_judged_documents(judged, main.docs, options.qrels)
    joins.warn_of_training(main.topics("train"), {qid: own[qid] for qid in joined}, f"data.devsets.{name}")
    split: Split = {"train": (), "dev": joined, "test": ()}
    return Dataset(
        docs=main.docs,
        queries=own,
        qrels=judged,
        split=split,
        relevance_level=data.relevance_level,
        absent=absent,
        report={},
        content=main.content,
        features=main.features,
        listed=main.listed,
    )


def canonical_hash(value: object) -> str:
    """Hex SHA-256 of plain data; equal in every process and for every order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _joined(data: Data, source: Source) -> Dataset:
    docs = source.docs or NoDocuments(source.name)
    every = {qid: grades for part in source.qrels.values() for qid, grades in part.items()}
    joined = joins.join_queries(source.queries, every.keys(), source.name)
    split = _split(data, source, joined)
    qrels = {qid: every[qid] for qid in joined}
    absent = joins.join_judged_documents(qrels, docs, source.name)
    relevant = joins.check_relevant(qrels, qrels.keys(), data.relevance_level, source.name)
    joins.warn_of_unjudged(source.queries, qrels, source.name)
    report = {
        "documents": len(docs),
        "empty_documents": docs.empty,
        "queries": len(source.queries),
        "judged_queries": len(qrels),
        "queries_with_relevant": relevant,
        "judgments": sum(map(len, qrels.values())),
        "judged_documents_absent": len(absent),
        **{f"{name}_queries": len(split[name]) for name in SPLITS},
    }
    return Dataset(
        docs=docs,
        queries=source.queries,
        qrels=qrels,
        split=split,
        relevance_level=data.relevance_level,
        absent=absent,
        report=report,
        content=source.fingerprint,
        folds=data.folds,
        features=source.features,
        listed=source.listed or source.docs is None,
    )


def _split(data: Data, source: Source, joined: tuple[str, ...]) -> Split:
    if "" not in source.qrels:
        if data.folds is not None:
            raise ConfigError(f"{source.name} brings a split of its own", where="data.folds", fix="leave `folds` out")
        return folds.with_dev(
            {name: joins.check_judged(qrels, joined, source.name) for name, qrels in source.qrels.items()}, source.name
        )
    if data.folds is None:
        raise ConfigError(
            "`folds` is needed with judgments that are not split", where="data.folds", fix="for example {k: 3, fold: 0}"
        )
    if data.folds.k is None:
        paths = {name: str(getattr(data.folds, name)) for name in SPLITS}
        split = {name: folds.read_ids(path) for name, path in paths.items()}
        folds.check_disjoint(split, "data.folds")
        return {name: joins.check_judged(split[name], joined, paths[name]) for name in SPLITS}
    if data.folds.fold == "all":
        return {"train": (), "dev": (), "test": joined}
    return folds.kfold(joined, data.folds.k, data.folds.fold, data.folds.seed)


def _with_triples(dataset: Dataset, triples: TrainingTriples) -> Dataset:
    """Add triples to the dataset; training queries without a triple are dropped."""
    joins.join_queries(dataset.queries, set(triples.qids), triples.source)
    train = dataset.split["train"]
    if train:
        train = joins.check_judged(train, set(triples.qids), triples.source)
    report = {**dataset.report, "train_queries": len(train)}
    return replace(dataset, triples=triples, split={**dataset.split, "train": train}, report=report)
