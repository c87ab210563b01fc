"""The variable parts of a training: the model with its initial weights, and the optimizers of its groups."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.build import open_models
from rankcli.log import say
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.training.base import StepInputs, TrainerContext
from rankcli.training.gradients import Batches, by_replica, stacked
from rankcli.training.groups import groups_for, trained
from rankcli.training.hooks import build_hooks, objective_of, states_of, width_of
from rankcli.training.loss_scale import LossScale
from rankcli.training.rates import Rates, Weights
from rankcli.training.settings import Settings
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import per_replica


class Learner:
    """A reranker, the optimizers of its groups that are not frozen, their learning rates, and the training step.

    `hook_states` has the states of hooks, by name. All variables are created in the scope of `strategy`, on its
    devices.
    """

    def __init__(self, options: Settings, ctx: TrainerContext, strategy: Any, *, keep_scores: bool = False) -> None:
        self._options, self._strategy = options, strategy
        with strategy.scope():
            self.reranker: Reranker = ctx.reranker.build(
                RerankerContext(
                    ctx.extractor, options.seed, options.dtype, open_models(ctx.models), recompute=options.recompute
                )
            )
            if told := ctx.initialise(self.reranker):
                say(told)
            self._groups = trained(groups_for(self.reranker.variables, options))
            self._optimizers = {group.name: options.optimizer.build(group.members) for group in self._groups}
            self.scale = LossScale() if options.dtype == "float16" else None
            width = functools.partial(width_of, self.reranker, ctx.extractor)
            hooks = build_hooks(options.hooks, self._groups, options.niters, options.steps, width)
        self.hook_states = states_of(hooks)
        self.rates = Rates(self._groups, options)
        self.step = TrainingStep(
            strategy,
            self.reranker,
            objective_of(options.losses(), hooks),
            self._optimizers,
            options.seed,
            accumulate=options.accumulate,
            scale=self.scale,
            hooks=hooks,
            judged=ctx.judged,
            keep_scores=keep_scores,
        )
        self.weights = Weights(self.step.weights, options)

    def train(self, batches: Sequence[Batches], first: int, replicas: int) -> list[dict[str, Any]]:
        """Make optimizer steps from `first` on, and return the results of each.

        `batches` has one batch per step, replica of this host and micro-batch.
        """
        given = self.arguments(batches, first, replicas)
        return [self.step(*given)] if self._options.steps_per_execution == 1 else self.step.several(*given)

    def arguments(self, batches: Sequence[Batches], first: int, replicas: int) -> tuple[Any, StepInputs]:
        """Return the batches and the inputs of `train`, as the step takes them."""
        batches = stacked(batches, self._options.accumulate)
        steps = range(first, first + len(batches) // replicas)
        inputs = tf.nest.map_structure(lambda *of_steps: np.stack(of_steps), *map(self._inputs, steps))
        if self._options.steps_per_execution == 1:
            inputs = tf.nest.map_structure(lambda value: tf.constant(value[0]), inputs)
            return per_replica(self._strategy, batches), inputs
        stacks = per_replica(self._strategy, by_replica(batches, replicas))
        return stacks, tf.nest.map_structure(tf.constant, inputs)

    def _inputs(self, step: int) -> StepInputs:
        """Return the inputs of a step other than its batches."""
        tasks = self._options.task_groups_and_weights(step)
        groups = {task: np.float32(each.groups) for task, each in tasks.items()}
        rates = np.array(list(self.rates(step).values()), np.float32)
        return StepInputs(np.int32(step), groups, self.weights(step), rates, np.array(self.rates.active(step)))

    @property
    def states(self) -> list[Any]:
        """The states for a checkpoint, without the model: the optimizers' slots, and the loss scale if there is one."""
        return [part.state for part in (*self._optimizers.values(), self.scale) if part is not None]

    def trained_variables(self) -> Iterator[tuple[str, Any]]:
        """Yield the variables that steps change, with their paths."""
        return (entry for group in self._groups for entry in group.variables.items())
