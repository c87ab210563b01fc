"""The hooks of a run, built and sorted by what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import LOSSES
from rankcli.hooks.base import GradientHook, HookContext, Penalty, ScoreLoss
from rankcli.shapes import OutputType
from rankcli.training.base import TRAIN
from rankcli.training.groups import Group
from rankcli.training.objective import Objective


@dataclass(frozen=True)
class Hooks:
    """Further losses, penalties and changes of gradients, each kind in the order of the config."""

    output_type: OutputType
    losses: tuple[ScoreLoss, ...]
    penalties: tuple[Penalty, ...]
    gradients: tuple[GradientHook, ...]

    def objective(self, losses: Mapping[str, Any]) -> Objective:
        """What is minimised: each task's own loss (options), and the further ones on the same scores."""
        tasks = {}
        for task, options in losses.items():
            name = LOSSES.name_of(options) if task == TRAIN else "loss"
            tasks[task] = (ScoreLoss(name, 1.0, options.build(self.output_type)), *self.losses)
        return Objective(tasks)


def build_hooks(options: Sequence[Any], groups: Sequence[Group], output_type: OutputType) -> Hooks:
    """Build the hooks over the variables of `groups`; ConfigError where a `part` matches none of them."""
    variables = {path: variable for group in groups for path, variable in group.variables.items()}
    context = HookContext(variables, {group.name: tuple(group.variables) for group in groups}, output_type)
    built = [hook.build(context) for hook in options]
    losses = tuple(hook for hook in built if isinstance(hook, ScoreLoss))
    penalties = tuple(hook for hook in built if isinstance(hook, Penalty))
    others = tuple(hook for hook in built if not isinstance(hook, (ScoreLoss, Penalty)))
    return Hooks(output_type, losses, penalties, others)
