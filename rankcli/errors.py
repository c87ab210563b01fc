"""The errors a user can meet, and the exit code of each.

Every message says what happened, where, why, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable


class RankcliError(Exception):
    """A failure that is explained to the user; anything else is a bug of ours (exit 1).

    `what` is one sentence; `where` a file:line, a configuration path or a shard; `fix` the next thing to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f"\n  -> {self.fix}" if self.fix else ""
        return f"{place}{self.what}{remedy}"

    def __reduce__(self) -> tuple[Callable[..., RankcliError], tuple[object, ...]]:
        # Errors cross process boundaries in parallel conversion; the default would lose the keyword arguments.
        return _rebuild, (type(self), self.what, self.where, self.fix)


def _rebuild(kind: type[RankcliError], what: str, where: str, fix: str) -> RankcliError:
    return kind(what, where=where, fix=fix)


class ConfigError(RankcliError):
    """Usage or configuration: an unknown key, a bad value, a named path that does not exist."""

    exit_code = 2


class DataError(RankcliError):
    """Bad input data: a malformed line (file:line), ids that do not join."""

    exit_code = 3


class MissingError(RankcliError):
    """Something needed is missing: weights, credentials, a device, an optional package."""

    exit_code = 4


class TrainingError(RankcliError):
    """Training failed: a loss that is not finite."""

    exit_code = 5


class StorageError(RankcliError):
    """Storage or integrity failure: disk full, a corrupt cache or checkpoint."""

    exit_code = 6


class DamageError(StorageError):
    """A file of ours is gone, or is not what was written: it may be made again. Not for files that cannot be read."""


class Interrupted(RankcliError):
    """SIGINT, SIGTERM or SIGHUP was received, and the work done so far is saved."""

    def __init__(self, what: str, *, signum: int) -> None:
        super().__init__(what, fix="run the same command again to go on")
        self.exit_code = 128 + signum
