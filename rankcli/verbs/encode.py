"""Encode texts with a bi-encoder: keep their vectors, and write them for programs that search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankcli.data.documents import open_store
from rankcli.data.files import check_apart, made_file
from rankcli.data.topics import read_topics
from rankcli.errors import ConfigError
from rankcli.log import Progress, say
from rankcli.records.vector_cache import AT_ONCE
from rankcli.runs.encoder import TextEncoder
from rankcli.runs.vectors import vectors_storage
from rankcli.shapes import Floats, Record
from rankcli.storage.places import local_root

STOPPED = "stopped; the vectors that are made are kept, and the same command goes on"


class _Texts(NamedTuple):
    """The documents or the queries: their number, and the records of a range of them."""

    number: int
    read: Callable[[range], list[Record]]

    def parts(self) -> Iterator[list[Record]]:
        for first in range(0, self.number, AT_ONCE):
            yield self.read(range(first, min(first + AT_ONCE, self.number)))


def encode(
    *,
    model: str,
    docs: str | None = None,
    queries: str | None = None,
    output: str | Path | None = None,
    weights: str = "best",
    topics: Sequence[str] = (),
    dtype: str = "float32",
    storage: str | None = None,
    evalbatch: int = 0,
    amp: str = "none",
    strategy: str = "auto",
) -> dict[str, Any]:
    """Make the vectors of documents, of queries or of both, and keep those of the encoder in the cache.

    With `output`, the model's vectors, which are those that scores compare, are written as NumPy arrays, with their ids
    beside them. Returns `text` for people and `result` for programs.
    """
    given = {"docs": docs, "queries": queries}
    outputs = _outputs(output, [name for name, path in given.items() if path])
    for path in outputs.values():
        check_apart(path, docs, queries, model)
    encoder = TextEncoder(model, weights, evalbatch, amp, strategy)
    texts = _read(docs, queries, topics)
    done = {}
    try:
        for name, each in texts.items():
            done[name] = _encoded(encoder, name, each, vectors_storage(storage), dtype, outputs.get(name))
    except KeyboardInterrupt:
        say(STOPPED)
        raise
    return {"result": done, "text": "\n".join(_line(name, each) for name, each in done.items())}


def _read(docs: str | None, queries: str | None, topics: Sequence[str]) -> dict[str, _Texts]:
    found = {}
    if docs:
        store = open_store(docs, None, local_root())
        found["docs"] = _Texts(len(store), store.records_at)
    if queries:
        records = [Record(*each) for each in read_topics(queries, None, topics).items()]
        found["queries"] = _Texts(len(records), lambda here: records[here.start : here.stop])
    return found


def _encoded(
    encoder: TextEncoder, name: str, texts: _Texts, storage: Any, dtype: str, output: str | Path | None
) -> dict[str, Any]:
    """Encode all texts, keep their vectors, and write them to `output`."""
    with encoder.kept(name, storage, dtype) as kept, ExitStack() as stack:
        write = stack.enter_context(_Writer(output, texts.number, dtype)) if output else None
        bar = stack.enter_context(Progress(texts.number, f"encoding {name}", "texts"))
        for records in texts.parts():
            tokens = kept.keep(records, bar.advance)
            if write:
                for made in kept.made(tokens):
                    write.rows(made.numbers, made.vectors)
                write.ids(records)
    cache = kept.cache
    written = {"output": str(output), "ids": str(_ids(output))} if output else {}
    about = {"set": cache.set_id, "bytes": cache.manifest.total_bytes, "path": f"{storage.uri}/{cache.location}"}
    return {"texts": texts.number, "encoded": cache.encoded, "width": cache.manifest.width, **about, **written}


class _Writer:
    """A NumPy array of vectors and the file of their ids, which appear together when all are written."""

    def __init__(self, output: str | Path, count: int, dtype: str) -> None:
        self._count, self._dtype, self._first = count, np.dtype(dtype), 0
        self._stack, self._output = ExitStack(), output
        self._array: Any = None

    def __enter__(self) -> _Writer:
        self._path = self._stack.enter_context(made_file(self._output))
        ids = self._stack.enter_context(made_file(_ids(self._output)))
        self._names = self._stack.enter_context(ids.open("w", encoding="utf-8", newline="\n"))
        return self

    def __exit__(self, *error: Any) -> bool | None:
        if self._array is not None:
            self._array.flush()
        return self._stack.__exit__(*error)

    def rows(self, numbers: Sequence[int], vectors: Floats) -> None:
        """Write vectors, by their numbers within the part."""
        if self._array is None:
            shape = (self._count, vectors.shape[1])
            self._array = np.lib.format.open_memmap(self._path, "w+", self._dtype, shape)
        self._array[self._first + np.asarray(numbers)] = vectors

    def ids(self, records: Sequence[Record]) -> None:
        """Write the ids of a part, after its vectors."""
        self._names.writelines(f"{record.id}\n" for record in records)
        self._first += len(records)


def _outputs(output: str | Path | None, names: Sequence[str]) -> dict[str, str | Path]:
    """Return the array of each kind of texts: the file that is named, or one in the folder that is named."""
    if not names:
        raise ConfigError("nothing to encode", fix="give --docs, --queries or both")
    if output is None:
        return {}
    if str(output).endswith(".npy"):
        if len(names) > 1:
            fix = "name a folder, which gets docs.npy and queries.npy"
            raise ConfigError("one file cannot have documents and queries", where=str(output), fix=fix)
        return {names[0]: output}
    return {name: f"{output}/{name}.npy" for name in names}


def _ids(output: str | Path) -> str:
    return f"{str(output).removesuffix('.npy')}.ids.txt"


def _line(name: str, done: Mapping[str, Any]) -> str:
    kept = done["texts"] - done["encoded"]
    made = f"{name}: {done['texts']:,} texts, {done['encoded']:,} encoded, {kept:,} known; vectors of {done['width']}"
    return f"{done.get('output') or done['path']}: {made}"
