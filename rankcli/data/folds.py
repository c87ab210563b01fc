"""The split of queries: to train, to choose the weights (dev), and to test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from rankcli.data.lines import Notes, checked_id, read_rows
from rankcli.data.trec import REPEATED
from rankcli.errors import ConfigError

Split = dict[str, tuple[str, ...]]
FEWEST = 3  # folds: train, dev and test


def kfold(qids: Iterable[str], k: int, fold: int, seed: int) -> Split:
    """Deal the queries to k folds: test is `fold`, dev the one after it, train the rest.

    Queries are ordered by a hash of seed and id and dealt in turn, so the split depends on neither their order nor the
    process, and the sizes of two folds differ by at most one.
    """
    order = sorted(set(qids), key=lambda qid: (hashlib.sha256(f"{seed}\0{qid}".encode()).digest(), qid))
    if len(order) < k:
        fix = "lower it" if len(order) >= FEWEST else f"judge more queries: train, dev and test need {FEWEST} at least"
        raise ConfigError(f"{len(order)} judged queries cannot make {k} folds", where="data.folds.k", fix=fix)
    folds = [order[f::k] for f in range(k)]
    dev = (fold + 1) % k
    train = [qid for f, members in enumerate(folds) if f not in (fold, dev) for qid in members]
    return {"train": tuple(sorted(train)), "dev": tuple(sorted(folds[dev])), "test": tuple(sorted(folds[fold]))}


def read_ids(path: str | Path) -> tuple[str, ...]:
    """The query ids of a file with one id per line, sorted."""
    ids: set[str] = set()
    notes = Notes(path)
    for number, line in read_rows(path):
        qid = checked_id(line.strip(" \t"), path, number, "query id")
        if qid in ids:
            notes.add(REPEATED, number)
        ids.add(qid)
    notes.warn()
    return tuple(sorted(ids))


def check_disjoint(split: Mapping[str, Iterable[str]], where: str) -> None:
    """Raise ConfigError if two parts of a split share queries."""
    for one, other in combinations(split, 2):
        if shared := leaked(split[one], split[other]):
            raise ConfigError(
                f"{one} and {other} share {len(shared)} queries, e.g. {min(shared)!r}",
                where=where,
                fix="a query belongs to one part",
            )


def leaked(train_qids: Iterable[str], qids: Iterable[str]) -> set[str]:
    """The queries of `qids`, to be reranked or evaluated, that were trained on."""
    return set(train_qids) & set(qids)
