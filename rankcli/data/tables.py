"""Tables in Parquet or Arrow files, as Hugging Face's datasets have them; read with the package pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rankcli.data import lines
from rankcli.errors import DataError, MissingError

_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"


def is_table(path: str | Path) -> bool:
    """True for a regular file that begins as a Parquet or Arrow file does."""
    return lines.start_of(path).startswith((_PARQUET, _ARROW_FILE, _ARROW_STREAM))


def column_names(path: str | Path) -> list[str]:
    """The names of a table's columns."""
    return list(next(_batches(path)).schema.names)


def read_records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, from 1, and values by column of every row."""
    number = 0
    for batch in _batches(path):
        for record in batch.to_pylist():
            number += 1
            yield number, record
    if not number:
        raise DataError("the table is empty", where=str(path))


def _batches(path: str | Path) -> Iterator[Any]:
    """The rows in batches; an empty batch if there are none."""
    arrow = _package("pyarrow")
    try:
        with lines.open_file(path) as stream:
            yield from _opened(stream, lines.start_of(path))
    except (arrow.ArrowException, OSError) as error:
        what = str(error).split("\n")[0].rstrip(".")
        raise DataError(f"the table cannot be read ({what})", where=str(path), fix="fetch it again") from error


def _opened(stream: Any, start: bytes) -> Iterator[Any]:
    if start.startswith(_PARQUET):
        parquet = _package("pyarrow.parquet").ParquetFile(stream)
        yield parquet.schema_arrow.empty_table()
        yield from parquet.iter_batches(batch_size=4096)
        return
    ipc = _package("pyarrow.ipc")
    reader = ipc.open_stream(stream) if start.startswith(_ARROW_STREAM) else ipc.open_file(stream)
    yield reader.schema.empty_table()
    yield from reader if start.startswith(_ARROW_STREAM) else _numbered(reader)


def _numbered(reader: Any) -> Iterator[Any]:
    return (reader.get_batch(n) for n in range(reader.num_record_batches))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(
            "the package pyarrow, which reads Parquet and Arrow files, is not installed", fix="pip install pyarrow"
        ) from error


def named(record: dict[str, Any], names: Sequence[str] | set[str]) -> str | None:
    """The first key of a record that is one of `names`."""
    return next((key for key in record if key.lower() in names), None)
