"""The safetensors format: eight bytes of header length, a JSON header, the numbers.

Our own code reads it, not the library, so that every offset is checked before memory is taken, that bfloat16, which
NumPy lacks, becomes float32, and that equal tensors are written as equal bytes.
"""

from __future__ import annotations

import json
import math
import os
import struct
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rankcli.errors import StorageError
from rankcli.storage.json_files import SMALL, open_regular, parse_object
from rankcli.text._tensors import Tensors

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_TYPES |= {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1", "BOOL": "|b1"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items() if name != "BF16"}


def opened(path: Path) -> Tensors:
    """Every tensor of the file, floating ones as float32; StorageError if header, shapes and offsets are inconsistent.

    The file stays open as long as its tensors live, so that a file that replaces it meanwhile does not mix with them.
    """
    file = open_regular(path)
    try:
        size = os.fstat(file.fileno()).st_size
        header, start = _read_header(file, size, path)
        _check_offsets(header, size - start, path)
    except BaseException:
        file.close()
        raise
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    tensors = Tensors(shapes, lambda name: _read_tensor(file, start, header[name]))
    weakref.finalize(tensors, file.close)
    return tensors


def write(file: BinaryIO, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write the tensors, wide types first so that all are aligned, then by name."""
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in names:
        value = tensors[name]
        begin, end = end, end + value.nbytes
        header[name] = {"dtype": _NAMES[value.dtype], "shape": list(value.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        file.write(tensors[name].tobytes())


def _read_header(file: BinaryIO, size: int, path: Path) -> tuple[dict[str, Any], int]:
    """The entries of the header, without the metadata, and the offset of the first number."""
    if size < 8:
        raise StorageError("too short to be a safetensors file", where=str(path))
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(SMALL, size - 8):
        raise StorageError(f"not safetensors, or damaged: a header of {length} bytes in {size}", where=str(path))
    header = parse_object(file.read(length), str(path), unique=True)
    header.pop("__metadata__", None)
    return header, 8 + length


def _check_offsets(header: Mapping[str, Any], size: int, path: Path) -> None:
    """Raise StorageError unless the tensors fill the `size` bytes exactly, in any order, without gap or overlap."""
    end = 0
    for begin, stop, name in sorted(_extent(name, entry, path) for name, entry in header.items()):
        if begin != end:
            raise StorageError(f"tensor {name} overlaps another or leaves a gap", where=str(path))
        end = stop
    if end != size:
        raise StorageError(f"cut off or damaged: {size} bytes of numbers where {end} are described", where=str(path))


def _extent(name: str, entry: Any, path: Path) -> tuple[int, int, str]:
    """The first byte of a tensor and the byte after its last; StorageError if their distance does not fit its shape."""
    try:
        kind, shape, (begin, stop) = entry["dtype"], list(entry["shape"]), entry["data_offsets"]
        width = np.dtype(_TYPES[kind]).itemsize
    except (TypeError, KeyError, ValueError) as error:
        known = ", ".join(_TYPES)
        raise StorageError(f"tensor {name} is not described properly (types: {known})", where=str(path)) from error
    if not all(type(number) is int and number >= 0 for number in (begin, stop, *shape)):
        raise StorageError(f"tensor {name} has a shape or offsets that are not whole numbers", where=str(path))
    if stop - begin != math.prod(shape) * width:
        raise StorageError(f"tensor {name} has {stop - begin} bytes, which is not its shape {shape}", where=str(path))
    return begin, stop, name


def _read_tensor(file: BinaryIO, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    begin, stop = entry["data_offsets"]
    file.seek(start + begin)
    kind = np.dtype(_TYPES[entry["dtype"]])
    raw: np.ndarray = np.fromfile(file, kind, (stop - begin) // kind.itemsize)
    if entry["dtype"] == "BF16":  # the upper half of a float32
        raw = (raw.astype("<u4") << 16).view("<f4")
    return raw.astype(np.float32 if raw.dtype.kind == "f" else raw.dtype, copy=False).reshape(entry["shape"])
