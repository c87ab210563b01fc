"""Build the hooks of a run, and the objective that they add to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankcli.config.registry import HOOKS, LOSSES
from rankcli.errors import ConfigError
from rankcli.hooks.base import Hook, HookContext
from rankcli.schedules.ramp import unreached
from rankcli.training.base import TRAIN
from rankcli.training.gradients import Objective, numbered
from rankcli.training.groups import Group


def build_hooks(options: Sequence[Any], groups: Sequence[Group], niters: int) -> list[Hook]:
    """Build the hooks over the variables of `groups`.

    ConfigError where a `part` matches none of them, or where the ramp of a weight does not end within `niters`
    iterations.
    """
    variables = {path: variable for group in groups for path, variable in group.variables.items()}
    context = HookContext(variables, {group.name: tuple(group.variables) for group in groups})
    hooks: list[Hook] = [each.build(context) for each in options]
    for n, (each, hook) in enumerate(zip(options, hooks, strict=True)):
        hook.name = hook.name or HOOKS.name_of(each)
        if why := unreached(hook.weight, niters):
            raise ConfigError(why, where=f"trainer.hooks.{n}.weight")
    return hooks


def states_of(hooks: Sequence[Hook]) -> dict[str, Any]:
    """Return the states of the hooks that have one, by the hooks' names."""
    names = numbered([hook.name for hook in hooks])
    return {name: hook.state for name, hook in zip(names, hooks, strict=True) if hook.state is not None}


def objective_of(losses: Mapping[str, Any], hooks: Sequence[Hook]) -> Objective:
    """Return the objective: the loss (options) of each task and the losses of hooks."""
    names = {task: LOSSES.name_of(options) if task == TRAIN else "loss" for task, options in losses.items()}
    return Objective({task: (names[task], options.build()) for task, options in losses.items()}, hooks)
