"""Compile StableHLO with a TPU's own compiler, on a machine without a TPU: `compiler.py TOPOLOGY... < LINES`.

A program of its own: it needs jax and libtpu alone, which may be in an environment of their own, and imports nothing
of rankcli. A line of stdin is a number of replicas and a path. For each of them and each topology it prints one line of
JSON: `bytes` by kind and `flops` as the compiler counts them, and the path of the compiled program's `text`, beside the
given one; or `error`. The compiler writes the text itself: that of programs with parts for a v5p's or v6e's SparseCore
cannot be had from the executable. What it uses of jax is not public: setup.cfg has the exact versions.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# No device is opened, so several processes may use the library at once.
os.environ.update(
    ALLOW_MULTIPLE_LIBTPU_LOAD="1",
    TPU_SKIP_MDS_QUERY="1",
    JAX_PLATFORMS="cpu",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_WORKER_ID="0",
)

import numpy
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib import xla_client
from jax.experimental import topologies
from jaxlib.mlir import ir


def compiled(path: str, topology: str, replicas: int, folder: str) -> Any:
    """Return the executable of a file for the first devices of a topology; the compiler's texts go to `folder`."""
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[:replicas]
    with mlir.make_ir_context(), open(path, encoding="utf-8") as file:
        module = ir.Module.parse(file.read())
        dump: Any = {"xla_dump_to": folder, "xla_dump_hlo_as_text": True}
        options = compiler.get_compile_options(
            num_replicas=replicas,
            num_partitions=1,
            device_assignment=numpy.arange(replicas)[:, None],
            env_options_overrides=dump,
        )
        return devices[0].client.compile(module, xla_client.DeviceList(tuple(devices)), options)


def figures(executable: Any) -> dict[str, Any]:
    """Return the memory of a program in bytes, and its floating-point operations."""
    memory, cost = executable.get_compiled_memory_stats(), executable.cost_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    kinds = ("argument", "temp", "output", "alias", "generated_code")
    sizes = {kind: getattr(memory, f"{kind}_size_in_bytes") for kind in kinds}
    return {"bytes": sizes, "flops": cost.get("flops", 0.0)}


def figures_and_text(path: str, topology: str, replicas: int, text: Path) -> dict[str, Any]:
    """Compile a file and move the text of its program to `text`; return its figures."""
    with tempfile.TemporaryDirectory(dir=text.parent) as folder:
        found = figures(compiled(path, topology, replicas, folder))
        (written,) = Path(folder).glob("*.after_optimizations.txt")
        written.rename(text)
    return {**found, "text": str(text)}


def main() -> None:
    """Compile every path of stdin for every topology of the arguments."""
    for line in sys.stdin:
        replicas, _, path = line.strip().partition(" ")
        for number, topology in enumerate(sys.argv[1:]):
            start = time.perf_counter()
            try:
                found = figures_and_text(path, topology, int(replicas), Path(f"{path}.{number}"))
            except Exception as error:  # the compiler's message is the result
                found = {"error": str(error)}
            found["seconds"] = round(time.perf_counter() - start, 1)
            print(json.dumps({"path": path, "topology": topology, **found}), flush=True)


if __name__ == "__main__":
    main()
