"""Problems of a configuration and their places: collected first, then raised as one error."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rankcli.errors import ConfigError

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """The place of a value: a file and line, or the command line (line 0). Relative paths there start at `base`."""

    source: str
    line: int = 0
    base: Path | None = None

    def __str__(self) -> str:
        """`file:line`, or the source alone."""
        return f"{self.source}:{self.line}" if self.line else self.source


class Problem(NamedTuple):
    """One problem of a configuration: its place, its key and a sentence."""

    place: Place
    keys: Keys
    what: str

    def __str__(self) -> str:
        """`file:line: key: what`."""
        return ": ".join(part for part in (str(self.place), ".".join(self.keys), self.what) if part)


def fail_on(problems: Iterable[Problem], sections: Collection[str] = ()) -> None:
    """Raise one ConfigError that lists all `problems` by line; of several at one place and key, the first.

    It names the command that explains the section of the first problem, if that is among `sections`.
    """
    first: dict[tuple[Place, tuple[str, ...]], Problem] = {}
    for problem in problems:
        first.setdefault((problem.place, problem.keys), problem)
    found = sorted(first.values(), key=lambda p: (p.place.source, p.place.line))
    section = next((problem.keys[0] for problem in found if problem.keys and problem.keys[0] in sections), "")
    fix = f"see: rankcli modules {section}".strip() if sections else ""
    if len(found) == 1:
        raise ConfigError(str(found[0]), fix=fix)
    if found:
        raise ConfigError("\n  ".join([f"{len(found)} errors in the configuration:", *map(str, found)]), fix=fix)
