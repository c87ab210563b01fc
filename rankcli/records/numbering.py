"""The first step of a conversion: which queries and documents its samples need, and the samples in terms of them.

Files of the folder: per shard `groups-SHARD` (for each sample the number of its query, then those of its documents) and
`labels-SHARD`; `query-ids-N` and `doc-ids-N` hold the ids by number, `IDS_PER_FILE` in each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from rankcli import log
from rankcli.records.flat import Flat, intact, write_flat
from rankcli.records.stripes import Range
from rankcli.shapes import Sample
from rankcli.storage.disk import guard
from rankcli.storage.scratch import replacing_directory

IDS_PER_FILE = 1024


def write_numbers(folder: Path, sampler: Callable[[int], Sample], shards: Sequence[Range], bar: log.Progress) -> None:
    """Draw the samples of `shards` and write `folder`, all of it or nothing; ids are numbered as they first appear."""
    queries: dict[str, int] = {}
    docs: dict[str, int] = {}
    with guard(folder), replacing_directory(folder) as built:
        for shard in shards:
            groups, labels = [], []
            for sample in map(sampler, shard.samples):
                numbers = [docs.setdefault(docid, len(docs)) for docid in sample.docids]
                groups.append(np.array([queries.setdefault(sample.qid, len(queries)), *numbers], np.int32))
                labels.append(np.array(sample.labels, np.float32))
            write_flat(groups_file(built, shard), groups, np.int32)
            write_flat(labels_file(built, shard), labels, np.float32)
            bar.advance(len(groups))
        _write_ids(built, "query", queries)
        _write_ids(built, "doc", docs)


def holds(folder: Path, shards: Sequence[Range]) -> bool:
    """Whether `folder` has what is needed to write `shards`, undamaged."""
    if not folder.is_dir():
        return False
    wanted = [file(folder, shard) for shard in shards for file in (groups_file, labels_file)]
    return all(path.is_file() for path in wanted) and all(intact(path) for path in folder.iterdir())


def groups_file(folder: Path, shard: Range) -> Path:
    """The file with the samples of a shard."""
    return folder / f"groups-{shard.name}"


def labels_file(folder: Path, shard: Range) -> Path:
    """The file with the labels of a shard."""
    return folder / f"labels-{shard.name}"


def ids_file(folder: Path, level: str, number: int) -> Path:
    """The file with the ids from `number` times `IDS_PER_FILE` on."""
    return folder / f"{level}-ids-{number:06d}"


def id_files(folder: Path, level: str) -> int:
    """How many files of ids there are."""
    return len(list(folder.glob(f"{level}-ids-*")))


def count_ids(folder: Path) -> int:
    """How many ids there are, of queries and documents together."""
    levels = [(level, id_files(folder, level)) for level in ("query", "doc")]
    full = sum(max(files - 1, 0) for _, files in levels) * IDS_PER_FILE
    return full + sum(len(Flat(ids_file(folder, level, files - 1), np.uint8)) for level, files in levels if files)


def read_ids(folder: Path, level: str, number: int) -> list[str]:
    """The ids of one file."""
    ids = Flat(ids_file(folder, level, number), np.uint8)
    return [ids[n].tobytes().decode() for n in range(len(ids))]


def _write_ids(folder: Path, level: str, ids: Iterable[str]) -> None:
    iterator, number = iter(ids), 0
    while chunk := list(islice(iterator, IDS_PER_FILE)):
        arrays = [np.frombuffer(name.encode(), np.uint8) for name in chunk]
        write_flat(ids_file(folder, level, number), arrays, np.uint8)
        number += 1
