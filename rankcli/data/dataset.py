"""What a run reads: collection, queries, judgments and their split, joined and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rankcli.config.schema import SPLITS, Data, DevSet, Folds
from rankcli.data import folds, formats, irds, joins, stdlib_docs, triples
from rankcli.data.folds import Split
from rankcli.data.store import DocStore, open_store, store_of
from rankcli.data.trec import Qrels, Rankings, Run, read_qrels
from rankcli.errors import ConfigError
from rankcli.shapes import Judged


@dataclass(frozen=True)
class Dataset:
    """A collection with its queries, judgments and split.

    `qrels` holds every judgment of the joined queries, also of documents that are not in the collection (`absent`),
    which count in metrics but are never trained on. `report` counts what was read. With `folds.fold: all`, the split of
    the dataset itself has all queries in `test`; `at_fold` gives the single folds. `devsets` are further dev sets over
    the same collection, each a dataset with queries in `dev` alone.
    """

    docs: DocStore
    queries: Mapping[str, str]
    qrels: Qrels
    split: Split
    relevance_level: int
    absent: frozenset[str]
    report: Mapping[str, int]
    folds: Folds | None = None
    triples: triples.Triples | None = None
    devsets: Mapping[str, Dataset] = field(default_factory=dict)

    def at_fold(self, fold: int) -> Dataset:
        """The same data with the split of one fold of the configured k."""
        if self.folds is None or self.folds.k is None:
            raise ConfigError("the data are not split into folds", where="data.folds.k")
        split = folds.kfold(self.qrels, self.folds.k, fold, self.folds.seed)
        if self.triples is not None:
            split["train"] = tuple(qid for qid in split["train"] if qid in self.triples.qrels)
        return replace(self, split=split)

    def topics(self, *splits: str) -> dict[str, str]:
        """The texts of the queries of some parts of the split (default: all), by id, sorted."""
        qids = sorted(qid for name in splits or SPLITS for qid in self.split[name])
        return {qid: self.queries[qid] for qid in qids}

    def judgments(self, split: str) -> Qrels:
        """The judgments of one part of the split, for metrics."""
        return {qid: self.qrels[qid] for qid in self.split[split]}

    def judged(self, split: str, run: Run) -> Judged:
        """What a sampler sees of one part of the split: judgments of documents with a text, and candidates, best first.

        Where there are triples, training queries have their judgments and candidates from those alone.
        """
        qrels: Mapping[str, Mapping[str, int]] = self.judgments(split)
        candidates: Mapping[str, tuple[str, ...]] = Rankings(run, self.split[split])
        if self.triples is not None and split == "train":
            qrels = {qid: self.triples.qrels[qid] for qid in self.split[split]}
            candidates = {qid: self._with_text(self.triples.negatives[qid]) for qid in qrels}
        return Judged(tuple(qrels), {qid: self._of_known(grades) for qid, grades in qrels.items()}, candidates)

    def fingerprint(self, split: str) -> str:
        """SHA-256 of all that one part of the split is made from: collection, its queries and their judgments."""
        parts: list[object] = [self.docs.fingerprint, self.topics(split), self.judgments(split)]
        if self.triples is not None and split == "train":
            parts += [self.triples.qrels, self.triples.negatives]
        return canonical_hash(parts)

    def _of_known(self, grades: Mapping[str, int]) -> Mapping[str, int]:
        """The judgments of documents with a text, mostly all of them: then no copy is made."""
        if self.absent.isdisjoint(grades):
            return grades
        return {docid: grade for docid, grade in grades.items() if docid not in self.absent}

    def _with_text(self, docids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(docid for docid in docids if docid not in self.absent)


def load_dataset(data: Data, scratch: Path) -> Dataset:
    """Read and join everything that `data` names except the candidates; the document store is kept in `scratch`."""
    dataset, queries = _builtin(data, scratch) if data.builtin else _from_files(data, scratch)
    devsets = {name: _devset(dataset, queries, data, name, options) for name, options in (data.devsets or {}).items()}
    counts = {f"dev/{name}_queries": len(devset.qrels) for name, devset in devsets.items()}
    return replace(dataset, devsets=devsets, report={**dataset.report, **counts})


def _from_files(data: Data, scratch: Path) -> tuple[Dataset, Mapping[str, str]]:
    docs = open_store(str(data.docs), data.format, scratch)
    queries = _read_queries(data.queries or str(data.docs), data)
    by_split, source = _read_qrels(data)
    qrels = {qid: grades for part in by_split.values() for qid, grades in part.items()}
    joined = joins.join_queries(queries, qrels.keys(), source)
    split = _split(data, by_split, joined, source)
    return _joined(data, docs, queries, {qid: qrels[qid] for qid in joined}, split, source), queries


def _devset(main: Dataset, queries: Mapping[str, str], data: Data, name: str, options: DevSet) -> Dataset:
    """A further dev set, checked like the main data; that it has queries of the training is a warning."""
    own = _read_queries(options.queries, data) if options.queries else queries
    qrels = irds.read_qrels(options.qrels) if irds.named(options.qrels) else read_qrels(options.qrels)
    joined = joins.join_queries(own, qrels.keys(), options.qrels)
    judged = {qid: qrels[qid] for qid in joined}
    if options.queries:
        joins.warn_of_unjudged(own, judged, options.qrels)
    joins.check_relevant(judged, joined, data.relevance_level, options.qrels)
    absent = joins.join_judged_documents(judged, main.docs, options.qrels)
    joins.warn_of_training(main.topics("train"), {qid: own[qid] for qid in joined}, f"data.devsets.{name}")
    split: Split = {"train": (), "dev": joined, "test": ()}
    return Dataset(main.docs, own, judged, split, data.relevance_level, absent, report={})


def _read_queries(source: str, data: Data) -> dict[str, str]:
    return irds.read_queries(source) if irds.named(source) else formats.read_queries(source, data.format)


def canonical_hash(value: object) -> str:
    """Hex SHA-256 of plain data, the same whatever the order of keys and in every process."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _builtin(data: Data, scratch: Path) -> tuple[Dataset, Mapping[str, str]]:
    made = stdlib_docs.read()
    docs = store_of(made.docs, str(data.builtin), scratch)
    split = {name: tuple(sorted(qid for qid, part in made.split.items() if part == name)) for name in SPLITS}
    return _joined(data, docs, made.queries, made.qrels, split, str(data.builtin)), made.queries


def _joined(data: Data, docs: DocStore, queries: Mapping[str, str], qrels: Qrels, split: Split, source: str) -> Dataset:
    absent = joins.join_judged_documents(qrels, docs, source)
    relevant = joins.check_relevant(qrels, qrels.keys(), data.relevance_level, source)
    joins.warn_of_unjudged(queries, qrels, source)
    report = {
        "documents": len(docs),
        "empty_documents": docs.empty,
        "queries": len(queries),
        "judged_queries": len(qrels),
        "queries_with_relevant": relevant,
        "judgments": sum(map(len, qrels.values())),
        "judged_documents_absent": len(absent),
        **{f"{name}_queries": len(split[name]) for name in SPLITS},
    }
    dataset = Dataset(docs, queries, qrels, split, data.relevance_level, absent, report, data.folds)
    return _with_triples(dataset, data.triples) if data.triples else dataset


def _read_qrels(data: Data) -> tuple[dict[str, Qrels], str]:
    """Judgments by part of the split, or all of them under an empty name; and what messages call them."""
    if isinstance(data.qrels, dict):
        parts = {name: read_qrels(path) for name, path in sorted(data.qrels.items())}
        folds.check_disjoint(parts, "data.qrels")
        return parts, ", ".join(sorted(set(data.qrels.values())))
    if data.qrels is None:
        return {"": irds.read_qrels(str(data.docs))}, str(data.docs)
    return {"": read_qrels(data.qrels)}, data.qrels


def _split(data: Data, by_split: Mapping[str, Qrels], joined: tuple[str, ...], source: str) -> Split:
    if "" not in by_split:
        return {name: joins.check_judged(by_split[name], joined, str(source)) for name in SPLITS}
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


def _with_triples(dataset: Dataset, path: str) -> Dataset:
    """The dataset with triples for its training queries; those without a triple do not train."""
    found = triples.read_triples(path)
    joins.join_queries(dataset.queries, found.qrels.keys(), path)
    everything = {qid: {**grades, **dict.fromkeys(found.negatives[qid], 0)} for qid, grades in found.qrels.items()}
    absent = joins.join_judged_documents(everything, dataset.docs, path)
    train = joins.check_judged(dataset.split["train"], found.qrels.keys(), path) if dataset.split["train"] else ()
    report = {**dataset.report, "train_queries": len(train)}
    split = {**dataset.split, "train": train}
    return replace(dataset, triples=found, absent=dataset.absent | absent, split=split, report=report)
