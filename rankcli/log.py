"""What is said on stderr: messages, warnings, progress. Results go to stdout through click."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

LINE_EVERY_S = 5.0  # without a terminal, progress is a line at this interval


def say(message: str) -> None:
    """Print one line of information on stderr."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Print one warning on stderr."""
    say(f"warning: {message}")


class Progress:
    """A bar on a terminal; else a line every few seconds with count, rate, remaining time and `fields`.

    Used as a context manager: `with Progress(total, "tokenising", "texts") as bar: bar.advance(32)`.
    """

    def __init__(self, total: int, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.label, self.unit, self.clock = total, label, unit, clock
        self.done = self._before = 0
        self._bar: Any = None
        self._start = self._last = clock()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=self.total, desc=self.label, unit=f" {self.unit}", leave=False, file=sys.stderr)
        return self

    def advance(self, n: int = 1, **fields: str) -> None:
        """Count `n` more units; `fields` are shown beside the rate."""
        self.done += n
        if self._bar is not None:
            self._bar.set_postfix(fields, refresh=False)
            self._bar.update(n)
        elif self.clock() - self._last >= LINE_EVERY_S:
            self._last = self.clock()
            say(self.line(**fields))

    def start_here(self) -> None:
        """Take what is done so far as done before: rates and remaining time count from now."""
        self._before, self._start = self.done, self.clock()

    def line(self, **fields: str) -> str:
        """The progress so far as one line of text."""
        spent = max(self.clock() - self._start, 1e-9)
        rate = (self.done - self._before) / spent
        eta = f"{(self.total - self.done) / rate:.0f} s" if rate else "?"
        extra = "".join(f", {key} {value}" for key, value in fields.items())
        return f"{self.label}: {self.done}/{self.total} {self.unit}{extra}, {rate:.1f} {self.unit}/s, ETA {eta}"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()
