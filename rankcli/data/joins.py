"""Checks between collection, queries, judgments and runs; the table of outcomes is in docs/data.md.

Ids that do not join never pass in silence: all of them are an error, some of them a warning with a count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import NoReturn

from rankcli.data.folds import leaked
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Qrels
from rankcli.errors import DataError
from rankcli.log import warn


def join_queries(queries: Mapping[str, str], judged: Collection[str], where: str) -> tuple[str, ...]:
    """The judged queries whose text is known, sorted.

    `judged` are the query ids of qrels or of a run; `where` is its name. DataError if none of them joins, or if they
    seem to be positions instead of ids.
    """
    joined = sorted(qid for qid in judged if qid in queries)
    if not joined:
        raise DataError(
            f"no query id is among the queries: {_two_sides(judged, queries)}",
            where=where,
            fix=_remedy(judged, queries),
        )
    if _are_ordinals(judged, queries):
        raise DataError(
            f"the query ids seem to be positions in the file of queries, not their ids: {_two_sides(judged, queries)}",
            where=where,
            fix="replace them with the ids of the queries",
        )
    _warn_some(len(judged) - len(joined), len(judged), "query ids are not among the queries and are left out", where)
    return tuple(joined)


def join_judged_documents(qrels: Qrels, docs: Documents, where: str) -> frozenset[str]:
    """The judged documents that are not in the collection. DataError if all of them are missing."""
    judged = _documents(qrels)
    absent = docs.absent(judged)
    _check_documents(
        judged, absent, docs, where, "judged documents are not in the collection: no training, but counted in metrics"
    )
    return frozenset(absent)


def join_run(run: CompactRun, queries: Mapping[str, str], docs: Documents, where: str) -> CompactRun:
    """The known queries and documents of a run. DataError if all of its queries or all of its documents are missing."""
    joined = join_queries(queries, run.keys(), where)
    retrieved = _documents(run)
    absent = docs.absent(retrieved)
    _check_documents(retrieved, absent, docs, where, "retrieved documents are not in the collection and are left out")
    if not absent:
        return run.part(joined)
    return CompactRun.of(
        (qid, {docid: score for docid, score in run[qid].items() if docid not in absent}) for qid in joined
    )


def check_relevant(qrels: Qrels, qids: Collection[str], relevance_level: int, where: str) -> int:
    """Count the judged queries with a document of at least `relevance_level`; DataError if none has one."""
    relevant = sum(any(grade >= relevance_level for grade in qrels[qid].values()) for qid in qids)
    if not relevant:
        highest = max(grade for qid in qids for grade in qrels[qid].values())
        what = f"no query has a document of grade {relevance_level} or more; the highest grade is {highest}"
        fix = (
            "lower data.relevance_level"
            if highest >= 1
            else "add judgments of grade 1 or more: these have no relevant one"
        )
        raise DataError(what, where=where, fix=fix)
    _warn_some(
        len(qids) - relevant, len(qids), f"judged queries have no document of grade {relevance_level} or more", where
    )
    return relevant


def warn_of_unjudged(queries: Collection[str], qrels: Qrels, where: str) -> None:
    """Warn of queries without judgments, with their number."""
    _warn_some(len(queries) - len(qrels), len(queries), "queries have no judgments and are not used", where)


def warn_of_training(trained: Mapping[str, str], queries: Mapping[str, str], where: str) -> None:
    """Warn of queries (texts by id) that were trained on: id and text are equal, since collections may share ids."""
    same = {qid for qid in leaked(trained, queries) if trained[qid] == queries[qid]}
    if same:
        what = f"{len(same)} of {len(queries)} queries were trained on, for example {min(same)!r}"
        warn(f"{where}: {what}; scores on them are inflated")


def check_judged(qids: Collection[str], joined: Collection[str], where: str) -> tuple[str, ...]:
    """The judged queries of a part of the split, sorted; DataError if there are none."""
    kept = tuple(sorted(set(qids) & set(joined)))
    if not kept:
        raise DataError(
            f"none of these queries is judged and among the queries: {_two_sides(qids, joined)}", where=where
        )
    _warn_some(
        len(set(qids)) - len(kept),
        len(set(qids)),
        "query ids are not judged, or not among the queries, and are left out",
        where,
    )
    return kept


def _check_documents(used: set[str], absent: set[str], docs: Documents, where: str, what: str) -> None:
    if used and len(absent) == len(used):
        fail_documents(used, docs, where)
    _warn_some(len(absent), len(used), what, where, example=min(absent, default=""))


def fail_documents(used: Collection[str], docs: Documents, where: str) -> NoReturn:
    """Raise the DataError of document ids that are all missing from the collection."""
    collection = [docid for docid, _ in islice(docs.iterate(), 3)]
    raise DataError(
        f"no document id is in the collection: {_two_sides(used, collection)}",
        where=where,
        fix=_remedy(used, collection),
    )


def _warn_some(count: int, total: int, what: str, where: str, example: str = "") -> None:
    if count:
        warn(f"{where}: {count} of {total} {what}" + (f" (e.g. {example!r})" if example else ""))


def _documents(table: Mapping[str, Mapping[str, float]]) -> set[str]:
    return {docid for documents in table.values() for docid in documents}


def _two_sides(here: Iterable[str], there: Iterable[str]) -> str:
    return f"here {_first(here)}; there {_first(there)}"


def _first(ids: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(ids, key=_natural)[:3])) + ", ..."


def _natural(value: str) -> tuple[int, int, str]:
    """A sort key: numbers by value, before all other ids."""
    return (0, int(value), value) if _is_number(value) else (1, 0, value)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) < 20


def _remedy(here: Iterable[str], there: Iterable[str]) -> str:
    stripped = {value.lstrip("0") for value in there if _is_number(value)}
    if any(_is_number(value) and value.lstrip("0") in stripped for value in here):
        return "the ids differ in their leading zeros: write them the same way in both files"
    return "check that the files belong together"


def _are_ordinals(judged: Collection[str], queries: Mapping[str, str]) -> bool:
    """True if judged ids are numbers up to the number of queries, but the queries' own ids go beyond it."""
    if not all(map(_is_number, judged)) or not all(map(_is_number, queries)):
        return False
    unknown = [qid for qid in judged if qid not in queries]
    return bool(unknown) and max(map(int, judged)) <= len(queries) < max(map(int, queries))
