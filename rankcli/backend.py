"""The only door to TensorFlow: `from rankcli.backend import tf`.

TensorFlow is imported when an attribute of `tf` is first read, so a component's options and model can share one file
and `rankcli --help` stays fast. Keras 2 semantics need TF_USE_LEGACY_KERAS before that import, and TensorFlow's own
lines on stderr are switched off there too.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from rankcli.errors import MissingError
from rankcli.log import say

_SAID_BY_XLA = (b"absl::InitializeLog", b"Compiled cluster using XLA", b"XLA service", b"StreamExecutor device")


class _Lazy:
    """A module that is imported when first used."""

    def __init__(self, load: Any) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._load(), name)


def _load_tensorflow() -> types.ModuleType:
    if "tensorflow" not in sys.modules:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        warnings.filterwarnings("ignore", module="tf_keras|keras|tensorflow|tensorflow_ranking")
        say("loading TensorFlow")  # it takes seconds
        module = _imported("tensorflow")
        module.get_logger().setLevel("ERROR")
    return sys.modules["tensorflow"]


def _imported(name: str) -> types.ModuleType:
    """Import a library; MissingError if it is there but cannot be loaded."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # in a small memory, or with PYTHONOPTIMIZE=2, it may fail anywhere
        fix = (
            "unset PYTHONOPTIMIZE"
            if sys.flags.optimize > 1
            else "raise the limit of memory (ulimit -v), or reinstall it"
        )
        raise MissingError(f"{name} cannot be loaded: {str(error)[:200]}", fix=fix) from error


def _load_ranking() -> types.ModuleType:
    """Import tensorflow_ranking 0.5.3; its import reads names of `tf.estimator`, which TensorFlow 2.16 dropped."""
    if "tensorflow_ranking" not in sys.modules:
        tensorflow = _load_tensorflow()
        if not hasattr(tensorflow, "estimator"):
            keys = types.SimpleNamespace(TRAIN="train", EVAL="eval", PREDICT="infer")
            stand_in = types.ModuleType("tensorflow.estimator")
            stand_in.ModeKeys = keys  # type: ignore[attr-defined]
            tensorflow.estimator = stand_in  # type: ignore[attr-defined]
            tensorflow.compat.v1.estimator = stand_in
        importlib.import_module("tensorflow_ranking")
    return sys.modules["tensorflow_ranking"]


def _load_lists() -> types.ModuleType:
    """Import the message ExampleListWithContext, of TensorFlow Serving, which TensorFlow Ranking depends on."""
    _load_tensorflow()
    return importlib.import_module("tensorflow_serving.apis.input_pb2")


def _load_eager() -> types.ModuleType:
    """Import TensorFlow's eager context, the only place where the time that hosts wait for each other can be set."""
    _load_tensorflow()
    return importlib.import_module("tensorflow.python.eager.context")


def _load_xla() -> types.ModuleType:
    """Import operations of XLA that TensorFlow does not list among its own."""
    _load_tensorflow()
    return importlib.import_module("tensorflow.compiler.tf2xla.ops.gen_xla_ops")


@contextlib.contextmanager
def graphs_let_go() -> Iterator[None]:
    """Free, at the end of the block, the graphs that were traced in it and that nobody uses any more.

    TensorFlow keeps the gradient of every use of `tf.custom_gradient` for as long as the process lives, and with it the
    graph that it was part of, constant weights included.
    """
    _load_tensorflow()
    ops = importlib.import_module("tensorflow.python.framework.ops")
    # Not part of TensorFlow's interface. Where it is another one, memory grows: tests/runs/test_memory.py shows it.
    gradients: dict[str, Any] = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    before = set(gradients)
    try:
        yield
    finally:
        for name in gradients.keys() - before:
            if name.startswith("CustomGradient-"):
                del gradients[name]
        gc.collect()


@functools.cache
def compiled_in_silence() -> None:
    """Compile a small function with XLA and drop the lines that XLA prints on its first use in a process.

    No setting stops these lines on stderr. Other lines of the same milliseconds are passed on.
    """
    tensorflow, stderr = _load_tensorflow(), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            with tensorflow.init_scope():
                tensorflow.function(lambda x: x + 1, jit_compile=True)(tensorflow.constant(0))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            for line in file:
                if not any(said in line for said in _SAID_BY_XLA):
                    with contextlib.suppress(OSError):  # nobody reads stderr, or its disk is full
                        os.write(2, line)


_REPLICAS_AS_ON_TPU: ContextVar[int] = ContextVar("replicas_as_on_tpu", default=0)


@contextlib.contextmanager
def as_on_tpu(replicas: int = 1) -> Iterator[None]:
    """Trace functions in the block as on a replica of a TPU with so many, on a machine without one."""
    token = _REPLICAS_AS_ON_TPU.set(replicas)
    try:
        yield
    finally:
        _REPLICAS_AS_ON_TPU.reset(token)


def on_tpu() -> bool:
    """True if functions are traced for a TPU, whose compiler fuses operations itself."""
    return bool(_REPLICAS_AS_ON_TPU.get() or tf.config.list_logical_devices("TPU"))


def summed_over_replicas(context: Any, values: Sequence[Any]) -> list[Any]:
    """Return the sums of tensors over all replicas; `context` is the replica's.

    In a program for a TPU that is not here they are XLA's operation, which TPUStrategy makes of them there.
    """
    if (replicas := _REPLICAS_AS_ON_TPU.get()) < 2:
        return list(context.all_reduce("SUM", list(values)))
    groups = [list(range(replicas))]
    return [xla.xla_all_reduce(value, groups, reduce_op="Add", mode="CrossReplica") for value in values]


def on_cpu() -> bool:
    """True if functions are traced for CPUs, and no other device is there."""
    return not on_tpu() and {device.device_type for device in tf.config.list_logical_devices()} == {"CPU"}


tf: Any = _Lazy(_load_tensorflow)
tfr: Any = _Lazy(_load_ranking)
elwc: Any = _Lazy(_load_lists)
xla: Any = _Lazy(_load_xla)
eager: Any = _Lazy(_load_eager)
