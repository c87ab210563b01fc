"""Write a text file that the user named, on disk or in a bucket, whole or not at all; hash an input file."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from rankcli.errors import ConfigError, StorageError
from rankcli.storage import inputs
from rankcli.storage.atomic import TEMPORARY, replacing_file
from rankcli.storage.base import is_remote
from rankcli.storage.disk import guard
from rankcli.storage.gcs import upload_uri
from rankcli.storage.places import work_root
from rankcli.storage.scratch import scratch, sweep

_BLOCK = 1 << 20


def sha256_file(path: str | Path) -> str:
    """The hex SHA-256 of a file's bytes; ConfigError if it is no regular file."""
    local = inputs.local_copy(path)
    if not os.path.isfile(local):
        reason = "is not a regular file" if os.path.exists(local) else "there is no such file"
        raise ConfigError(reason, where=str(path))
    digest = hashlib.sha256()
    try:
        with open(local, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    return digest.hexdigest()


def exists(path: str | Path) -> bool:
    """True if there is a file or folder at a path, or an object at a `gs://` URI."""
    return inputs.exists(path) if isinstance(path, str) and is_remote(path) else Path(path).exists()


def check_output(uri: str) -> None:
    """Raise ConfigError or MissingError if no object can be written at a `gs://` URI: no name, a folder, no bucket."""
    if not inputs.located(uri)[1] or uri.endswith("/") or inputs.tree(uri):
        raise ConfigError("this is a folder, a file is needed", where=uri, fix="name an object: gs://BUCKET/PATH")


def check_apart(output: str | Path, *inputs: object) -> None:
    """ConfigError if `output` is one of the inputs, under any name: it would be replaced.

    Inputs that are no existing files are passed over. Of a folder no file is replaced either.
    """
    path = Path(output)
    if is_stdout(output) or is_remote(str(output)) or not path.is_file():
        if is_remote(str(output)) and str(output) in map(str, inputs):
            raise _replaces(output)
        return
    for each in inputs:
        if isinstance(each, (str, Path)) and _is_at(path, Path(each)):
            raise _replaces(output)


def _is_at(path: Path, place: Path) -> bool:
    try:
        return path.samefile(place) or any(parent.samefile(place) for parent in path.resolve().parents)
    except OSError:
        return False


def _replaces(output: str | Path) -> ConfigError:
    return ConfigError("it is an input, which is not replaced", where=str(output), fix="name another output file")


def is_stdout(path: object) -> bool:
    """True for `-` and /dev/stdout, which may lead to a file that must not be replaced."""
    return str(path) in ("-", "/dev/stdout")


@contextmanager
def _opened(place: Path, gzipped: bool) -> Iterator[TextIO]:
    """Open a new text file; a gzipped one has no name and no time in it, so that equal texts make equal files."""
    with open(place, "wb") as file, ExitStack() as stack:
        binary = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0)) if gzipped else file
        yield stack.enter_context(io.TextIOWrapper(cast(BinaryIO, binary), encoding="utf-8", newline="\n"))


@contextmanager
def made_file(path: str | Path) -> Iterator[Path]:
    """A local file to write, which becomes `path`, or an object at a `gs://` URI, when the block ends without error."""
    if is_remote(str(path)):
        with scratch(work_root(), "output") as folder:
            yield folder / "output"
            upload_uri(folder / "output", str(path))
        return
    target = Path(os.path.realpath(path))
    with suppress(OSError, StorageError):  # what a killed command has left
        sweep(target.parent, f"{target.name}.{TEMPORARY}")
    with guard(path), replacing_file(target) as place:
        yield place


@contextmanager
def replacing(path: str | Path) -> Iterator[TextIO]:
    """A UTF-8 text stream that becomes the file `path` when the block ends without an error.

    An existing path that is no regular file (a pipe, /dev/stdout) is written to directly; a link is followed, not
    replaced. For a `gs://` URI a local file is written, and uploaded whole. `-` is stdout; NAME.gz is gzipped.
    """
    if is_stdout(path):
        yield sys.stdout
        sys.stdout.flush()
        return
    if is_remote(path):
        with scratch(work_root(), "output") as folder:
            local = folder / f"output{Path(path).suffix}"
            with replacing(local) as stream:
                yield stream
            upload_uri(local, str(path))
        return
    named = Path(path)
    direct = named.exists() and not named.is_file()
    target = named if direct else Path(os.path.realpath(named))  # the name of a pipe (/dev/fd/N) has no real path
    if not direct:
        with suppress(OSError, StorageError):  # what a killed command has left
            sweep(target.parent, f"{target.name}.{TEMPORARY}")
    try:
        with (
            nullcontext(target) if direct else replacing_file(target) as place,
            _opened(place, gzipped=named.suffix == ".gz") as stream,
        ):
            yield stream
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ConfigError(
            f"cannot be written: {error.strerror}", where=str(path), fix="name a file in an existing folder"
        ) from error
    except OSError as error:
        with guard(path):
            raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error
