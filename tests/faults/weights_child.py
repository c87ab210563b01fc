"""Commands on model directories in one process: for each its exit code, what it said, and how much its memory grew.

    python -m tests.faults.weights_child COLLECTION COMMAND=DIRECTORY ...

A line of JSON for each goes to stdout.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import sys
from pathlib import Path

from rankcli.cli import run


def memory(key: str) -> int:
    """`VmRSS` or `VmHWM` of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) // 1024


def commands(folder: Path, model: Path) -> dict[str, list[str]]:
    """Reranking with a model; training from it, as other weights to start from, or as what is pretrained."""
    files = [f"--{name}={folder / name}.jsonl" for name in ("docs", "queries")]
    weights = "last" if (model / "run.json").exists() else "best"
    rerank = ["rerank", "--force", "--model", str(model), "--weights", weights, *files, f"--run={folder / 'first.run'}"]
    train = ["train", "--config", str(folder / "crossencoder.yaml"), "--dry-run"]
    return {
        "rerank": [*rerank, f"--output={folder / 'out.run'}", "--strategy=cpu"],
        "init-from": [*train, "--init-from", str(model), f"init.weights={weights}"],
        "pretrained": [*train, f"reranker.pretrained={model}"],
    }


def outcome(args: list[str]) -> dict[str, object]:
    """The outcome of a command."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of what follows
    before, out, err = memory("VmRSS"), io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(args)
    return {"code": code, "err": err.getvalue(), "grown": memory("VmHWM") - before}


if __name__ == "__main__":
    folder, asked = Path(sys.argv[1]), [argument.partition("=") for argument in sys.argv[2:]]
    for command in {command for command, _, _ in asked}:
        outcome(commands(folder, folder / "good")[command])  # imports take memory, too, once
    for command, _, model in asked:
        found = outcome(commands(folder, Path(model))[command])
        print(json.dumps({"model": Path(model).name, "command": command, **found}), flush=True)
