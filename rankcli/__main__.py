"""`python -m rankcli`."""

from __future__ import annotations

from rankcli.cli import main

main()
