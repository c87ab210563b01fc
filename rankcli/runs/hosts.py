"""A training on several hosts, from the side of the run directory: only the first host's is kept."""

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
    """The hosts to train on. Several must find each other before anything else opens a device."""
    return Hosts(make_strategy(strategy) if strategy == "multiworker" else None)


@contextmanager
def common_directory(hosts: Hosts, mirror: Mirror, overwrite: bool) -> Iterator[RunDirectory]:
    """The run directory of a mirror on the first host; on each other one a copy of it, which is removed at the end.

    So every host does the same with its own, finds the same checkpoint, and none has to see another's disk. An error of
    ours in making it is raised on all.
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
    """ConfigError on all hosts, if one of them was given something else than the first."""
    if hosts.count == 1:
        return
    found = [json.loads(content) for content in hosts.all_gather(json.dumps(identity).encode())]
    for host, other in enumerate(found):
        if lines := "".join(f"\n    {line}" for line in differences(found[0], other)):
            raise ConfigError(
                f"host {host} was given something else than host 0:{lines}",
                fix="give all hosts the same config, files and version of rankcli",
            )
