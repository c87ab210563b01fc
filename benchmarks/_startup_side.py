"""A command of rankcli up to its first training step or score, with the seconds of its parts.

    python -m benchmarks._startup_side BEGAN COMMAND ARGUMENT...

BEGAN is the time at which the command was given. Prints one line of JSON and stops where the first step or score is
there, as SIGTERM stops it.
"""

from __future__ import annotations

import functools
import importlib
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

PARTS = (  # what is called by whom, and what it is a part of
    ("rankcli.backend", "tf._load", "tensorflow"),
    ("rankcli.backend", "tfr._load", "tensorflow_ranking"),
    ("rankcli.config.load", "load_config", "config"),
    ("rankcli.runs.prepare", "prepare", "inputs"),
    ("rankcli.runs.prepare", "hashes_of_models", "inputs"),
    ("rankcli.runs.records", "RecordSets._use", "records"),
    ("rankcli.training.loop", "Loop.__init__", "build"),
    ("rankcli.training.checkpoint", "Checkpoints.restore", "restore"),
    ("rankcli.training.loop", "Loop._validate", "validation"),
    ("rankcli.training.step", "TrainingStep.__call__", "first step"),
    ("rankcli.verbs.rerank", "Reranking.__init__", "build"),
    ("rankcli.verbs.rerank", "Reranking.__call__", "records"),
)


class Parts:
    """Seconds by part. What runs inside another part counts for itself alone."""

    def __init__(self, began: float) -> None:
        self.seconds: dict[str, float] = {}
        self._began = self._since = began
        self._inside = ["interpreter"]

    def turn_to(self, part: str) -> None:
        """From now on the time goes into `part`, for good."""
        self._lap()
        self._inside[-1] = part

    def timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """`function`, the time of which goes into `part`."""

        @functools.wraps(function)
        def timing(*args: Any, **kwargs: Any) -> Any:
            self._lap()
            self._inside.append(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._lap()
                self._inside.pop()

        return timing

    def tell(self) -> None:
        """Print what was found."""
        self._lap()
        seconds = {part: round(spent, 3) for part, spent in self.seconds.items()}
        print(json.dumps({"total": round(self._since - self._began, 3), **seconds}), flush=True)

    def _lap(self) -> None:
        now = time.time()
        self.seconds[self._inside[-1]] = self.seconds.get(self._inside[-1], 0.0) + now - self._since
        self._since = now


def wrap(module: str, path: str, wrapper: Callable[[Any], Any]) -> None:
    """Replace a function of a module, which may be a method, by what `wrapper` makes of it."""
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, name, wrapper(getattr(owner, name)))


def stopping(parts: Parts, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, after whose first call what was found is told and the process is asked to end: training saves."""
    told = False

    def called(*args: Any, **kwargs: Any) -> Any:
        nonlocal told
        result = function(*args, **kwargs)
        if not told:  # a thread may call again until the main one hears the signal
            told = True
            parts.tell()
            signal.raise_signal(signal.SIGTERM)
        return result

    return called


def main() -> None:
    """Run the command."""
    began, command, *_ = sys.argv[1:]
    parts = Parts(float(began))
    parts.turn_to("modules")
    for module, path, part in PARTS:
        wrap(module, path, functools.partial(parts.timed, part=part))
    if command == "train":
        wrap("rankcli.training.step", "TrainingStep.__call__", functools.partial(stopping, parts))
    else:

        def first_score(make: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *args: stopping(parts, parts.timed(make(*args), "first score"))

        wrap("rankcli.training.predict", "prediction_step", first_score)
        # of two batches at once it could not be told which is the first
        wrap("rankcli.training.predict", "IN_FLIGHT", lambda _: 1)
    parts.turn_to("other")
    from rankcli.cli import main as rankcli

    rankcli(sys.argv[2:])


if __name__ == "__main__":
    main()
