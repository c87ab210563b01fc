"""The options that the training loop reads. The options of every trainer provide them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rankcli.schedules.base import Schedule
from rankcli.training.base import Share


class Settings(Protocol):
    """The options of a trainer, as the training loop reads them. `trainers/tensorflow.py` explains each."""

    @property
    def seed(self) -> int:
        """Seed of initial weights and dropout."""

    @property
    def niters(self) -> int:
        """Iterations."""

    @property
    def accumulate(self) -> int:
        """Micro-batches per batch."""

    @property
    def recompute(self) -> bool:
        """True if the encoder's layers are computed again for gradients."""

    @property
    def steps_per_execution(self) -> int:
        """Steps per call of the devices."""

    @property
    def optimizer(self) -> Any:
        """Options of the optimizer."""

    @property
    def bertlr(self) -> float:
        """Learning rate of the encoder."""

    @property
    def lr(self) -> float:
        """Learning rate of everything else."""

    @property
    def groups(self) -> Sequence[Any]:
        """Optimizer groups that replace `bertlr` and `lr`."""

    @property
    def layerdecay(self) -> float:
        """Factor on the learning rate per layer below the top."""

    @property
    def weight_decay(self) -> float | None:
        """Weight decay; None: the optimizer's."""

    @property
    def hooks(self) -> Sequence[Any]:
        """Options of the hooks, in order."""

    @property
    def listeners(self) -> Sequence[Any]:
        """Options of the listeners, in order."""

    @property
    def boardname(self) -> str | None:
        """Name of the TensorBoard run, if any."""

    @property
    def validatefreq(self) -> int:
        """Iterations between validations."""

    @property
    def checkpoint_interval(self) -> int:
        """Iterations between checkpoints."""

    @property
    def checkpointsteps(self) -> int:
        """Steps between checkpoints within an iteration; 0: none."""

    @property
    def keep(self) -> int:
        """Checkpoints kept."""

    @property
    def on_nan(self) -> str:
        """`stop` or `skip`."""

    @property
    def evalbatch(self) -> int:
        """Pairs per prediction step; 0: chosen."""

    @property
    def strategy(self) -> str:
        """Name of the strategy."""

    @property
    def tpuname(self) -> str | None:
        """Name of the TPU, if any."""

    @property
    def tpuzone(self) -> str | None:
        """Zone of a named TPU."""

    @property
    def steps_per_iter(self) -> int:
        """Optimizer steps in an iteration."""

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""

    @property
    def dtype(self) -> str:
        """The dtype that the model computes in."""

    @property
    def batches(self) -> Mapping[str, int]:
        """The number of groups of each task in a step."""

    def task_groups_and_weights(self, step: int) -> Mapping[str, Share]:
        """Return the number of groups and the weight of each task at a global step."""

    def losses(self) -> Mapping[str, Any]:
        """Return the loss (options) of each task."""

    def factor(self, own: Any = None) -> Schedule:
        """Return the factor on a learning rate as a function of the global step, by the schedule `own` or the default
        one.
        """
