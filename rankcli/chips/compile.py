"""Programs compiled for a chip by its own compiler, in a process that needs no TPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.chips.figures import GIB, Chip
from rankcli.chips.lowering import Program
from rankcli.chips.traffic import moved, summed
from rankcli.errors import MissingError
from rankcli.storage.places import work_root
from rankcli.storage.scratch import scratch

_SUM = """module @sum {
  func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {
    %0 = stablehlo.add %a, %a : tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}
"""
COMPILER = Path(__file__).with_name("compiler.py")
PACKAGES = ("jax==0.10.2", "libtpu==0.0.52")  # the extra `tpu-compiler`; compiler.py uses what is not public
PYTHON = "RANKCLI_TPU_PYTHON"  # the Python of an environment of its own with jax and libtpu
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": GIB, "T": GIB << 10}
_TOO_LARGE = re.compile(r"\(([\d.]+)([KMGT])\) exceeds available HBM \(")


class Compiled(NamedTuple):
    """The figures of a program on one device of a chip, from its compiler.

    A call handles `handled` steps, pairs or texts. `memory` are the bytes of HBM that it needs, its arguments and
    results among them, `moved` those that it reads from HBM and writes to it, and `summed` those that are summed over
    replicas. A program that is too large has only `memory`, that of its temporaries. `error` is the compiler's message
    for a program that it cannot compile.
    """

    name: str
    chip: Chip
    handled: int
    seconds: float
    memory: int = 0
    flops: float = 0.0
    moved: float = 0.0
    summed: float = 0.0
    error: str = ""

    @property
    def fits(self) -> bool:
        """True if the program compiles, and its memory is there."""
        return not self.error and self.share <= 1

    @property
    def share(self) -> float:
        """The share of the memory of the device that it needs."""
        return self.memory / self.chip.memory

    @property
    def computing(self) -> float:
        """Seconds at the chip's peak rate in bfloat16."""
        return self.flops / self.chip.flops

    @property
    def moving(self) -> float:
        """Seconds at the bandwidth of its HBM."""
        return self.moved / self.chip.bandwidth

    @property
    def least(self) -> float:
        """Seconds that no run of the program can be below."""
        return max(self.computing, self.moving)


def compiled(programs: Sequence[Program], chips: Sequence[Chip]) -> Iterator[Compiled]:
    """Compile every program for every chip, one after the other.

    MissingError without the compiler.
    """
    by_topology = {chip.topology: chip for chip in chips}
    with scratch(work_root(), "programs") as folder:
        paths = {str(folder / f"{n}.mlir"): program for n, program in enumerate(programs)}
        for path, program in paths.items():
            Path(path).write_text(program.text, encoding="utf-8")
        asked = [f"{program.replicas} {path}" for path, program in paths.items()]
        for found in _lines(list(by_topology), asked):
            program = paths[found["path"]]
            yield _figures(program, by_topology[found["topology"]], found)


def check_compiler() -> None:
    """Raise MissingError if jax and libtpu are not installed."""
    found = subprocess.run(
        [_python(), "-I", "-c", "import libtpu, jax"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if found.returncode:
        raise MissingError(
            "the TPU's compiler is not installed (jax and libtpu, 1.1 GB)",
            where="--for",
            fix=f"python -m pip install {' '.join(PACKAGES)}",
        )


def tried(chip: Chip) -> Compiled:
    """Compile a program of one sum for a chip."""
    (found,) = compiled([Program("sum", _SUM, 1)], [chip])
    return found


def _python() -> str:
    return os.environ.get(PYTHON) or sys.executable


def _lines(topologies: Sequence[str], asked: Sequence[str]) -> Iterator[Any]:
    command = [_python(), "-I", str(COMPILER), *topologies]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdin and process.stdout
            process.stdin.write("".join(f"{line}\n" for line in asked))
            process.stdin.close()
            yield from map(json.loads, process.stdout)
        finally:
            process.kill()


def _figures(program: Program, chip: Chip, found: Any) -> Compiled:
    about = Compiled(program.name, chip, program.handled, found["seconds"])
    if "error" not in found:
        sizes = found["bytes"]
        memory = sum(sizes.values()) - 2 * sizes["alias"]
        text = Path(found["text"]).read_text(encoding="utf-8")
        return about._replace(memory=memory, flops=found["flops"], moved=moved(text), summed=summed(text))
    if too_large := _TOO_LARGE.search(found["error"]):
        return about._replace(memory=int(float(too_large[1]) * _UNITS[too_large[2]]))
    return about._replace(error=found["error"].splitlines()[0])
