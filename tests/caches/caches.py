"""The caches of the tiny collection, to be listed, spoiled, verified and pruned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rankcli.cli import run
from rankcli.records.lookup import load
from rankcli.records.manifest import Manifest
from rankcli.runs.records import records_storage
from rankcli.storage.base import Storage, is_remote

ROOT = Path(__file__).parents[2]
DAY = 86400
SAMPLES = {"train": 24, "dev": 4, "test": 4}
SHARDS = {"train": 8, "dev": 4, "test": 4}

Said = tuple[int, str, str]


def json_of(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    """The JSON that a command prints."""
    capsys.readouterr()
    assert run([*args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


class Caches:
    """The caches of the tiny collection's three splits, at `uri`; `run` types a command and gives what it said."""

    def __init__(self, folder: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.uri, self._capsys = folder, uri, capsys
        self.storage: Storage = records_storage(uri)
        elsewhere = [f"trainer.storage={uri}"] if is_remote(uri) else []
        done = self.json("convert", "--config", str(folder / "crossencoder.yaml"), *elsewhere)
        for path in (folder / "cache").glob("[dfi]*-*"):  # documents, first stage, hashes: `test_derived.py` is of them
            path.unlink()
        self.at = {split: f"{done[split]['cache_id']}/1" for split in SAMPLES}
        self.bytes = {split: done[split]["bytes"] for split in SAMPLES}

    def run(self, *args: str) -> Said:
        self._capsys.readouterr()
        code = run([*args])
        return code, *self._capsys.readouterr()

    def cache(self, *args: str) -> Said:
        return self.run("cache", *args, "--storage", self.uri)

    def json(self, *args: str) -> Any:
        return json.loads(self.run(*args, "--json")[1])

    def listed(self) -> dict[str, Any]:
        """The line of `ls` for each cache, by its name."""
        found = self.json("cache", "ls", "--storage", self.uri)["caches"]
        return {f"{each['cache_id']}/{each['generation']}": each for each in found}

    def manifest(self, split: str = "train") -> Manifest:
        return load(self.storage, self.at[split])

    def path(self, split: str = "train", name: str = "") -> Path:
        """A file of a cache on the local disk."""
        return Path(self.storage.uri, self.at[split], name)

    def shard(self, number: int, split: str = "train") -> Path:
        """A shard on the local disk, by its place in the manifest."""
        return self.path(split, self.manifest(split).shards[number].name)

    def tree(self) -> dict[str, bytes]:
        """All files of a local storage but for locks."""
        root = Path(self.storage.uri)
        files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in ("lock", "hold"))
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def age(self, split: str, days: float) -> None:
        """Make a local cache look last used so many days ago."""
        then = time.time() - days * DAY
        for path in self.path(split).rglob("*"):
            os.utime(path, (then, then))


@contextmanager
def another_process(statement: str) -> Iterator[None]:
    """A process that has the context manager `statement` of LocalStorage `s` until the block ends."""
    root, statement = statement.split("|")
    code = f"""
import sys
from pathlib import Path
from rankcli.storage.local import LocalStorage
s = LocalStorage(Path({root!r}))
with {statement}:
    print("READY", flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "READY\n"
        yield
    finally:
        process.communicate()


def but_sources(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in tree.items() if "source" not in name}


def removed(text: str) -> list[str]:
    return [line.split(",")[0].split()[-1] for line in text.splitlines() if line.startswith("removed")]
