"""Devices: the tf.distribute strategy, and batches handed to its replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rankcli.backend import tf
from rankcli.errors import ConfigError
from rankcli.log import warn
from rankcli.training.cluster import cluster_strategy
from rankcli.training.settings import Settings


def open_devices(options: Settings) -> Any:
    """Return the strategy of a training and set its seed; ConfigError where its devices cannot share a batch evenly."""
    make_runtime_deterministic(options.seed)
    strategy = make_strategy(options.strategy, options.tpuname, options.tpuzone)
    if options.dtype == "bfloat16":
        warn_of_bfloat16()
    check_batches(options, strategy.num_replicas_in_sync)
    return strategy


def warn_of_bfloat16() -> None:
    """Warn of GPUs that compute bfloat16 without hardware for it."""
    for gpu in tf.config.list_physical_devices("GPU"):
        if lacks_bfloat16(gpu):
            warn(f"{gpu.name} has no hardware for bf16, which makes it slow there -> use trainer.amp=fp16")


def lacks_bfloat16(gpu: Any) -> bool:
    """True for an NVIDIA GPU of a compute capability below 8.0."""
    capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
    return capability is not None and capability < (8, 0)


def check_batches(options: Settings, replicas: int) -> None:
    """Raise ConfigError where the groups of a batch cannot be dealt evenly to the replicas."""
    accumulate = options.accumulate
    for groups in options.batches.values():
        if groups % (replicas * accumulate):
            raise ConfigError(
                f"{groups} groups cannot be dealt evenly to {replicas} devices"
                + (f" in {accumulate} micro-batches each" if accumulate > 1 else ""),
                where="trainer.batch",
                fix=f"use a multiple of {replicas * accumulate}",
            )


def make_runtime_deterministic(seed: int) -> None:
    """Make equal inputs give equal bits, on one kind and number of devices."""
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def make_strategy(name: str, tpuname: str | None = None, tpuzone: str | None = None) -> Any:
    """Return the strategy called `name`. `auto`: the named TPU, else all GPUs, else the CPU.

    One GPU alone needs no copies of variables, and no sums over devices.
    """
    if name == "tpu" or (name == "auto" and tpuname):
        from rankcli.training.tpu import tpu_strategy

        return tpu_strategy(tpuname or "local", tpuzone)
    if name == "multiworker":
        return cluster_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "cpu" or not gpus:
        return tf.distribute.OneDeviceStrategy("/cpu:0")
    if len(gpus) == 1:
        return tf.distribute.OneDeviceStrategy(gpus[0].name)
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])


def is_static(strategy: Any) -> bool:
    """True if the devices compile for fixed shapes."""
    return isinstance(strategy, tf.distribute.TPUStrategy)


class Traced:
    """A function as a graph that takes tensors of any shape, so that it is traced once and not for each new shape.

    On devices that compile for fixed shapes, it is traced for each shape. `function` is the function itself.
    """

    def __init__(self, strategy: Any, function: Callable[..., Any]) -> None:
        self._static, self.function = is_static(strategy), function
        # Without AutoGraph, which would replace our errors by its own.
        self._graph = tf.function(function, reduce_retracing=True, autograph=False)

    def __call__(self, *args: Any) -> Any:
        """Call the graph. The first call traces it."""
        if not self._static and self.count == 0:
            self._graph.get_concrete_function(*tf.nest.map_structure(_of_any_shape, args))
        return self._graph(*args)

    @property
    def count(self) -> int:
        """The number of times it was traced."""
        return int(self._graph.experimental_get_tracing_count())


def _of_any_shape(value: Any) -> Any:
    """Return the type of a tensor, or of one per replica, without its sizes."""
    spec = tf.type_spec_from_value(value)
    parts = [
        tf.TensorSpec([None] * part.shape.rank, part.dtype) for part in tf.nest.flatten(spec, expand_composites=True)
    ]
    return parts[0] if isinstance(spec, tf.TensorSpec) else type(spec)(*parts)


def per_replica(strategy: Any, batches: Sequence[Any]) -> Any:
    """Return one batch, or one of every task, for each replica of this host, as `strategy.run` takes them.

    All must have the same shapes.
    """
    if strategy.num_replicas_in_sync == 1:
        return tf.nest.map_structure(tf.convert_to_tensor, batches[0])

    def distribute(*leaves: Any) -> Any:
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(leaves[context.replica_id_in_sync_group % len(leaves)])
        )

    return tf.nest.map_structure(distribute, *batches)
