"""The run directory of a training on several hosts: only the first host's is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rankcli.config.identity import differences
from rankcli.errors import ConfigError
from rankcli.runs.directory import RunDirectory, run_directory
from rankcli.storage.atomic import TEMPORARY
from rankcli.storage.mirror import Mirror
from rankcli.storage.scratch import scratch
from rankcli.training.hosts import Hosts
from rankcli.training.strategy import make_strategy


def hosts_of(strategy: str) -> Hosts:
    """Return the hosts to train on. Several hosts must find each other before anything else opens a device."""
    return Hosts(make_strategy(strategy) if strategy == "multiworker" else None)


@contextmanager
def common_directory(hosts: Hosts, mirror: Mirror, overwrite: bool) -> Iterator[RunDirectory]:
    """Yield the run directory of a mirror on the first host, and a temporary copy of it on every other host.

    So every host works on its own directory, finds the same checkpoint, and needs no access to another host's disk. A
    RankcliError while the directory is claimed is raised on all hosts.
    """
    with ExitStack() as stack:
        if hosts.chief:
            claimed: list[RunDirectory] = []

            def claim() -> list[str]:
                claimed.append(stack.enter_context(run_directory(mirror, overwrite)))
                return _files(claimed[0].out)

            files = hosts.run_on_chief(claim)
            directory = claimed[0]
        else:
            files = hosts.run_on_chief(list)
            folder = stack.enter_context(scratch(mirror.root / "runs", "host")) / "run"
            folder.mkdir()
            directory = RunDirectory(folder, mirror.uri, lambda: None)
        hosts.copy_files(files, directory.out)
        yield directory


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if f".{TEMPORARY}" not in f".{name}")


def check_same(hosts: Hosts, identity: Mapping[str, Any]) -> None:
    """Raise ConfigError on all hosts if the identity of one of them differs from the first host's."""
    if hosts.count == 1:
        return
    found = [json.loads(content) for content in hosts.all_gather(json.dumps(identity).encode())]
    for host, other in enumerate(found):
        if lines := "".join(f"\n    {line}" for line in differences(found[0], other)):
            raise ConfigError(
                f"host {host} was given something else than host 0:{lines}",
                fix="give all hosts the same config, files and version of rankcli",
            )
