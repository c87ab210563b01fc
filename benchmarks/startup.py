"""Start-up: seconds from a command to its first training step or score, with their parts; and of `--help`.

`rankcli train` on Vaswani with MiniLM: `cold` with empty caches, `warm` with the records and the first stage there, and
`resumed`, warm with the checkpoint of a run that was stopped after its first step. The untrained model is validated
before the first step, here on one candidate per query: what more of them take is not start-up. `rerank` goes to the
scores of its first batch. Files that were read before are in memory. `ratio` is the median of the warm first step over
the 15 s wanted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._report import check, median, print_report, rounded, run
from benchmarks._work import Collection, amp, cross_encoder, parser
from rankcli.log import say

WANTED_S, HELP_S = 15, 0.5
QUERIES = 2  # of the run to rerank


def main() -> None:
    """Run the benchmark."""
    options = parser("startup", __doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        os.environ["RANKCLI_CACHE"] = f"{scratch}/cache"
        trainer = {"batch": 8, "itersize": 32, "niters": 2, "amp": amp(options.precision)}
        collection = Collection(options.data / "vaswani", Path(scratch, "work"), cross_encoder(Path(scratch)), trainer)
        train = ["train", "--config", str(collection.config), "--out", f"{scratch}/run"]
        rerank = ["rerank", "--model", str(collection.model), "--amp", amp(options.precision)]
        rerank += ["--docs", str(collection.source / "corpus.jsonl"), "--run", str(collection.folder / "first.run")]
        rerank += ["--queries", str(collection.source / "queries.jsonl"), "--output", f"{scratch}/out.run"]
        rounds = []
        for number in range(options.rounds):
            shutil.rmtree(collection.folder / "cache", ignore_errors=True)
            shutil.rmtree(f"{scratch}/cache", ignore_errors=True)
            found = {}
            for name in ("cold", "warm", "resumed"):
                if name != "resumed":
                    shutil.rmtree(f"{scratch}/run", ignore_errors=True)
                found[name] = _first(train)
            collection.write_run(QUERIES)
            _first(rerank)  # has the collection parsed
            found["rerank"] = _first(rerank)
            rounds.append({**found, "help": {"total": rounded(_help())}})
            say(f"round {number + 1} of {options.rounds}")
    _report(rounds, options.precision)


def _first(command: list[str]) -> dict[str, float]:
    """The seconds of the parts of a command."""
    side = [sys.executable, "-m", "benchmarks._startup_side", str(time.time()), *command]
    done = subprocess.run(side, stdout=subprocess.PIPE, check=False, text=True)
    if not done.stdout:
        raise subprocess.CalledProcessError(done.returncode, side)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _help() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rankcli", "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _report(rounds: list[dict[str, Any]], precision: str) -> None:
    kinds = list(rounds[0])
    parts = {kind: list(dict.fromkeys(part for each in rounds for part in each[kind])) for kind in kinds}
    medians = {
        kind: {part: median(each[kind].get(part, 0.0) for each in rounds) for part in parts[kind]} for kind in kinds
    }
    checks = {
        "first_step_s": check(medians["warm"]["total"], f"<= {WANTED_S}"),
        "first_step_resumed_s": check(medians["resumed"]["total"], f"<= {WANTED_S}"),
        "first_score_s": check(medians["rerank"]["total"], f"<= {WANTED_S}"),
        "help_s": check(medians["help"]["total"], f"< {HELP_S}"),
    }
    print_report(medians["warm"]["total"] / WANTED_S, rounds, checks, {"precision": precision, "medians": medians})


if __name__ == "__main__":
    run(main)
