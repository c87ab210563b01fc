"""Several hosts that train one model: each runs the same command, and they agree wherever they could differ.

They exchange data as sums over all replicas, as gradients are. All hosts must make such a sum, in the same order, so
only the main thread may call this module. A lost host ends the sum with an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rankcli import errors
from rankcli.backend import tf
from rankcli.errors import RankcliError
from rankcli.training.cluster import cluster, explained
from rankcli.training.strategy import Traced

PIECE = 2**24  # bytes per sum

Value = TypeVar("Value")


class Hosts:
    """The hosts of a strategy: a single host, which needs no exchange, or all hosts of a cluster."""

    def __init__(self, strategy: Any = None) -> None:
        self.strategy, self.index, self.count = strategy, 0, 1
        if strategy is not None and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            workers, self.index = cluster()
            self.count = len(workers)
            self._summed = Traced(strategy, self._on_all)

    @property
    def chief(self) -> bool:
        """True on the host whose run directory is kept."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """The number of replicas on each host."""
        return int(self.strategy.num_replicas_in_sync) // self.count

    def part(self, parts: int) -> range:
        """Return this host's share of `parts` equal parts of a batch."""
        each = parts // self.count
        return range(self.index * each, (self.index + 1) * each)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run the body on all hosts, and end it on all; MissingError when a host is lost."""
        if self.count == 1:
            yield
            return
        with explained():
            yield
            self.max_over_hosts(0)

    def max_over_hosts(self, number: int) -> int:
        """Return the largest of the hosts' numbers, which must be at least 0."""
        if self.count == 1:
            return number
        numbers = np.zeros(self.count, np.int64)
        numbers[self.index] = number
        return int(self._sum(numbers).max())

    def all_gather(self, content: bytes) -> list[bytes]:
        """Return the content of every host, in the order of the hosts."""
        if self.count == 1:
            return [content]
        sizes = np.zeros(self.count, np.int64)
        sizes[self.index] = len(content)
        sizes = self._sum(sizes)
        return [self._told(content, int(size), host == self.index) for host, size in enumerate(sizes)]

    def run_on_chief(self, make: Callable[[], Value]) -> Value:
        """Return the result of `make()` on the chief, passed through JSON. If it raises a RankcliError, all hosts raise
        it.
        """
        if self.count == 1:
            return make()
        answer: dict[str, Any] = {}
        if self.chief:
            try:
                answer = {"value": make()}
            except RankcliError as error:
                answer = {"error": [type(error).__name__, error.what, error.where, error.fix]}
        answer = json.loads(self.all_gather(json.dumps(answer).encode() if self.chief else b"")[0])
        if "error" in answer:
            kind, what, where, fix = answer["error"]
            raise getattr(errors, kind)(what, where=where, fix=fix)
        return answer["value"]  # type: ignore[no-any-return]

    def copy_files(self, files: Sequence[str], folder: Path) -> None:
        """Copy the files in the chief's `folder` to the `folder` of every other host."""
        for name in files if self.count > 1 else ():
            path = folder / name
            size = self.max_over_hosts(path.stat().st_size if self.chief else 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb" if self.chief else "wb") as file:
                for begin in range(0, size, PIECE):
                    length = min(PIECE, size - begin)
                    told = self._told(file.read(length) if self.chief else b"", length, self.chief)
                    if not self.chief:
                        file.write(told)

    def _told(self, content: bytes, size: int, mine: bool) -> bytes:
        """Return the `size` bytes that one host sends; `content` is used if it is this host (`mine`)."""
        found = bytearray()
        for begin in range(0, size, PIECE):
            length = min(PIECE, size - begin)
            numbers = np.zeros(-(-length // 8), np.int64)
            if mine:
                numbers.view(np.uint8)[:length] = np.frombuffer(content, np.uint8)[begin : begin + length]
            found += self._sum(numbers).tobytes()[:length]
        return bytes(found)

    def _sum(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the sum of all hosts' arrays, which have the same shape."""
        nothing = np.zeros_like(numbers)
        first = self.index * self.replicas
        given = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(numbers if context.replica_id_in_sync_group == first else nothing)
        )
        return np.asarray(self.strategy.experimental_local_results(self._summed(given))[0].numpy())

    def _on_all(self, given: Any) -> Any:
        def on_replica(value: Any) -> Any:
            # only a tensor that was made here has a device, and the sum depends on its device
            return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(value))

        return self.strategy.run(on_replica, args=(given,))
