"""The model's variables in a checkpoint, read without building a model: shapes first, values on demand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.weights import listed
from rankcli.errors import StorageError
from rankcli.text.weights import Tensors

_BEFORE, _BEHIND = "model/by_path/", "/.ATTRIBUTES/VARIABLE_VALUE"


def open_variables(checkpoint: Path) -> Tensors:
    """Open the variables of a checkpoint by path. StorageError where TensorFlow cannot read the files."""
    keys: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    reader = _readable(checkpoint, lambda: tf.train.load_checkpoint(str(checkpoint / "ckpt")))
    for key, shape in _readable(checkpoint, reader.get_variable_to_shape_map).items():
        if key.startswith(_BEFORE) and key.endswith(_BEHIND):
            path = _unescaped(key.removeprefix(_BEFORE).removesuffix(_BEHIND))
            keys[path], shapes[path] = key, tuple(shape)

    def read(path: str) -> np.ndarray:
        value: np.ndarray = _readable(checkpoint, lambda: np.asarray(reader.get_tensor(keys[path])))
        return value

    return Tensors(shapes, read)


def assign_variables(checkpoint: Path, variables: Mapping[str, Any]) -> None:
    """Set all variables; StorageError, with nothing set, where one is missing or has another shape."""
    found = open_variables(checkpoint)
    faults = [f"{path} is missing" for path in variables if path not in found]
    faults += [
        f"{path} has shape {list(found.shapes[path])}, not {variable.shape.as_list()}"
        for path, variable in variables.items()
        if path in found and found.shapes[path] != tuple(variable.shape)
    ]
    if faults:
        raise StorageError(f"the checkpoint does not fit the model: {listed(faults)}", where=str(checkpoint))
    for path, value in {path: found[path] for path in variables}.items():
        variables[path].assign(value)


def _unescaped(name: str) -> str:
    """Undo TensorFlow's escapes: `.S` for `/` and `..` for `.`."""
    return ".".join(part.replace(".S", "/") for part in name.split(".."))


def _readable(checkpoint: Path, read: Any) -> Any:
    try:
        return read()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StorageError(f"not a readable checkpoint: {reason}", where=str(checkpoint)) from error
