"""How fast each optimizer group learns at a step."""

from __future__ import annotations

from collections.abc import Sequence

from rankcli.training.groups import Group
from rankcli.training.settings import Settings


class Rates:
    """The learning rates of optimizer groups; `starts` holds the global step at which each begins to train."""

    def __init__(self, groups: Sequence[Group], options: Settings) -> None:
        self.starts = {group.name: group.starts_at(options.steps_per_iter) for group in groups}
        self._factors = {group.name: (group.lr, options.factor(group.options.schedule)) for group in groups}

    def __call__(self, step: int) -> dict[str, float]:
        """The learning rate of each group at a global step; 0 until it starts to train."""
        return {
            name: lr * factor(step) if step >= self.starts[name] else 0.0
            for name, (lr, factor) in self._factors.items()
        }

    def active(self, step: int) -> list[bool]:
        """Which groups train at a global step."""
        return [step >= start for start in self.starts.values()]
