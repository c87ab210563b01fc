"""Code that only a TPU needs. Written from Cloud TPU's documentation; never run on a TPU."""

from __future__ import annotations

import functools
from typing import Any

from rankcli.backend import tf
from rankcli.errors import MissingError


@functools.cache
def tpu_strategy(name: str, zone: str | None) -> Any:
    """Connect to the TPU called `name` (`local`: the one of this TPU VM) and return its strategy.

    MissingError where it cannot be reached. Connect only once in a process: a new connection clears the TPU's memory.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name, zone=None if name == "local" else zone)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise MissingError(
            f"the TPU {name!r} cannot be reached: {reason}",
            fix="check tpuname and tpuzone, and that this is a TPU image",
        ) from error
    return tf.distribute.TPUStrategy(resolver)
