"""A training that stops once it has used so many seconds of its processor: CONFIG OUT SECONDS.

Seconds of the processor, of all threads, go by work done and not by what else the machine does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rankcli.config.load import load_config
from rankcli.config.registry import LISTENERS, option
from rankcli.listeners.base import Entry, Listener, ListenerContext, Moment, Vote
from rankcli.verbs.train import train


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Votes to stop once the iterations together took so many seconds of the processor."""

    version: ClassVar[int] = 1
    seconds: float = option(60.0, "of the processor, all threads together, validations left out")

    def build(self, ctx: ListenerContext) -> Listener:
        """Build the listener."""
        return Spender(self)


class Spender(Listener):
    """Adds up what each iteration took."""

    def __init__(self, options: Budget) -> None:
        self.options, self.spent, self.start = options, 0.0, 0.0

    def start_iteration(self, now: Moment) -> None:
        """Look at the clock."""
        self.start = time.process_time()

    def end_iteration(self, now: Moment, entry: Entry) -> None:
        """Add the iteration."""
        self.spent += time.process_time() - self.start

    def vote(self) -> Vote:
        """Vote to stop when the budget is spent."""
        return Vote.STOP if self.spent >= self.options.seconds else Vote.NO_DECISION

    def reason(self) -> str:
        """Return what was spent."""
        return f"{self.spent:.0f} s of the processor"

    def state(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"spent": self.spent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from these seconds."""
        self.spent = float(state["spent"])


if __name__ == "__main__":
    LISTENERS.register("budget")(Budget)
    path, out, seconds = sys.argv[1:]
    config, *_ = load_config([path], [f"trainer.listeners=[validation, {{name: budget, seconds: {seconds}}}]"])
    train(config, out=Path(out))
