"""Reads all examples of a cache: `python -m tests.faults.reading ROOT LOCATION`; prints the most memory used (MB)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rankcli.errors import RankcliError
from rankcli.log import say
from rankcli.records.interleave import Records, read_examples
from rankcli.records.lookup import load
from rankcli.storage.local import LocalStorage


def peak() -> int:
    """The most memory used since this program began, in MB; getrusage would count that of the parent before it."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) // 1024


def main(root: str, location: str) -> int:
    """The exit code of a command that reads the cache."""
    storage = LocalStorage(Path(root))
    try:
        manifest = load(storage, location)
        for _ in read_examples(Records(manifest, storage)):
            pass
    except RankcliError as error:
        say(str(error))
        return error.exit_code
    finally:
        print(peak())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
