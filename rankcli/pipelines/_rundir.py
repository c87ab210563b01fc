"""A run directory: whether it may be used, and what is written into it besides checkpoints and weights."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rankcli import __version__
from rankcli.backend import tf
from rankcli.config.identity import differences
from rankcli.errors import ConfigError, StorageError
from rankcli.log import say
from rankcli.storage.atomic import write_file

TENSORFLOW = ("tensorflow", "tensorflow-tpu", "tensorflow-cpu")  # one module, whichever distribution brought it
NOTED = ("tf-keras", "transformers", "tokenizers", "numpy", "bm25s", "pytrec-eval-terrier")


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise StorageError(f"not JSON: {error}", where=str(path), fix="use another --out, or --overwrite") from error
    return dict(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_file(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def versions() -> dict[str, str]:
    """Versions of what results may depend on."""
    found = {"rankcli": __version__, "python": platform.python_version()}
    tensorflow = next((package for package in TENSORFLOW if installed(package)), TENSORFLOW[0])
    return found | {package: installed(package) or "not installed" for package in (tensorflow, *NOTED)}


def installed(package: str) -> str | None:
    """The version of an installed package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    """The devices that TensorFlow sees here, without opening one."""
    return sorted(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())


def set_aside(out: Path) -> None:
    """Move a run directory to the first free `OUT.old-N`."""
    number = 1
    while (old := out.with_name(f"{out.name}.old-{number}")).exists():
        number += 1
    out.rename(old)
    say(f"{out} was moved to {old}")


class RunDirectory:
    """`OUT` of one training."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def open(
        self, run_id: str, identity: Mapping[str, Any], fastforward: bool, overwrite: bool
    ) -> dict[str, Any] | None:
        """Make the directory ready for this run, new or to be resumed; the result when the run is finished already."""
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError("this is a file", where=str(self.out), fix="give another --out")
        if overwrite and self.out.exists():
            set_aside(self.out)
        if not self.out.exists() or all(".tmp." in path.name for path in self.out.iterdir()):
            self._make()
            return None
        if not fastforward:
            raise ConfigError(
                "the run directory is not empty and fastforward is false", where=str(self.out), fix="use --overwrite"
            )
        self._check_same(run_id, identity)
        return _read_json(self.out / "result.json")

    def _make(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            fix = "give another --out"
            raise ConfigError(f"cannot be made: {error.strerror}", where=str(self.out), fix=fix) from error

    def _check_same(self, run_id: str, identity: Mapping[str, Any]) -> None:
        known = _read_json(self.out / "run.json")
        if known is None:
            raise ConfigError(
                "this directory holds something that is not a run", where=str(self.out), fix="give another --out"
            )
        if known.get("run_id") == run_id:
            return
        lines = "".join(f"\n    {line}" for line in differences(known.get("identity", {}), dict(identity)))
        raise ConfigError(
            f"the directory holds another run ({known.get('run_id')}, wanted {run_id}):{lines}",
            where=str(self.out),
            fix="give another --out, or --overwrite to set the old run aside",
        )

    def describe(
        self, config_yaml: str, run_id: str, identity: Mapping[str, Any], cache_ids: Mapping[str, str]
    ) -> None:
        """Write `run.json`, which makes this a run directory, and `config.yaml`."""
        write_json(
            self.out / "run.json",
            {
                "schema_version": 1,
                "run_id": run_id,
                "cache_ids": dict(cache_ids),
                "command": sys.argv,
                "versions": versions(),
                "devices": _devices(),
                "identity": dict(identity),
            },
        )
        write_file(self.out / "config.yaml", config_yaml.encode())
