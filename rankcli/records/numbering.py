"""The first step of a conversion: the samples of every shard as ordinals of the collection, and the texts they need.

Files of the folder, per shard: `queries-SHARD` (the query of each sample), `groups-SHARD` (its documents),
`labels-SHARD` and, if there are columns, `columns-SHARD` (one after the other, in the order of their names). After all
shards, the ordinals that occur are written, sorted, to `wanted-query` and `wanted-doc`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rankcli.errors import DataError
from rankcli.records.flat import Flat, Joined, intact, keep_flat
from rankcli.records.stripes import Range
from rankcli.records.texts import LEVELS, Texts, known
from rankcli.shapes import Level, Sample

Numbers = npt.NDArray[np.int64]


class Numbering(NamedTuple):
    """The means to number samples: the sampler, the texts of both levels, and the columns to keep, sorted."""

    folder: Path
    sampler: Callable[[int], Sample]
    queries: Texts
    docs: Texts
    columns: tuple[str, ...] = ()


def write_numbers(tools: Numbering, shard: Range) -> int:
    """Draw the samples of a shard, write its files, and return their number; a task of a conversion process."""
    samples = [tools.sampler(n) for n in shard.samples]
    qids = [sample.qid for sample in samples]
    docids = [docid for sample in samples for docid in sample.docids]
    queries = known(tools.queries.ordinals(qids), qids, "query")
    docs = known(tools.docs.ordinals(docids), docids, "document")
    _write(tools.folder, "queries", shard, Joined(queries, [len(queries)]), np.int64)
    _write(tools.folder, "groups", shard, Joined(docs, [len(sample.docids) for sample in samples]), np.int64)
    _write(tools.folder, "labels", shard, _floats([sample.labels for sample in samples]), np.float32)
    if tools.columns:
        _write(tools.folder, "columns", shard, _floats([_columns(it, tools.columns) for it in samples]), np.float32)
    return len(samples)


def _floats(lists: Sequence[Sequence[float]]) -> Joined:
    return Joined(np.array(list(chain.from_iterable(lists)), np.float32), list(map(len, lists)))


def _columns(sample: Sample, names: Sequence[str]) -> list[float]:
    missing = [name for name in names if len(sample.columns.get(name, ())) != len(sample.docids)]
    if missing:
        raise DataError(f"a group of query {sample.qid!r} has no column {missing[0]!r} with a value per document")
    return [value for name in names for value in sample.columns[name]]


def is_numbered(folder: Path, shard: Range, columns: bool) -> bool:
    """True if all files of a shard exist and are undamaged."""
    kinds = ("queries", "groups", "labels", *(("columns",) if columns else ()))
    return all(intact(shard_file(folder, kind, shard)) for kind in kinds)


def write_wanted(folder: Path, shards: Iterable[Range]) -> None:
    """Write the ordinals of the queries and documents that occur in `shards`."""
    kinds: dict[Level, str] = {"doc": "groups", "query": "queries"}
    for level, kind in kinds.items():
        files = (Flat(shard_file(folder, kind, shard), np.int64).values for shard in shards)
        found = _distinct(files)
        keep_flat(wanted_file(folder, level), Joined(found, [len(found)]), np.int64)


def _distinct(arrays: Iterable[Numbers]) -> Numbers:
    """The ordinals that occur in any of the arrays, sorted; takes a byte of memory for each up to the largest."""
    seen = np.zeros(0, np.bool_)
    for numbers in arrays:
        most = int(numbers.max(initial=-1))
        if most >= len(seen):
            seen = np.concatenate([seen, np.zeros(max(most + 1 - len(seen), len(seen)), np.bool_)])
        seen[numbers] = True
    return np.flatnonzero(seen).astype(np.int64)


def has_wanted(folder: Path) -> bool:
    """True if all shards are numbered."""
    return all(intact(wanted_file(folder, level)) for level in LEVELS)


def remove_wanted(folder: Path) -> None:
    """Remove the files that `write_wanted` wrote for other samples."""
    for level in LEVELS:
        wanted_file(folder, level).unlink(missing_ok=True)


def wanted(folder: Path, level: Level) -> Numbers:
    """The ordinals that occur, sorted, as a memory map."""
    return Flat(wanted_file(folder, level), np.int64).values


def wanted_file(folder: Path, level: Level) -> Path:
    """The file of the ordinals that occur."""
    return folder / f"wanted-{level}"


def shard_file(folder: Path, kind: str, shard: Range) -> Path:
    """The file of one kind with the samples of a shard."""
    return folder / f"{kind}-{shard.name}"


def _write(folder: Path, kind: str, shard: Range, arrays: Joined, dtype: npt.DTypeLike) -> None:
    keep_flat(shard_file(folder, kind, shard), arrays, dtype)
