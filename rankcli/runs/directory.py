"""A run directory, on disk or in a bucket: checks before use, and its files other than checkpoints and weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.config.identity import differences
from rankcli.errors import ConfigError, DamageError
from rankcli.log import say, warn
from rankcli.runs.written import RESULT, RUN, read_result, read_run, write_run
from rankcli.storage.claim import LOCK, claimed
from rankcli.storage.disk import guard
from rankcli.storage.mirror import Mirror
from rankcli.storage.scratch import sweep_tree
from rankcli.versions import installed, versions

TENSORFLOW = ("tensorflow", "tensorflow-tpu", "tensorflow-cpu")  # one module, whichever distribution installed it
NOTED = ("tf-keras", "transformers", "tokenizers", "numpy", "bm25s", "pytrec-eval-terrier")


def result_versions() -> dict[str, str]:
    """Return the versions of all packages that results may depend on."""
    tensorflow = next((package for package in TENSORFLOW if installed(package)), TENSORFLOW[0])
    return versions(tensorflow, *NOTED)


def _devices() -> list[str]:
    """List the devices that TensorFlow sees on this machine, without opening one."""
    return sorted(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())


@contextmanager
def run_directory(mirror: Mirror, overwrite: bool = False) -> Iterator[RunDirectory]:
    """Claim the run directory of a mirror for this process; `overwrite` first moves an existing one to `OUT.old-N`.

    ConfigError where another process has claimed it.
    """
    if overwrite and mirror.exists():
        say(f"{mirror.uri} was moved to {mirror.set_aside()}")
    with mirror.claimed():
        yield RunDirectory(mirror.path, mirror.uri, mirror.push)


@dataclass(frozen=True)
class RunDirectory:
    """`OUT` of one training: the folder `out`, called `name` in messages. `sync` uploads new files where `OUT` is in a
    bucket.
    """

    out: Path
    name: str
    sync: Callable[[], None]

    @contextmanager
    def fold(self, number: int) -> Iterator[RunDirectory]:
        """Claim the run directory of one fold for this process."""
        out, name = self.out / f"fold-{number}", f"{self.name}/fold-{number}"
        with guard(out):
            out.mkdir(exist_ok=True)
        with claimed(out, name):
            yield RunDirectory(out, name, self.sync)

    def open(self, run_id: str, identity: Mapping[str, Any], fastforward: bool) -> dict[str, Any] | None:
        """Check that the directory is new or belongs to this run. Return the result if the run is finished, else None.

        Remove the temporary files of a killed run. ConfigError where the directory belongs to another run, or where it
        is not empty and `fastforward` is false.
        """
        if all(".tmp." in path.name for path in self.out.iterdir()):
            self._sweep()
            return None
        if not fastforward:
            raise ConfigError(
                "the run directory is not empty and fastforward is false", where=self.name, fix="use --overwrite"
            )
        self._check_same(run_id, identity)
        self._sweep()
        return self._result()

    def _sweep(self) -> None:
        with guard(self.out):
            sweep_tree(self.out, spared=LOCK)

    def _result(self) -> dict[str, Any] | None:
        """Return the result of a finished run. One that was damaged is made again, since all that it needs is left."""
        if not (self.out / RESULT).exists():
            return None
        try:
            return read_result(self.out, self.name)
        except DamageError as error:
            warn(f"{error.where}: {error.what}; the test is made again")
            (self.out / RESULT).unlink()
            return None

    def _check_same(self, run_id: str, identity: Mapping[str, Any]) -> None:
        if not (self.out / RUN).exists():
            raise ConfigError(
                "this directory holds something that is not a run", where=self.name, fix="give another --out"
            )
        known = read_run(self.out, self.name)
        if known["run_id"] == run_id:
            return
        lines = "".join(f"\n    {line}" for line in differences(known["identity"], dict(identity)))
        raise ConfigError(
            f"the directory holds another run ({known['run_id']}, wanted {run_id}):{lines}",
            where=self.name,
            fix=f"give another --out (--init-from {self.name} starts from its weights), or --overwrite to set the old "
            "run aside",
        )

    def describe(
        self, config_yaml: str, run_id: str, identity: Mapping[str, Any], cache_ids: Mapping[str, str]
    ) -> None:
        """Write `run.json`, which makes this a run directory, and `config.yaml`, and sync them."""
        content = {
            "schema_version": 1,
            "run_id": run_id,
            "cache_ids": dict(cache_ids),
            "command": sys.argv,
            "versions": result_versions(),
            "devices": _devices(),
            "identity": dict(identity),
        }
        write_run(self.out, content, config_yaml.encode())
        self.sync()
