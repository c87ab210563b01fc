"""The JSON files of a run directory, written with checksums of themselves and of files beside them, and checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankcli.config.load import load_saved
from rankcli.config.schema import RunConfig
from rankcli.errors import DamageError
from rankcli.evaluation.report import split_table
from rankcli.log import warn
from rankcli.storage.atomic import write_file
from rankcli.storage.noted import Noted, check_noted, noted, noted_bytes
from rankcli.storage.sealed import Kinds, read_checked, with_checksum

RUN, CONFIG, RESULT, MIXTURE, FILES = "run.json", "config.yaml", "result.json", "mixture.json", "files"
_RUN_KINDS: Kinds = {
    "run_id": str,
    "cache_ids": dict,
    "identity": dict,
    "versions": dict,
    "devices": list,
    "command": list,
}
_NUMBER = (int, float)
_RESULT_KINDS: Kinds = {
    "run_id": (str, type(None)),
    "splits": dict,
    "alpha": (*_NUMBER, list),
    "train_seconds": _NUMBER,
    "pairs_per_second": _NUMBER,
}
TRAIN_AGAIN = "run the same `rankcli train` again: it makes the file anew from what is left"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file with a checksum of its content, completely or not at all."""
    write_file(path, (json.dumps(with_checksum(content), indent=2, allow_nan=False) + "\n").encode())


def write_result(out: Path, result: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write `result.json`, with size and checksum of the files that belong to it."""
    write_json(out / RESULT, {**result, FILES: noted(out, files)})


def write_run(out: Path, content: Mapping[str, Any], config: bytes) -> None:
    """Write `run.json`, which makes a folder a run directory, and then `config.yaml`."""
    write_json(out / RUN, {**content, FILES: {CONFIG: noted_bytes(config)}})
    write_file(out / CONFIG, config)


def read_run(out: Path, name: str = "") -> dict[str, Any]:
    """The content of `run.json`; DamageError if it was changed. `name` is the directory in messages."""
    where = f"{name or out}/{RUN}"
    return read_checked(out / RUN, _RUN_KINDS, where=where, fix="use another --out, or --overwrite")


def read_result(out: Path, name: str = "", files: Iterable[str] | None = None) -> dict[str, Any]:
    """The content of `result.json`; DamageError if it or one of its files was changed.

    `files` are those to compare; None for all. An older version has noted none.
    """
    where = f"{name or out}/{RESULT}"
    result = read_checked(out / RESULT, _RESULT_KINDS, where=where, fix=TRAIN_AGAIN)
    known = result.pop(FILES, {})
    try:
        for split in result["splits"].values():
            split_table(split)
        if result["run_id"] is not None:
            _ = [each["iter"] + 0 for each in result["best"].values()]
        wanted: Noted = {each: known[each] for each in known if files is None or each in files}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamageError(f"not the result of a training: {error!r}", where=where, fix=TRAIN_AGAIN) from error
    check_noted(out, wanted, TRAIN_AGAIN)
    return result


def read_config(out: Path) -> RunConfig:
    """The config of a run directory. A warning says, once, that it was changed after the training."""
    _warn_of_change(out.absolute())
    return load_saved(out / CONFIG)


@functools.cache
def _warn_of_change(out: Path) -> None:
    if not (out / RUN).is_file():
        return
    try:
        check_noted(out, read_checked(out / RUN, {}).get(FILES, {}))
    except DamageError as error:
        warn(f"{error.where}: {error.what}; the training had another one")
