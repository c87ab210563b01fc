"""The error for a damaged cache."""

from __future__ import annotations

from rankcli.errors import DamageError

_FIX = "`rankcli cache verify --repair` makes it again, as does a training"


def damaged(what: str, where: str) -> DamageError:
    """The error for the damage `what` found at `where`, with advice."""
    return DamageError(what, where=where, fix=_FIX)
