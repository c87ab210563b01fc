"""Optimizer groups: which variable is trained by which optimizer, at which learning rate.

Groups are regular expressions over variable paths, tried in order. A variable that no group claims, and a group that
claims nothing, are errors, since both mean that something trains otherwise than was thought.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankcli.backend import tf
from rankcli.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """Variables (by path) that share a learning rate."""

    name: str
    pattern: str
    lr: float
    variables: dict[str, Any]

    @property
    def parameters(self) -> int:
        """How many numbers the group trains."""
        return sum(int(variable.shape.num_elements()) for variable in self.variables.values())


def shorthand(bertlr: float, lr: float) -> list[tuple[str, str, float]]:
    """The groups that `bertlr` and `lr` stand for: (option name, pattern, learning rate)."""
    return [("bertlr", "^encoder/", bertlr), ("lr", "", lr)]


def assign_groups(variables: Mapping[str, Any], patterns: Sequence[tuple[str, str, float]]) -> list[Group]:
    """The trainable ones of `variables`, each in the first group whose pattern is found in its path."""
    trainable = {path: variable for path, variable in variables.items() if variable.trainable}
    members: dict[str, dict[str, Any]] = {name: {} for name, _, _ in patterns}
    for path, variable in trainable.items():
        claimed = next((name for name, pattern, _ in patterns if re.search(pattern, path)), None)
        if claimed is None:
            raise ConfigError(f"no optimizer group claims the variable {path!r}", fix="add a group that matches it")
        members[claimed][path] = variable
    groups = [Group(name, pattern, lr, members[name]) for name, pattern, lr in patterns]
    for group in groups:
        if not group.variables:
            raise ConfigError(f"the optimizer group {group.name} ({group.pattern!r}) claims no variable")
    return groups


def groups_for(variables: Mapping[str, Any], bertlr: float, lr: float) -> list[Group]:
    """The groups of `bertlr` and `lr`; a model without an encoder, or with nothing else, has one group."""
    trainable = [path for path, variable in variables.items() if variable.trainable]
    encoder = [path.startswith("encoder/") for path in trainable]
    wanted = [
        group for group, needed in zip(shorthand(bertlr, lr), (any(encoder), not all(encoder)), strict=True) if needed
    ]
    return assign_groups(variables, wanted)


def optimizer(group: Group) -> Any:
    """Adam for one group, its slots built. Call it inside the strategy's scope."""
    adam = tf.keras.optimizers.Adam(learning_rate=group.lr, jit_compile=False)
    adam.build(list(group.variables.values()))
    return adam
