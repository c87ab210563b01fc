"""`tf_model.h5`: the weights of Hugging Face's TensorFlow models, by the names of the PyTorch models."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.errors import StorageError
from rankcli.storage.json_files import open_regular
from rankcli.text._tensors import Tensors

_RENAMED = {"kernel": "weight", "gamma": "weight", "embeddings": "weight", "beta": "bias"}


def opened(path: Path) -> Tensors:
    """Every dataset of the file by its PyTorch name, kernels as [out, in], floating ones as float32.

    StorageError on a file that is damaged, links elsewhere or claims more numbers than it has bytes.
    """
    import h5py

    open_regular(path).close()
    with _readable(path):
        file = h5py.File(path, "r")
    try:
        with _readable(path):
            datasets = [_named(full, dataset) for full, dataset in _datasets(file["/"], path)]
        found = dict(datasets)
        if len(found) < len(datasets):
            raise StorageError("two of its datasets are the same weight", where=str(path))
    except BaseException:
        file.close()
        raise

    def read(name: str) -> np.ndarray:
        with _readable(path):
            return _oriented(*found[name])

    shapes = {n: dataset.shape[::-1] if turned else dataset.shape for n, (dataset, turned) in found.items()}
    tensors = Tensors(shapes, read)
    weakref.finalize(tensors, file.close)
    return tensors


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"not a readable HDF5 file: {error}", where=str(path)) from error


def _datasets(root: Any, path: Path) -> list[tuple[str, Any]]:
    """Each dataset with its full name; only the file's own entries are followed, no links."""
    budget = path.stat().st_size  # these files are not compressed, so a larger size is forged
    found: list[tuple[str, Any]] = []
    pending, seen = [("", root)], {root}
    while pending:
        at, group = pending.pop()
        for name in group:
            full = f"{at}/{name}"
            child = _own(group, name, full, path)
            if child in seen:  # a group within itself would never end
                raise StorageError(f"{full} is in the file under two names", where=str(path))
            seen.add(child)
            if hasattr(child, "keys"):
                pending.append((full, child))
                continue
            budget -= math.prod(child.shape) * child.dtype.itemsize
            if budget < 0:
                raise StorageError(f"{full} claims more numbers than the file holds", where=str(path))
            found.append((full, child))
    return found


def _own(group: Any, name: str, full: str, path: Path) -> Any:
    """The group or dataset of that name; StorageError if its numbers are not in this file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise StorageError(f"{full} is a link to elsewhere, which is never followed", where=str(path))
    child = group[name]
    if isinstance(child, h5py.Dataset) and (child.external or child.is_virtual or child.dtype.kind not in "fiu"):
        raise StorageError(f"{full} is not plain numbers of this file", where=str(path))
    return child


def _named(full: str, dataset: Any) -> tuple[str, tuple[Any, bool]]:
    """The PyTorch name of a Keras weight, its dataset, and True if that must be transposed.

    `/bert/tf_bert_model/bert/encoder/layer_._0/output/dense/kernel:0` is `bert.encoder.layer.0.output.dense.weight`:
    first the group, then the model's class, then the path, where `_._` comes before the number of a layer.
    """
    group, *parts = full.strip("/").removesuffix(":0").split("/")
    start = parts.index(group) if group in parts else 1
    *scope, last = "/".join(parts[start:]).replace("_._", "/").split("/")
    return ".".join([*scope, _RENAMED.get(last, last)]), (dataset, last == "kernel")


def _oriented(dataset: Any, turned: bool) -> np.ndarray:
    value = np.asarray(dataset[()])
    kind = np.float32 if value.dtype.kind == "f" else value.dtype
    return np.ascontiguousarray(value.T if turned else value, kind)
