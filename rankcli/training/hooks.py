"""Build the hooks of a run, and the objective that they add to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rankcli.config.registry import HOOKS, LOSSES
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.hooks.base import Hook, HookContext
from rankcli.records.reader import lay_out
from rankcli.rerankers.base import Reranker
from rankcli.schedules.ramp import unreached
from rankcli.shapes import TokenSequence
from rankcli.training.base import TRAIN
from rankcli.training.gradients import Objective, numbered
from rankcli.training.groups import Group


def build_hooks(
    options: Sequence[Any],
    groups: Sequence[Group],
    niters: int,
    steps: int = 0,
    width: Callable[[str], int] = lambda name: 0,
) -> list[Hook]:
    """Build the hooks over the variables of `groups`, for a training of `steps` steps.

    `width` gives the size of the reranker's vectors. ConfigError where a `part` matches no variable, or where the ramp
    of a weight does not end within `niters` iterations.
    """
    variables = {path: variable for group in groups for path, variable in group.variables.items()}
    context = HookContext(variables, {group.name: tuple(group.variables) for group in groups}, steps, width)
    hooks: list[Hook] = [each.build(context) for each in options]
    for n, (each, hook) in enumerate(zip(options, hooks, strict=True)):
        hook.name = hook.name or HOOKS.name_of(each)
        if why := unreached(hook.weight, niters):
            raise ConfigError(why, where=f"trainer.hooks.{n}.weight")
    return hooks


def width_of(reranker: Reranker, extractor: Extractor, name: str) -> int:
    """Return the size of the vectors that the reranker makes of a field, from those of one token."""
    spec, one = sequence_spec(extractor, name), np.zeros(1, np.int32)
    (layout,) = lay_out([[TokenSequence(one, one, one)]], 1, spec, static=False)
    return int(reranker.towers[name](layout).shape[-1])


def states_of(hooks: Sequence[Hook]) -> dict[str, Any]:
    """Return the states of the hooks that have one, by the hooks' names."""
    names = numbered([hook.name for hook in hooks])
    return {name: hook.state for name, hook in zip(names, hooks, strict=True) if hook.state is not None}


def compares_groups(losses: Mapping[str, Any], hooks: Sequence[Any]) -> bool:
    """Tell whether a loss or hook (options) compares the groups of a batch with each other."""
    more = [loss for hook in hooks for loss in hook.losses.values()]
    return any(each.in_batch for each in (*losses.values(), *hooks, *more))


def objective_of(losses: Mapping[str, Any], hooks: Sequence[Hook]) -> Objective:
    """Return the objective: the loss (options) of each task and the losses of hooks."""
    names = {task: LOSSES.name_of(options) if task == TRAIN else "loss" for task, options in losses.items()}
    return Objective({task: (names[task], options.build()) for task, options in losses.items()}, hooks)
