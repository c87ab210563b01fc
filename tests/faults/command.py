"""`rankcli` with shards of some kilobytes, which says that it converts.

PROCESSES in the environment is how many conversion processes there are, even for little work; none where it is not set.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from rankcli.cli import main
from rankcli.log import say
from rankcli.records import convert, steps
from rankcli.runs import records

number = steps._number


def noting(*args: Any) -> None:
    """Number the samples, and say so."""
    say(f"process {os.getpid()} converts")
    number(*args)


if __name__ == "__main__":
    convert.SHARD_BYTES = 8000
    steps.TEXTS_PER_PROCESS = 1
    steps._number = noting
    records.available_cpus = lambda: int(os.environ.get("PROCESSES", 1))
    main(sys.argv[1:])
