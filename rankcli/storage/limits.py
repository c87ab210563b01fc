"""Limits that the system sets for a process."""

from __future__ import annotations

import resource
from contextlib import suppress


def raise_open_files() -> None:
    """Raise the number of files that may be open at once as far as the system allows; child processes inherit it.

    A soft limit of 1,024 is the usual default, kept for programs that use select(); a large cache has more files.
    """
    with suppress(OSError, ValueError):  # some systems report a hard limit that they do not grant
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
