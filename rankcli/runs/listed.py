"""Files of features that commands are given: which source reads them, for which model."""

from __future__ import annotations

import gzip
import struct
import zlib

import google_crc32c

from rankcli.config.schema import RunConfig
from rankcli.data.lines import open_bytes
from rankcli.data.source import Source, SourceContext
from rankcli.datasets.elwc import ELWC
from rankcli.datasets.libsvm import LibSVM
from rankcli.storage.places import local_root

_HEADER = struct.Struct("<QI")  # of a TFRecord: a length, and its masked CRC32C


def features_in(
    path: str, config: RunConfig | None = None, width: int | None = None, scores: str | None = None
) -> Source:
    """Read a file of features as the data of `config` are read; without it, by its content alone.

    With `width`, it must have the features of a model that reads so many, and `scores`, a run, if the model reads one.
    """
    options = config.data.reader if config else source_of(path)
    source: Source = options.at(path, width, scores).build(SourceContext(local_root()))
    return source


def source_of(path: str) -> ELWC | LibSVM:
    """Return the options of the source for a file, seen from its first bytes."""
    return ELWC.found_in(path) if _is_tfrecord(path) else LibSVM(path=path)


def _is_tfrecord(path: str) -> bool:
    try:
        with open_bytes(path) as stream:
            start = stream.read(_HEADER.size)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False  # damaged: reading its lines says where
    if len(start) < _HEADER.size:
        return False
    crc = google_crc32c.value(start[:8])
    return bool(_HEADER.unpack(start)[1] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
