"""A collection to convert, the command line run on it, and what it leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SYLLABLES = [a + b + c for a in "bcdfg" for b in "aeiou" for c in ("n", "nd", "r", "l", "st")]
CONFIG = """\
data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}
reranker: {name: crossencoder, encoder: {layers: 1, hidden: 16, heads: 2, intermediate: 32, dropout: 0.1}}
extractor: {name: passage, maxseqlen: 24, maxqlen: 6, vocab_size: 200}
sampler: {name: LCE, nneg: 3}
trainer: {batch: 2, niters: 2, itersize: 400, threshold: 10, testthreshold: 20, strategy: cpu}
"""

NOT_OURS = ("lock", "hold", "input-hashes", "input-hashes.lock")  # locks, and a memo of the inputs


def counts(name: str, small: Iterable[Any], full: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrise `name`: `small` is always run, `full` only where slow tests are."""
    return pytest.mark.parametrize(name, [*small, *(pytest.param(value, marks=pytest.mark.slow) for value in full)])


def write_collection(folder: Path) -> None:
    """400 documents of 30 words, 30 queries of three words of their document."""
    draw = random.Random(5)
    docs = [draw.choices(SYLLABLES, k=30) for _ in range(400)]
    queries = [draw.sample(sorted(set(words)), 3) for words in docs[:30]]
    _write_texts(folder / "docs.jsonl", {f"d{n}": " ".join(words) for n, words in enumerate(docs)})
    _write_texts(folder / "queries.jsonl", {f"q{n}": " ".join(words) for n, words in enumerate(queries)})
    (folder / "qrels.txt").write_text("".join(f"q{n} 0 d{n} 1\n" for n in range(len(queries))))
    (folder / "config.yaml").write_text(CONFIG)


def _write_texts(path: Path, texts: dict[str, str]) -> None:
    rows = (json.dumps({"_id": name, "title": "", "text": text}) for name, text in texts.items())
    path.write_text("".join(f"{row}\n" for row in rows))


class Project:
    """A collection and a cache: commands run on it in processes of their own, with small shards."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        self._started: list[subprocess.Popen[str]] = []

    @property
    def records(self) -> Path:
        """The folder of the caches."""
        return self.cache / "records"

    @property
    def location(self) -> Path:
        """The only cache, also one that is not finished."""
        (found,) = self.records.glob("*/1")
        return found

    def start(
        self,
        *args: str,
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
        prefix: tuple[str, ...] = (),
        cwd: Path | None = None,
    ) -> subprocess.Popen[str]:
        """A command begun, in a process group of its own; `before` runs in the new process first."""
        command = [*prefix, sys.executable, "-m", "tests.faults.command", *args]
        if args[0] in ("convert", "train"):
            command += ["--config", str(self.folder / "config.yaml")]
        given = {"PYTHONPATH": str(ROOT), "RANKCLI_CACHE": str(self.cache), "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(
            command,
            cwd=cwd or self.folder,
            env={**os.environ, **given, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=before,
        )
        self._started.append(process)
        return process

    def run(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """A command run to its end."""
        process = self.start(*args, **options)
        stdout, stderr = process.communicate(timeout=600)
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)

    def end(self) -> None:
        """Kill what still runs of what was started."""
        for process in self._started:
            if process.poll() is None:
                kill(process)

    def tree(self) -> dict[str, bytes]:
        """The files of the records, with their content."""
        return contents(self.records)

    def names(self) -> set[str]:
        """The names of everything in the cache but locks, records' ids included."""
        found = (path for path in self.cache.rglob("*") if path.name not in NOT_OURS)
        return {str(path.relative_to(self.cache)) for path in found}


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and those that it has started, and wait for its end."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def contents(root: Path) -> dict[str, bytes]:
    """All files below `root` but locks, with their content."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name not in NOT_OURS)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
