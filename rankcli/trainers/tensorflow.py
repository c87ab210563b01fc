"""The default trainer: its options, and the step counts and schedules that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rankcli.config.registry import (
    HOOKS,
    LISTENERS,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    TRAINERS,
    component,
    components,
    option,
)
from rankcli.config.types import Factor, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from rankcli.schedules.base import Schedule, ScheduleContext
from rankcli.trainers.base import TrainerOptions
from rankcli.training.base import TRAIN, Share, TrainerContext
from rankcli.training.groups import GroupOptions

BERTLR, LR = 2e-5, 1e-3


@TRAINERS.register("tensorflow")
@dataclass(frozen=True, kw_only=True)
class TensorflowTrainer(TrainerOptions):
    """Trains with tf.distribute on one CPU, one or many GPUs, several hosts or a TPU.

    The encoder has a learning rate of its own.
    """

    batch: PositiveInt = option(4, "groups per optimizer step, over all replicas")
    niters: NonNegativeInt = option(2, "iterations; 0: the model is tested as it is")
    itersize: PositiveInt = option(160, "samples (groups) per iteration")
    steps_per_execution: PositiveInt = option(
        1, "steps that the devices make before the host looks at them: more save time on a TPU"
    )
    accumulate: PositiveInt = option(1, "micro-batches that a batch is computed in, to need less memory")
    recompute: bool = option(
        False, "keep only the inputs of the encoder's layers for gradients, and compute the rest again: less memory"
    )
    optimizer: Any = component(OPTIMIZERS, "adam", "how gradients change variables: `adam`, `adamw` or `sgd`")
    bertlr: NonNegativeFloat = option(BERTLR, "learning rate of the encoder")
    lr: NonNegativeFloat = option(LR, "learning rate of everything else")
    groups: tuple[GroupOptions, ...] = option(
        (),
        "optimizer groups in place of bertlr and lr, tried in order: a list of "
        "{pattern, exclude, lr, weight_decay, schedule, freeze, unfreeze_at}",
    )
    layerdecay: Factor = option(1.0, "factor on the learning rate per encoder layer below the top one; 1: off")
    weight_decay: NonNegativeFloat | None = option(
        None, "not of biases and norms; default the optimizer's: 0.01 for `adamw`, else 0"
    )
    loss: Any = component(LOSSES, "lce", "what is minimised: one of `rankcli modules losses`, or `tfr:KEY`")
    schedule: Any = component(SCHEDULES, None, "learning-rate schedule; default: decaytype, decay and decayiters")
    warmupiters: NonNegativeFloat | None = option(
        None, "iterations in which the learning rates rise; default 0.1 of niters"
    )
    decaytype: Literal["constant", "linear", "cosine", "exponential", "inverse_time"] = option(
        "linear", "after warm-up"
    )
    decay: PositiveFloat | None = option(None, "the rate of `exponential` and `inverse_time`")
    decayiters: PositiveInt = option(3, "iterations in which `exponential` falls by `decay`")
    hooks: Any = components(
        HOOKS,
        "what is added to the training step, in this order: a list of those in `rankcli modules hooks`",
    )
    validatefreq: PositiveInt = option(1, "iterations between validations")
    boardname: str | None = option(
        None, "write events for TensorBoard to `tensorboard/NAME`: short for the listener `tensorboard`", identity=False
    )
    checkpoint_interval: PositiveInt = option(
        1, "iterations between checkpoints; the last one ends with one", identity=False
    )
    checkpointsteps: NonNegativeInt = option(
        0, "steps between checkpoints within iterations; 0: none there", identity=False
    )
    keep: PositiveInt = option(2, "checkpoints kept, the newest that load", identity=False)
    on_nan: Literal["stop", "skip"] = option(
        "stop", "at a loss or gradient that is not finite: stop, or leave its batch out", identity=False
    )
    listeners: Any = components(
        LISTENERS, "what goes on beside the steps: a list of {name, ...}; default: a `validation` of every dev set"
    )
    threshold: PositiveInt = option(100, "candidates reranked per query on dev")
    testthreshold: PositiveInt | None = option(
        None, "candidates reranked per query on test; default: as many as on dev", identity=False
    )
    evalbatch: NonNegativeInt = option(0, "pairs (bi-encoder: texts) per prediction step; 0: chosen", identity=False)
    amp: Literal["none", "bf16", "fp16"] | None = option(
        None, "precision of the computation; default none, on a TPU bf16"
    )
    seed: int = option(42, "of samples, initial weights and dropout")
    fastforward: bool = option(True, "go on where an interrupted run of the same id stopped", identity=False)
    usecache: bool = option(True, "reuse TFRecords that fit; false converts anew", identity=False)
    storage: str | None = option(
        None, "where caches live; default $RANKCLI_CACHE or ~/.cache/rankcli", path="folder", identity=False
    )
    strategy: Literal["auto", "cpu", "mirrored", "multiworker", "tpu"] = option("auto", "devices", identity=False)
    tpuname: str | None = option(None, "name of the TPU; `local` on a TPU VM", identity=False)
    tpuzone: str | None = option(None, "zone of a named TPU", identity=False)

    @property
    def test_depth(self) -> int:
        """The candidates reranked per query on test."""
        return self.testthreshold or self.threshold

    def __post_init__(self) -> None:
        if 0 < self.niters < self.validatefreq:
            raise ValueError(
                f"validatefreq = {self.validatefreq} is above niters = {self.niters}: nothing would be kept"
            )
        if self.batch > self.itersize:
            raise ValueError(
                f"batch = {self.batch} is above itersize = {self.itersize}: an iteration would have no step"
            )
        if self.warmup_iterations >= self.niters > 0:
            raise ValueError(f"warmupiters = {self.warmup_iterations:g} leaves nothing of niters = {self.niters}")
        if self.decaytype == "linear" and self.decay is not None:
            raise ValueError("decaytype `linear` falls to 0 and takes no decay; Capreolus' linear is `inverse_time`")
        if self.decaytype in ("constant", "cosine") and self.decay is not None:
            raise ValueError(f"decaytype `{self.decaytype}` takes no decay")
        if self.schedule is not None and (self.decaytype != "linear" or self.decay is not None):
            raise ValueError("give either `schedule` or `decaytype` and `decay`: they say the same thing twice")
        if self.decaytype in ("exponential", "inverse_time") and self.decay is None:
            raise ValueError(f"decaytype `{self.decaytype}` needs decay")
        if self.decaytype == "exponential" and self.decay is not None and self.decay >= 1:
            raise ValueError("decay must be below 1 for `exponential`")
        if not 0 <= self.seed < 2**32:
            raise ValueError("seed must be from 0 to 4294967295, what NumPy takes")
        if self.boardname is not None:
            if any(LISTENERS.name_of(each) == "tensorboard" for each in self.listeners):
                raise ValueError("give either `boardname` or the listener `tensorboard`: they say the same thing twice")
            LISTENERS.get("tensorboard")(boardname=self.boardname)  # its constructor checks the name
        self._check_groups()
        if self.batch % self.accumulate:
            raise ValueError(f"batch = {self.batch} cannot be divided into accumulate = {self.accumulate} parts")
        if self.amp == "fp16" and self.on_tpu:
            raise ValueError("amp `fp16` is for GPUs: a TPU computes in bf16")
        if self.strategy == "tpu" and not self.tpuname:
            raise ValueError("strategy `tpu` needs tpuname (`local` on a TPU VM)")
        if self.tpuname and self.tpuname != "local" and not self.tpuzone:
            raise ValueError("a named TPU needs tpuzone")

    def _check_groups(self) -> None:
        if self.groups and (self.bertlr, self.lr) != (BERTLR, LR):
            raise ValueError("give either `groups` or `bertlr` and `lr`: they say the same thing twice")
        for group in self.groups:
            if group.unfreeze_at is not None and group.unfreeze_at >= self.niters:
                raise ValueError(
                    f"unfreeze_at = {group.unfreeze_at} of group {group.pattern!r} is not below niters = "
                    f"{self.niters}: it would never train; say `freeze: true`"
                )

    @property
    def warmup_iterations(self) -> float:
        """`warmupiters`, or a tenth of the iterations."""
        return 0.1 * self.niters if self.warmupiters is None else self.warmupiters

    @property
    def steps_per_iter(self) -> int:
        """Optimizer steps in an iteration. Samples that do not fill a batch are left out."""
        return self.itersize // self.batch

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.niters * self.steps_per_iter

    @property
    def samples(self) -> int:
        """Training samples read in all."""
        return self.steps * self.batch

    @property
    def batches(self) -> dict[str, int]:
        """The number of groups of each task in a step."""
        return {TRAIN: self.batch}

    def task_groups_and_weights(self, step: int) -> dict[str, Share]:
        """Return the number of groups and the weight of each task at a global step."""
        return {task: Share(groups, 1.0) for task, groups in self.batches.items()}

    @property
    def on_tpu(self) -> bool:
        """True if the options name a TPU."""
        return self.strategy == "tpu" or self.tpuname is not None

    @property
    def dtype(self) -> str:
        """The dtype that the model computes in."""
        asked = self.amp or ("bf16" if self.on_tpu else "none")
        return {"none": "float32", "bf16": "bfloat16", "fp16": "float16"}[asked]

    def factor(self, own: Any = None) -> Schedule:
        """Return the factor on a learning rate as a function of the global step.

        The schedule is `own`, that of a group, else `schedule`, else the one of `decaytype`.
        """
        warmup = round(self.warmup_iterations * self.steps_per_iter)
        schedule = own or self.schedule
        if schedule is None:
            names = {"exponential": ("decay", "decayiters"), "inverse_time": ("decay",)}.get(self.decaytype, ())
            schedule = SCHEDULES.get(self.decaytype)(**{name: getattr(self, name) for name in names})
        built: Schedule = schedule.build(ScheduleContext(self.steps, warmup, self.steps_per_iter))
        return built

    def losses(self) -> dict[str, Any]:
        """Return the loss (options) of each task."""
        return {TRAIN: self.loss}

    def build(self, ctx: TrainerContext) -> Any:
        """Return the training loop, ready to `fit()`."""
        from rankcli.training.loop import Loop

        return Loop(self, ctx)
