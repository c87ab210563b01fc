"""`rankcli` on one of several hosts, told by the environment to note what it does or to meet with an accident.

CPUS: how many devices the CPU is. NOTED: a file that the pairs which are scored are written to. SIGNAL_AT:
`STEP:SIGNUM`, a signal to itself while it trains that step. SIGNAL_IN: `COUNT:SIGNUM`, one when it scores that batch.
JOIN_S: how long it waits for the others.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.cli import run
from rankcli.training import cluster, predict
from rankcli.training.step import TrainingStep

train, batches_of = TrainingStep.__call__, predict.prediction_batches
scored = 0


def trained(self: TrainingStep, batch: Any, inputs: Any) -> Any:
    """Train a step, and meet with what there is in its way."""
    step, _, signum = os.environ.get("SIGNAL_AT", "").partition(":")
    if step and int(inputs.number) == int(step):
        os.kill(os.getpid(), int(signum))
    return train(self, batch, inputs)


def batches(*args: Any, **options: Any) -> Any:
    """Note the pairs of each batch, and meet with what there is in its way."""
    global scored
    count, _, signum = os.environ.get("SIGNAL_IN", "").partition(":")
    for batch, ids in batches_of(*args, **options):
        scored += 1
        if count and scored == int(count):
            os.kill(os.getpid(), int(signum))
        if noted := os.environ.get("NOTED"):
            with Path(noted).open("a") as out:
                out.write("".join(f"{qid} {docid}\n" for part in ids for qid, docids in part for docid in docids))
        yield batch, ids


if __name__ == "__main__":
    TrainingStep.__call__ = trained  # type: ignore[method-assign]
    predict.prediction_batches = batches  # type: ignore[assignment]
    cluster.JOIN_S = int(os.environ.get("JOIN_S", cluster.JOIN_S))
    if cpus := int(os.environ.get("CPUS", "0")):
        (device,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * cpus)
    sys.exit(run(sys.argv[1:]))
