"""Tables in Parquet or Arrow files, as Hugging Face's datasets have them; read with the package pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankcli.data import lines
from rankcli.errors import DataError, MissingError

_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"


def is_table(path: str | Path) -> bool:
    """True for a regular file that begins as a Parquet or Arrow file does."""
    return lines.start_of(path).startswith((_PARQUET, _ARROW_FILE, _ARROW_STREAM))


def read_records(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number, from 1, and values by column of every row; DataError if there is none."""
    number = 0
    for number, record in enumerate(_records(path), 1):
        yield number, record
    if not number:
        raise DataError("the table is empty", where=str(path))


def _records(path: str | Path) -> Iterator[dict[str, Any]]:
    arrow = _package("pyarrow")
    try:
        with lines.open_file(path) as stream:
            for batch in _batches(stream, lines.start_of(path)):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        what = str(error).split("\n")[0].rstrip(".")
        raise DataError(f"the table cannot be read ({what})", where=str(path), fix="fetch it again") from error


def _batches(stream: Any, start: bytes) -> Iterator[Any]:
    if start.startswith(_PARQUET):
        yield from _package("pyarrow.parquet").ParquetFile(stream).iter_batches(batch_size=4096)
    elif start.startswith(_ARROW_FILE):
        reader = _package("pyarrow.ipc").open_file(stream)
        yield from (reader.get_batch(n) for n in range(reader.num_record_batches))
    else:
        yield from _package("pyarrow.ipc").open_stream(stream)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingError(
            "the package pyarrow, which reads Parquet and Arrow files, is not installed", fix="pip install pyarrow"
        ) from error
