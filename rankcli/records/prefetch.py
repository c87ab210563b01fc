"""Work done ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
_POLL_S = 0.1


def prefetch(items: Iterable[Item], ahead: int = 3) -> Generator[Item, None, None]:
    """Yield `items`; up to `ahead` of them are made in advance in a thread. An error comes after the items before it.

    The thread starts at the first `next` and ends when this iterator is closed, garbage collected or used up.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(ahead)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(iter(items), made, stopped), daemon=True)
    thread.start()
    try:
        while True:
            kind, item = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
    finally:
        stopped.set()
        if thread is not threading.current_thread():  # the garbage collector may close this iterator from there
            thread.join()


def _produce(items: Iterator[Any], made: queue.Queue[tuple[str, Any]], stopped: threading.Event) -> None:
    try:
        for item in items:
            if not _put(made, ("item", item), stopped):
                return
        _put(made, ("end", None), stopped)
    except BaseException as error:
        _put(made, ("error", error), stopped)
    finally:
        close = getattr(items, "close", None)  # closes files that a generator has open, here and not at some later time
        if close is not None:
            close()


def _put(made: queue.Queue[tuple[str, Any]], entry: tuple[str, Any], stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            made.put(entry, timeout=_POLL_S)
            return True
        except queue.Full:
            continue
    return False
