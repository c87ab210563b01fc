"""All benchmarks in turn, each in both precisions where it has them; some 90 minutes on a quiet machine of 2 cores.

The document of each is kept as `NAME-PRECISION.json` in the folder `--out`; what is printed holds the checks of all.
`ratio` is the share of the checks that hold.
"""

from __future__ import annotations

import argparse
import json
import operator
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._report import print_report, run
from benchmarks._work import DATA
from rankcli.log import say

BENCHMARKS = {
    "train": ("bf16", "fp32"),
    "rerank": ("bf16", "fp32"),
    "ceiling": ("bf16", "fp32"),
    "scale": ("bf16",),
    "startup": ("bf16",),
    "convert": ("",),
    "checkpoint": ("",),
    "quality": ("bf16",),
}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def main() -> None:
    """Run the benchmarks."""
    made = argparse.ArgumentParser("scripts/bench all", description=__doc__.split("\n")[0])
    made.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="with the collections [%(default)s]")
    made.add_argument("--out", type=Path, default=Path("bench-results"), metavar="DIR", help="[%(default)s]")
    made.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS), help="[all]")
    options = made.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rounds: list[dict[str, Any]] = []
    for name in options.only:
        for precision in BENCHMARKS[name]:
            say(f"{name} {precision}")
            command = [sys.executable, "-m", f"benchmarks.{name}", "--data", str(options.data)]
            command += ["--precision", precision] if precision else []
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            (options.out / f"{'-'.join(filter(None, (name, precision)))}.json").write_text(done.stdout)
            rounds.append({"benchmark": name, "precision": precision, **json.loads(done.stdout)})
    found = [(each["value"], each["wanted"]) for one in rounds for each in one["checks"].values()]
    held = sum(holds(*each) for each in found)
    shown = [{key: one[key] for key in ("benchmark", "precision", "ratio", "checks")} for one in rounds]
    print_report(held / len(found), shown, {"checks_that_hold": {"value": held, "wanted": f">= {len(found)}"}}, {})


def holds(value: float, wanted: str) -> bool:
    """True if a figure is as wanted."""
    sign, bound = wanted.split()
    return COMPARE[sign](value, float(bound))


if __name__ == "__main__":
    run(main)
