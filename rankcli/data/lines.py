"""Text files line by line: plain or gzip, strict UTF-8, every error with file:line.

A compressed file is recognised by its first bytes, never by its name. A byte order mark, CRLF and blank lines at the
end are accepted; nothing is repaired. For a `gs://` URI a verified local copy is read; errors name the URI.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn, cast

from rankcli.data import archives
from rankcli.errors import ConfigError, DataError, StorageError
from rankcli.log import warn
from rankcli.storage.inputs import local_copy

MAX_LINE = 1 << 20  # bytes, of judgments, runs and lists
MAX_TEXT_LINE = 64 << 20  # bytes, of documents and queries
MAX_BLANK = 10_000  # lines one after another
MAX_ID = 512  # bytes of UTF-8

GZIP = b"\x1f\x8b"
_OTHERS = {  # by their first bytes
    "a bzip2 file": (b"BZh91AY&SY", "unpack it: bunzip2 -k FILE"),
    "an xz file": (b"\xfd7zXZ\0", "unpack it: unxz -k FILE"),
    "a Zstandard file": (b"\x28\xb5\x2f\xfd", "unpack it: unzstd FILE"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c", "unpack it: 7z x FILE"),
    "a Parquet file": (b"PAR1", "convert it: pandas.read_parquet(FILE).to_json(NEW, orient='records', lines=True)"),
    "an SQLite database": (b"SQLite format 3\0", "export its table as JSONL or TSV"),
    "text in UTF-16": (b"\xff\xfe", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
    "text in UTF-16, big endian": (b"\xfe\xff", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"),
}
_LONGEST_MAGIC = 16
# Unicode white space, control characters and surrogates: an id must not contain them.
_BAD_IN_ID = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Row(NamedTuple):
    """A document or query of a file: the line where it starts, its id, its text.

    The first `title` characters of a document's text are its title.
    """

    line: int
    id: str
    text: str
    title: int = 0


def titled(line: int, docid: str, title: str, text: str) -> Row:
    """Return the row of a document whose title, perhaps empty, goes before its text with a space."""
    return Row(line, docid, f"{title} {text}".strip(), len(title.strip()))


def fail(path: str | Path, line: int, what: str, fix: str = "") -> NoReturn:
    """Raise the DataError of one line."""
    raise DataError(what, where=f"{path}:{line}", fix=fix)


class Notes:
    """Counts harmless oddities of a file, and warns once per kind."""

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def add(self, kind: str, line: int) -> None:
        """Count one more line of this kind."""
        self.counts[kind] += 1
        self._first.setdefault(kind, line)

    def warn(self) -> None:
        """Print one warning per kind, with its count and the first line."""
        for kind, count in self.counts.items():
            warn(f"{self.path}: {count} {kind} (the first in line {self._first[kind]})")


def read_lines(path: str | Path, limit: int = MAX_LINE) -> Iterator[tuple[int, str]]:
    """Line number and text of every line, without its end; `limit` is in bytes."""
    number = blank = 0
    with open_bytes(path) as stream:
        try:
            while raw := stream.readline(limit + 1):
                number += 1
                blank = blank + 1 if raw.isspace() else 0
                if blank > MAX_BLANK:  # a small gzip file may be hours of them
                    fail(path, number, f"more than {MAX_BLANK:,} blank lines one after another", "remove them")
                yield number, _decoded(raw, path, number, limit)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            fail(path, number + 1, f"the gzip data is damaged or cut off ({error})", "fetch or compress the file again")
        except zipfile.BadZipFile as error:
            _fail_zip(path, number + 1, error)
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror or error}", where=f"{path}:{number + 1}") from error


def read_rows(path: str | Path, limit: int = MAX_LINE) -> Iterator[tuple[int, str]]:
    """`read_lines` of a file that has one record per line: at least one, and blank lines only after the last."""
    rows = blank = 0
    for number, line in read_lines(path, limit):
        if not line or line.isspace():
            blank = blank or number
            continue
        if blank:
            between = "between records" if rows else "before the first record"
            fail(path, blank, f"a blank line {between} (0 columns)", "remove it, or restore what stood there")
        rows += 1
        yield number, line
    if not rows:
        fail(path, 1, "the file is empty")


def checked_id(value: str, path: str | Path, line: int, kind: str = "id") -> str:
    """Return `value` if it can be an id, else raise DataError.

    An id is not empty, has no white space, control character or surrogate, and takes at most 512 bytes of UTF-8.
    """
    if not value:
        fail(path, line, f"the {kind} is empty")
    if bad := _BAD_IN_ID.search(value):
        fail(
            path,
            line,
            f"the {kind} {value[:40]!r} contains {bad.group()!r}",
            "ids hold no white space or control characters",
        )
    if len(value) > MAX_ID // 4 and len(value.encode()) > MAX_ID:
        fail(path, line, f"the {kind} {value[:20]!r}... is longer than {MAX_ID} bytes")
    return value


def checked_text(value: str, path: str | Path, line: int) -> str:
    """Return `value` if it can be encoded, that is, has no lone surrogate; else raise DataError."""
    if _SURROGATE.search(value):
        fail(path, line, "the text contains a lone surrogate (half of a \\u escape pair)")
    return value


def open_bytes(path: str | Path) -> BinaryIO:
    """Open a file, decompressed if it starts like gzip or is the only one of a zip archive; ConfigError if there is no
    such file.
    """
    stream = open_file(path)
    start = _start(stream, path)
    if start.startswith(archives.MAGIC):
        stream.close()
        stream = cast(io.BufferedReader, archives.open_only(local_copy(path)))
        start = _start(stream, path)
    for what, (magic, fix) in _OTHERS.items():
        if start.startswith(magic):
            stream.close()
            fail(path, 1, f"this is {what}, a text file (or one in gzip) is needed", fix)
    return cast(BinaryIO, _Gunzip(stream) if start.startswith(GZIP) else stream)


def _start(stream: io.BufferedReader, path: str | Path) -> bytes:
    try:
        return stream.peek(_LONGEST_MAGIC)
    except zipfile.BadZipFile as error:
        _fail_zip(path, 1, error)


def _fail_zip(path: str | Path, line: int, error: zipfile.BadZipFile) -> NoReturn:
    fail(path, line, f"the zip data is damaged ({error})", "fetch the archive again")


def start_of(path: str | Path) -> bytes:
    """The first bytes of a regular file; none of a pipe, which can be read only once."""
    local = local_copy(path)
    if local.exists() and not local.is_file() and not local.is_dir():
        return b""
    with open_file(path) as stream:
        return _start(stream, path)


def open_file(path: str | Path) -> io.BufferedReader:
    """A file, or a member of a zip archive, as it is; ConfigError if there is no such file."""
    try:
        return open(local_copy(path), "rb")
    except IsADirectoryError:
        raise ConfigError("is a folder, a file is needed", where=str(path)) from None
    except (FileNotFoundError, NotADirectoryError):
        if found := archives.inside(path):
            return cast(io.BufferedReader, archives.open_member(*found))
        raise ConfigError("there is no such file", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be opened: {error.strerror}", where=str(path)) from error


class _Gunzip(gzip.GzipFile):
    """A gzip reader that also closes the file under it."""

    def __init__(self, stream: io.BufferedReader) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._stream = stream

    def close(self) -> None:
        super().close()
        self._stream.close()


def _decoded(raw: bytes, path: str | Path, number: int, limit: int) -> str:
    if len(raw) > limit:
        fail(path, number, f"the line is longer than {limit:,} bytes")
    if b"\0" in raw:
        fail(path, number, "the line contains a NUL byte", "is this a text file in UTF-8?")
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        return raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        fail(
            path,
            number,
            f"byte {error.start + 1} of the line is not UTF-8",
            "convert the file, e.g. iconv -f LATIN1 -t UTF-8",
        )
