"""Trainings that a test kills: started without waiting for TensorFlow, compared to the bit."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.backend import tf
from tests.clocked import metrics, without_clock
from tests.faults.project import ROOT, contents

EVERY, KEEP = 7, 2  # steps between checkpoints; checkpoints kept
DEVICES = {
    "one device": ([], 1),
    "two devices": (["trainer.strategy=mirrored"], 2),
    "micro-batches": (["trainer.accumulate=2", "trainer.optimizer=adamw"], 1),
}


class Process:
    """A training that runs; its `log` is what it has said."""

    def __init__(self, zygote: subprocess.Popen[str], pid: int, log: Path) -> None:
        self._zygote, self.pid, self.log = zygote, pid, log
        self.exit_code: int | None = None

    def wait(self, seconds: float | None = None) -> int | None:
        """The exit code, less than 0 if by a signal; None if it still runs after some seconds."""
        if self.exit_code is None:
            assert self._zygote.stdout is not None
            ready, _, _ = select.select([self._zygote.stdout], [], [], seconds)
            if ready:
                self.exit_code = int(self._zygote.stdout.readline())
        return self.exit_code

    def signal(self, signum: int) -> None:
        """Send a signal to the process and those that it has started; it may have ended before."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signum)

    def kill(self) -> bool:
        """Kill it, and whether that is what ended it."""
        while self.wait(0) is None:  # again if it was not yet the leader of its group
            self.signal(signal.SIGKILL)
            self.wait(1)
        return self.exit_code == -signal.SIGKILL

    def said(self) -> str:
        """Its output."""
        return self.log.read_text()


class Run:
    """A run directory and the command that trains it, which may be started again and again."""

    def __init__(self, zygote: subprocess.Popen[str], folder: Path, args: list[str], cpus: int = 1) -> None:
        self.out, self.notes = folder / "out", folder / "notes"
        folder.mkdir()
        self._zygote, self._folder, self.cpus, self._started = zygote, folder, cpus, 0
        self.args = ["train", *args, "--out", str(self.out)]

    def start(self, *more: str, **environment: str) -> Process:
        """Start the command."""
        self._started += 1
        log = self._folder / f"log-{self._started}"
        log.touch()
        asked = {"args": [*self.args, *more], "log": str(log), "cpus": self.cpus, "notes": str(self.notes)}
        assert self._zygote.stdin is not None and self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps({**asked, "environment": environment}) + "\n")
        self._zygote.stdin.flush()
        return Process(self._zygote, int(self._zygote.stdout.readline()), log)

    def finish(self, *more: str) -> Run:
        """Run the command to its end."""
        process = self.start(*more)
        assert process.wait() == 0, process.said()
        return self

    def noted(self, kind: str = "") -> list[list[str]]:
        """The words of the notes of a kind."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [words for line in lines if (words := line.split())[0] == kind or not kind]

    def steps(self) -> int:
        """The last step of those that were ever done."""
        return max((int(step) for _, step, *_ in self.noted("step")), default=0)

    def last(self) -> int:
        """The last step that has been noted."""
        if not self.notes.exists():
            return 0
        with self.notes.open("rb") as notes:
            notes.seek(max(notes.seek(0, os.SEEK_END) - 200, 0))
            found = [line.split()[1] for line in notes.read().splitlines() if line.startswith(b"step ")]
        return int(found[-1]) if found else 0

    def saved(self) -> int:
        """The step of the newest checkpoint."""
        states = [path for path in self.out.glob("checkpoints/iter-*/state.json") if ".tmp." not in str(path)]
        return max((int(json.loads(path.read_text())["step"]) for path in states), default=0)

    def losses(self) -> dict[int, float]:
        """The loss of each step; those of a step that was made more than once must be equal."""
        found: dict[int, float] = {}
        for _, step, loss in self.noted("step"):
            assert found.setdefault(int(step), float(loss)) == float(loss), f"step {step} had another loss before"
        return found

    def phase(self, process: Process) -> str:
        """The work that a killed process was doing."""
        said, notes = process.said(), self.noted()
        if "resuming at step" not in said and "iteration 0: dev" not in said:
            return "start, restoring" if notes and notes[-1][0] == "restore" else "start"
        if any(self.out.glob("checkpoints/*.tmp.*")):
            return "writing a checkpoint"
        if any(self.out.glob("best/*.tmp.*")):
            return "keeping the best weights"
        if any(self.out.glob("*.run")) and "testing" in said:
            return "testing"
        if notes[-1][0] == "validate":
            over = f"iteration {notes[-1][1]}: dev" in said
            return "after validation" if over else "validation"
        return "steps"

    def result(self) -> dict[str, Any]:
        """All that a training leaves but for clocks: variables, slots, weights, runs, metrics, names of files."""
        out = self.out
        files = contents(out)
        kept = {name: data for name, data in files.items() if name.endswith((".run", ".safetensors", ".yaml"))}
        result = json.loads(files["result.json"])
        return {
            **kept,
            "checkpoints": {path.name: tensors(path) for path in sorted((out / "checkpoints").iterdir())},
            "metrics": metrics(files["metrics.jsonl"]),
            "result": without_clock(result),
            "names": {name for name in files if not name.startswith("tensorboard/")},
        }


def tensors(checkpoint: Path) -> dict[str, bytes]:
    """Every variable and optimizer slot of a checkpoint, to the bit."""
    reader = tf.train.load_checkpoint(str(checkpoint / "ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {key: reader.get_tensor(key).tobytes() for key in keys}


@contextmanager
def zygote(cache: Path) -> Iterator[subprocess.Popen[str]]:
    """The process that forks trainings."""
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    given = {"PYTHONPATH": str(ROOT), "RANKCLI_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **threads, **given}
    command = [sys.executable, "-m", "tests.faults.zygote"]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(
    run: Run, moment: Callable[[Process], None], stop: Callable[[Process], bool], phases: Counter[str]
) -> bool:
    """Start the run, wait for a moment, stop it; whether that ended it, and not its own end."""
    process = run.start()
    moment(process)
    if process.wait(0) is not None or not stop(process):
        assert process.exit_code == 0, process.said()
        return False
    phases[run.phase(process)] += 1
    return True


def wait_until(process: Process, seen: Callable[[], bool]) -> None:
    """Wait until something is seen, or the process has ended."""
    while process.wait(0) is None and not seen():
        time.sleep(0.0005)


class Whole(NamedTuple):
    """A training left alone: what it leaves, the loss of every step, and how long it takes once all is converted."""

    result: dict[str, Any]
    losses: dict[int, float]
    takes: float


class Trainings:
    """Runs of the tiny collection in directories of their own, with dropout on."""

    def __init__(self, parent: subprocess.Popen[str], config: Path, folder: Path) -> None:
        self._parent, self._config, self._folder = parent, config, folder
        self._wholes: dict[tuple[str, int], Whole] = {}

    def new(self, devices: str, groups: int, *more: str) -> Run:
        """A run on some devices, with iterations of some groups."""
        options, cpus = DEVICES[devices]
        args = ["--config", str(self._config), "trainer.niters=3", f"trainer.itersize={groups}"]
        args += [f"trainer.checkpointsteps={EVERY}", f"trainer.keep={KEEP}", *options, *more]
        return Run(self._parent, Path(tempfile.mkdtemp(dir=self._folder)) / "run", args, cpus)

    def whole(self, devices: str, groups: int) -> Whole:
        """The same, left alone."""
        if (devices, groups) not in self._wholes:
            self.new(devices, groups).finish()  # which converts
            run, begun = self.new(devices, groups), time.monotonic()
            run.finish()
            self._wholes[devices, groups] = Whole(run.result(), run.losses(), time.monotonic() - begun)
        return self._wholes[devices, groups]
