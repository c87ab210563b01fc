"""A collection of documents in one file or several, in folders and archives, opened as a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from rankcli.data import archives, irds
from rankcli.data.formats import DOCUMENT_READERS, Format, detect
from rankcli.data.hashes import input_sha256
from rankcli.data.layouts import document_files
from rankcli.data.lines import Row
from rankcli.data.store import DocStore, store_from

Rows = Callable[[], Iterator[Row]]


def open_store(source: str | Path | Sequence[str], format: Format | None, scratch: Path) -> DocStore:
    """The store of documents in files, folders or archives, or of `ir_datasets:ID`, in the folder `scratch`; built if
    it is missing.
    """
    places = [str(source)] if isinstance(source, (str, Path)) else list(source)
    parts = [_part(path, format) for place in places for path in _files(place)]
    made_of = "+".join(made for made, _ in parts)
    return store_from(made_of, lambda: chain.from_iterable(rows() for _, rows in parts), ", ".join(places), scratch)


def _files(place: str) -> list[str]:
    """The files of a place; a file is itself."""
    if irds.named(place) or not (Path(place).is_dir() or archives.is_archive(place)):
        return [place]
    return document_files(place)


def _part(path: str, format: Format | None) -> tuple[str, Rows]:
    """The content that a part of the store is made of, and its documents."""
    if irds.named(path):
        return f"{path}:{irds.package_version()}", lambda: irds.read_docs(path)
    content = _content(path)
    seen = format or detect(path)
    return f"{seen}:{content}", lambda: DOCUMENT_READERS[seen](path)


def _content(path: str) -> str:
    if found := archives.inside(path):
        archive, name = found
        return f"{input_sha256(archive)}/{name}"
    return input_sha256(path)
