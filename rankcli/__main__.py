"""`python -m rankcli`, and the script `rankcli`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; an interrupt during its import prints one line and no traceback."""
    _pass_over_working_directory()
    try:
        from rankcli.cli import main as command_line
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    command_line()


def _pass_over_working_directory() -> None:
    """Import no `tensorflow`, `numpy` or other library from the working directory, which `python -m` puts in front."""
    try:
        here = Path.cwd() if sys.path and sys.path[0] else None
    except FileNotFoundError:
        print("error: the working directory was deleted\n  -> change to another one", file=sys.stderr)
        sys.exit(2)
    if here and Path(sys.path[0]) == here != Path(__file__).parents[1]:
        del sys.path[0]


if __name__ == "__main__":
    main()
