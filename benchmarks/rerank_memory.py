"""Memory of `rankcli rerank`, `teach` or `mine` (`--command`) with a model, for runs of differing length.

The collections are made up (`benchmarks/_synthetic.py`): 100 candidates for each query, and every document once. The
model is a small part of MiniLM, of one layer and 32 values per token, so that a million pairs take minutes. The command
runs as a user runs it; memory is that of all its processes together, looked at ten times a second, files that are
mapped not counted. A second run of the same length reads the document store that the first one made.

`ratio` is the peak for the longest run over that for the shortest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._memory import watched
from benchmarks._report import check, print_report, rounded, run
from benchmarks._synthetic import write_collection
from benchmarks._work import cross_encoder
from rankcli.log import say
from rankcli.text.weights import read_tensors, write_tensors

SMALLER = {384: 32, 1536: 64}  # sizes of MiniLM's tensors that are cut


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        os.environ["RANKCLI_CACHE"] = f"{scratch}/cache"
        model = _small(cross_encoder(Path(scratch)))
        rounds = [_measured(Path(scratch), pairs, model, options.command) for pairs in options.pairs]
    growth = rounds[-1]["anonymous_mb"] / rounds[0]["anonymous_mb"]
    conditions = {"command": options.command, "pairs": options.pairs, "candidates_per_query": 100}
    print_report(growth, rounds, {"growth": check(growth, "<= 1.1")}, conditions)


def _small(model: Path) -> Path:
    """A model directory with all but one layer and most values of each vector cut off."""
    config = json.loads((model / "config.json").read_text())
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1}
    (model / "config.json").write_text(json.dumps({**config, **sizes}))
    cut = {
        name: value[tuple(slice(SMALLER.get(size, size)) for size in value.shape)].copy()
        for name, value in read_tensors(model).items()
        if ".layer." not in name or ".layer.0." in name
    }
    write_tensors(model, cut)
    return model


def _measured(scratch: Path, pairs: int, model: Path, name: str) -> dict[str, Any]:
    """Twice, on a new collection; what the second one took."""
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        folder = Path(made)
        write_collection(folder, pairs)
        files = {"docs": "docs.jsonl", "queries": "queries.jsonl", "run": "first.run", "output": "out.run"}
        if name == "mine":
            files["qrels"] = "train.qrels"
        command = [sys.executable, "-m", "rankcli", name, "--model", str(model), "--force"]
        command += [f"--{option}={folder / file}" for option, file in files.items()]
        for _ in range(2):
            say(f"{pairs:,} pairs")
            spent, peak = watched(command)
    mb = {f"{kind}_mb": rounded(getattr(peak, kind) / 1e6) for kind in ("anonymous", "pss", "rss")}
    return {"pairs": pairs, "seconds": rounded(spent.wall), **mb}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench rerank-memory", description=__doc__.split("\n")[0])
    parser.add_argument("--command", choices=["rerank", "teach", "mine"], default="rerank", help="[%(default)s]")
    sizes = [50_000, 250_000, 1_000_000]
    parser.add_argument("--pairs", type=int, nargs="+", default=sizes, help="lengths of runs [%(default)s]")
    parser.add_argument("--data", metavar="DIR", help="not used: the collections are made up")
    parser.add_argument("--scratch", metavar="DIR", help="where collections are written, some 3 GB")
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
