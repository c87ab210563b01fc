"""The output of every benchmark: one JSON document with its rounds, its wanted figures, and the machine it ran on.

    {"ratio": 24.1, "rounds": [{...}, ...], "checks": {NAME: {"value": 24.1, "wanted": ">= 20"}}, "conditions": {...}}

`ratio` is the benchmark's headline, a median over the rounds. Nothing else goes to stdout.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import rankcli
from rankcli.errors import RankcliError
from rankcli.log import say
from rankcli.records.workers import available_cpus

PACKAGES = ("numpy", "tokenizers", "tensorflow")


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what a user can put right is said in a line, as by `rankcli` itself."""
    try:
        main()
    except RankcliError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)


def check(value: float, wanted: str) -> dict[str, Any]:
    """A figure with what is wanted of it, such as ">= 20"."""
    return {"value": rounded(value), "wanted": wanted}


def median(values: Iterable[float]) -> float:
    """The median, to four digits."""
    return rounded(statistics.median(values))


def rounded(value: float) -> float:
    """`value` to four significant digits."""
    return float(f"{value:.4g}")


def print_report(
    ratio: float, rounds: list[dict[str, Any]], checks: Mapping[str, dict[str, Any]], conditions: Mapping[str, Any]
) -> None:
    """Print the document."""
    document = {
        "ratio": rounded(ratio),
        "rounds": rounds,
        "checks": dict(checks),
        "conditions": {**conditions, "machine": machine()},
    }
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def machine() -> dict[str, Any]:
    """The machine and the versions that the figures depend on."""
    return {
        "cpu": _cpu(),
        "cpus": available_cpus(),
        "memory_gib": rounded(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_1min": rounded(os.getloadavg()[0]),
        "python": platform.python_version(),
        "rankcli": rankcli.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
