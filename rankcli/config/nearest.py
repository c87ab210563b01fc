"""The legal name that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

_CLOSE = 0.72  # a lower similarity names things that nobody meant
_SHORTEST = 3  # characters of a part that names the whole


def nearest(name: str, legal: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return the legal name that is `name` in other letters, contains it or is spelt almost alike; else an empty text.

    A synonym stands for its legal name.
    """
    meant = {known.lower(): known for known in legal}
    meant |= {other: target for other, target in (synonyms or {}).items() if target in meant.values()}
    wanted = name.lower()
    within = [known for known in sorted(meant, key=len) if len(wanted) >= _SHORTEST and wanted in known]
    close = within or difflib.get_close_matches(wanted, meant, n=1, cutoff=_CLOSE)
    return meant[close[0]] if close else ""


def did_you_mean(name: str, legal: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """Return a question for a message; empty if no name is near."""
    found = nearest(name, legal, synonyms)
    return f"did you mean {found!r}?" if found else ""
