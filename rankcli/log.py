"""Messages, warnings and progress on stderr. Results go to stdout through click."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

LINE_EVERY_S = 5.0  # between two lines of progress, without a terminal, at first
LONGEST_S = 60.0  # between two lines of a long work: a twentieth of its time so far, up to this
DRAW_EVERY_S = 0.1  # between two drawings of the bar, on a terminal
RECENT_S = 20.0  # the rate shown is the mean over this time
MEASURED_S, MEASURED = 2.0, 10  # the remaining time is shown after so many seconds or units, without the first
WIDEST = 120  # columns of a line of progress, on any terminal
BARS = (24, 16, 8)  # lengths of the bar in cells
_CLEAR = "\r\x1b[K"

_quiet = False
_warned: dict[str, None] = {}
_drawn: list[Progress] = []  # bars shown on the terminal, the innermost last


@contextmanager
def quiet() -> Iterator[None]:
    """Print warnings and errors only, without information and progress."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def say(message: str) -> None:
    """Print one line of information on stderr, above the bar if one is shown; nothing while `quiet`."""
    if not _quiet:
        tell(message)


def tell(message: str) -> None:
    """Print one line on stderr that is always shown, above the bar if one is shown."""
    clear = _CLEAR if _drawn else ""
    print(f"{clear}{message}", file=sys.stderr, flush=True)
    if _drawn:
        _drawn[-1].draw()


def say_from_handler(message: str) -> None:
    """Print one line on stderr from a signal handler, past Python's buffers, which may be in use."""
    with suppress(OSError):
        os.write(2, f"{_CLEAR if _drawn else ''}{message}\n".encode())


def warn(message: str) -> None:
    """Print one warning on stderr."""
    _warned[message] = None
    tell(f"warning: {message}")


def warned() -> list[str]:
    """Return the warnings so far, each once; within `collecting_warnings`, those since its start."""
    return list(_warned)


@contextmanager
def collecting_warnings() -> Iterator[None]:
    """Begin a new list of warnings."""
    global _warned
    before, _warned = _warned, {}
    try:
        yield
    finally:
        _warned = before


def _short(seconds: float) -> str:
    """Format seconds in two units at most: `14 s`, `3m20s`, `2h05m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """A bar on a terminal; else a line every few seconds with count, `fields`, rate and remaining time.

    Used as a context manager: `with Progress(total, "tokenising", "texts") as bar: bar.advance(32)`. Parts that do not
    fit into the line are left out: first the rate, then the fields from the last to the first.
    """

    def __init__(self, total: int, label: str, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.label, self.unit, self.clock = total, label, unit, clock
        self.done = 0
        self._fields: dict[str, str] = {}
        self._terminal = False
        self._started = self._shown = clock()
        self.start_here()

    def __enter__(self) -> Progress:
        self._terminal = sys.stderr.isatty() and not _quiet
        if self._terminal:
            _drawn.append(self)
            self.draw()
        return self

    def advance(self, n: int = 1, **fields: str) -> None:
        """Count `n` more units; `fields`, the most important first, are shown after the count."""
        self.done += n
        self._fields = fields
        now = self.clock()
        self._note((now, self.done))
        if now - self._shown < (DRAW_EVERY_S if self._terminal else self._between_lines(now)):
            return
        self._shown = now
        if self._terminal:
            self.draw()
        else:
            say(self.line())

    def _between_lines(self, now: float) -> float:
        return min(max(LINE_EVERY_S, (now - self._started) / 20), LONGEST_S)

    def start_here(self) -> None:
        """Start the rates and the remaining time anew from here; units counted so far do not enter them."""
        self._shown = self.clock()
        self._advances = 0
        self._since = self._shown, self.done
        self._recent = deque([self._since])

    def _note(self, point: tuple[float, int]) -> None:
        """Add a point for the rates. They start after the first advance: a first step compiles, so it is too slow."""
        self._advances += 1
        if self._advances == 2:
            self._since = self._recent[-1]
            self._recent = deque([self._since])
        if len(self._recent) > 1 and point[0] - self._recent[-2][0] < DRAW_EVERY_S:
            self._recent.pop()  # points closer than two drawings would only take memory
        self._recent.append(point)
        while len(self._recent) > 2 and point[0] - self._recent[1][0] >= RECENT_S:
            self._recent.popleft()

    def line(self) -> str:
        """The progress so far as one line of text, of `WIDEST` columns at most unless the label is longer."""
        return _fitting(f"{self.label}: {self.done}/{self.total} {self.unit}", self._parts(), WIDEST)

    def draw(self) -> None:
        """Draw the bar on the terminal's last line: the longest that leaves room for the rest, at least 8 cells."""
        width, parts, share = min(_columns() - 1, WIDEST), self._parts(), self.done / self.total if self.total else 1.0
        heads = [f"{self.label} {_bar(share, cells)} {self.done}/{self.total}" for cells in BARS]
        head = next((head for head in heads if len(", ".join([head, *parts])) <= width), heads[-1])
        print(f"{_CLEAR}{_fitting(head, parts, width)[:width]}", end="", file=sys.stderr, flush=True)

    def _parts(self) -> list[str]:
        """Fields, rate and remaining time; the latter two once enough is measured."""
        fields = [f"{key} {value}" for key, value in self._fields.items()]
        if not self._measured():
            return fields
        recent, overall = _rate(self._recent[0], self._recent[-1]), _rate(self._since, self._recent[-1])
        # Pauses, as for validation, will come again: the remaining time uses the mean rate over the whole time.
        return [*fields, f"{recent:.1f} {self.unit}/s", f"ETA {_short((self.total - self.done) / overall)}"]

    def _measured(self) -> bool:
        """Tell if enough is measured to foretell the rest; the first unit, which may compile, foretells nothing."""
        spent, done = (last - first for first, last in zip(self._since, self._recent[-1], strict=True))
        return self._advances > 1 and (spent >= MEASURED_S or (done >= MEASURED and spent > 0))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._terminal:
            _drawn.remove(self)
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def _rate(start: tuple[float, int], end: tuple[float, int]) -> float:
    spent = end[0] - start[0]
    return (end[1] - start[1]) / spent if spent > 0 else 0.0


def _fitting(head: str, parts: list[str], width: int) -> str:
    """Join head and parts; while they exceed `width` columns, drop the last part but one. The last part stays."""
    kept = [head, *parts]
    while len(kept) > 2 and len(", ".join(kept)) > width:
        del kept[-2]
    return ", ".join(kept)


def _bar(share: float, cells: int) -> str:
    full, empty = ("━", "─") if (sys.stderr.encoding or "").lower().startswith("utf") else ("#", "-")
    filled = min(int(share * cells), cells)
    return full * filled + empty * (cells - filled)


def _columns() -> int:
    """The width of the terminal on stderr; if stderr is none, that of stdout."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns
