"""A listener that writes down what it hears, and votes as it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from rankcli.config.registry import LISTENERS
from rankcli.listeners.base import Listener, ListenerContext, Moment, Vote

HEARD: list[str] = []
EVENTS = (
    *("before_initialisation", "after_initialisation", "restore", "start_training", "start_iteration"),
    *("end_iteration", "before_validation", "after_validation", "vote", "end_training"),
)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Options: the iterations after which it votes to stop, and not to stop."""

    version: ClassVar[int] = 1
    stop: tuple[int, ...] = ()
    dont: tuple[int, ...] = ()

    def build(self, ctx: ListenerContext) -> Listener:
        return Recorder(self, ctx)


class Recorder(Listener):
    """Notes every event with the iteration it is told."""

    def __init__(self, options: Recording, ctx: ListenerContext) -> None:
        self.options, self.ctx, self.iteration = options, ctx, 0
        for event in EVENTS:
            setattr(self, event, self.noting(event, getattr(self, event)))

    def noting(self, event: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            moment = args[0] if args and isinstance(args[0], Moment) else None
            HEARD.append(f"{event} {moment.iteration}" if moment else event)
            self.iteration = moment.iteration if moment else self.iteration
            return act(*args)

        return noted

    def vote(self) -> Vote:
        if self.iteration in self.options.dont:
            return Vote.DONT_STOP
        return Vote.STOP if self.iteration in self.options.stop else Vote.NO_DECISION

    def reason(self) -> str:
        return f"{self.ctx.name} was told to"

    def state(self) -> dict[str, Any]:
        return {"iteration": self.iteration}

    def restore(self, state: Any) -> None:
        self.iteration = state["iteration"]

    def result(self) -> dict[str, Any]:
        return {"iteration": self.iteration}


def registered(monkeypatch: Any) -> None:
    """Make it known for one test."""
    LISTENERS.names()
    monkeypatch.setitem(LISTENERS._options, "recording", Recording)
    HEARD.clear()
