"""The split of queries: to train, to choose the weights (dev), and to test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from rankcli.data.lines import Notes, checked_id, read_rows
from rankcli.data.trec import REPEATED
from rankcli.errors import ConfigError
from rankcli.log import say

Split = dict[str, tuple[str, ...]]
FEWEST = 3  # folds: train, dev and test
DEV_SHARE, MOST_DEV = 5, 500  # one of so many training queries becomes dev where none are published, and the most
DEV_SEED = 7


def kfold(qids: Iterable[str], k: int, fold: int, seed: int) -> Split:
    """Deal the queries to k folds: test is `fold`, dev the one after it, train the rest.

    Queries are ordered by a hash of seed and id and dealt in turn, so the split depends on neither their order nor the
    process, and the sizes of two folds differ by at most one.
    """
    order = _shuffled(qids, seed)
    if len(order) < k:
        fix = "lower it" if len(order) >= FEWEST else f"judge more queries: train, dev and test need {FEWEST} at least"
        raise ConfigError(f"{len(order)} judged queries cannot make {k} folds", where="data.folds.k", fix=fix)
    folds = [order[f::k] for f in range(k)]
    dev = (fold + 1) % k
    train = [qid for f, members in enumerate(folds) if f not in (fold, dev) for qid in members]
    return {"train": tuple(sorted(train)), "dev": tuple(sorted(folds[dev])), "test": tuple(sorted(folds[fold]))}


def with_dev(split: Mapping[str, tuple[str, ...]], where: str) -> Split:
    """Return the split with a dev part: where it has none, a fifth of the training queries, but no more than 500.

    They are the first in an order by a hash, so that the same queries are dev wherever this is done.
    """
    if "dev" in split:
        return dict(split)
    train = _shuffled(split["train"], DEV_SEED)
    count = min(len(train) // DEV_SHARE, MOST_DEV) or 1
    if len(train) <= count:
        raise ConfigError("one training query cannot be train and dev", where=where, fix="name a file of dev qrels")
    say(f"{where}: no dev queries are published: {count} of the {len(train)} training queries are dev, not train")
    return {**split, "train": tuple(sorted(train[count:])), "dev": tuple(sorted(train[:count]))}


def _shuffled(qids: Iterable[str], seed: int) -> list[str]:
    return sorted(set(qids), key=lambda qid: (hashlib.sha256(f"{seed}\0{qid}".encode()).digest(), qid))


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
