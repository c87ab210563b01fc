"""The weights of a model directory: safetensors read and written, `tf_model.h5` read. Pickles are never opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rankcli.errors import MissingError, StorageError
from rankcli.storage.atomic import replacing_file
from rankcli.storage.disk import guard
from rankcli.storage.json_files import read_object, small_file
from rankcli.text import _h5, _safetensors
from rankcli.text._tensors import Tensors, shapes_of

__all__ = ["Tensors", "open_tensors", "read_tensors", "shapes_of", "small_file", "write_tensors"]

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
H5_FILE = "tf_model.h5"
PICKLE_FILES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

Arrays = dict[str, np.ndarray]


def open_tensors(directory: Path) -> Tensors:
    """The tensors of a model directory by Hugging Face name, floating ones as float32, each read when it is accessed.

    Looks for `model.safetensors`, its sharded form, then `tf_model.h5`. MissingError if none is found, with the command
    that converts a pickle if one is there; StorageError for a damaged or inconsistent file.
    """
    if (directory / WEIGHTS_FILE).exists():
        return _safetensors.opened(directory / WEIGHTS_FILE)
    if (directory / INDEX_FILE).exists():
        return _open_shards(directory)
    if (directory / H5_FILE).exists():
        return _h5.opened(directory / H5_FILE)
    raise _nothing_readable(directory)


def read_tensors(directory: Path) -> Arrays:
    """All tensors of a model directory at once."""
    return dict(open_tensors(directory))


def write_tensors(
    directory: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] = {}, file: str = WEIGHTS_FILE
) -> None:
    """Write `model.safetensors`, marked so that transformers opens it; the file appears whole or not at all."""
    final = directory / file
    with guard(final), replacing_file(final) as partial, open(partial, "wb") as opened:
        _safetensors.write(opened, tensors, {"format": "pt", **metadata})


def _open_shards(directory: Path) -> Tensors:
    index = directory / INDEX_FILE
    shard_of = read_object(index, unique=True).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(shard, str) for shard in shard_of.values()):
        raise StorageError("no map of weights to shards", where=str(index))
    shards = {shard: _safetensors.opened(_shard(directory, shard)) for shard in sorted(set(shard_of.values()))}
    held = [(name, tensors) for tensors in shards.values() for name in tensors]
    found = dict(held)
    if len(found) < len(held):
        raise StorageError("two shards hold a weight of the same name", where=str(index))
    if absent := sorted(set(shard_of) - set(found)):
        raise StorageError(f"no shard holds {', '.join(absent[:5])}", where=str(index))
    return Tensors({name: tensors.shapes[name] for name, tensors in held}, lambda name: found[name][name])


def _shard(directory: Path, shard: str) -> Path:
    """The shard file that an index names, from the same directory. Links out of it are refused, except those of the
    hub's cache.
    """
    index, path = str(directory / INDEX_FILE), directory / shard
    if not re.fullmatch(r"\w[\w.-]*", shard):
        raise StorageError(f"shard {shard!r} is not the plain name of a file beside the index", where=index)
    if not path.exists():
        raise MissingError(f"shard {shard} is missing", where=index, fix="copy or download the model again")
    home = directory.resolve()
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    if path.resolve().parent not in homes:
        raise StorageError(f"shard {shard} is a link to elsewhere, which is not followed", where=index)
    return path


def _nothing_readable(directory: Path) -> MissingError:
    pickles = [name for name in PICKLE_FILES if (directory / name).exists()]
    if not pickles:
        wanted = f"{WEIGHTS_FILE} or {H5_FILE}"
        return MissingError(f"no {wanted} here", where=str(directory), fix="give a directory that holds a model")
    place = repr(str(directory))
    command = (
        f"import transformers as t; kind = t.AutoConfig.from_pretrained({place}).architectures[0]; "
        f"getattr(t, kind).from_pretrained({place}).save_pretrained({place})"
    )
    return MissingError(
        f"the weights are a pickle ({pickles[0]}), which can run code and is never opened",
        where=str(directory),
        fix=f'if you trust where they come from, convert them with transformers and torch:\n     python -c "{command}"',
    )
