"""Optimizer groups: variables, their learning rate and weight decay, and the step from which they are trained.

Groups are regular expressions over variable paths, tried in order. A variable that no group claims, and a group that
claims nothing, are errors: the config would not train as its author meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import SCHEDULES, component, option
from rankcli.config.types import NonNegativeFloat, PositiveInt, check_regex
from rankcli.errors import ConfigError
from rankcli.optimizers.base import Member
from rankcli.training.gradients import numbered
from rankcli.training.settings import Settings

_ENCODER = "encoder/(?:query/|also/[^/]+/)?"  # the beginnings of the paths of encoders
LAYER = re.compile(rf"^({_ENCODER})layer_(\d+)/")
EMBEDDINGS = re.compile(rf"^({_ENCODER})(embeddings|word_embeddings)")
NOT_DECAYED = re.compile(r"(^|/)(bias|beta|gamma)$")  # biases, and the weights of layer normalisation


@dataclass(frozen=True, kw_only=True)
class GroupOptions:
    """One optimizer group: the variables that no earlier group claimed and whose path matches the pattern."""

    pattern: str = option(help="regular expression, looked for in paths such as `encoder/layer_0/output/kernel`")
    exclude: str | None = option(None, "regular expression of paths to leave to later groups")
    lr: NonNegativeFloat | None = option(None, "learning rate; needed unless the group is frozen")
    weight_decay: NonNegativeFloat | None = option(None, "default: the trainer's")
    schedule: Any = component(SCHEDULES, None, "learning-rate schedule; default: the trainer's")
    freeze: bool = option(False, "never train these variables")
    unfreeze_at: PositiveInt | None = option(None, "iterations until these variables start to train")

    def __post_init__(self) -> None:
        check_regex("pattern", self.pattern)
        check_regex("exclude", self.exclude or "")
        if self.freeze and (self.lr, self.weight_decay, self.schedule, self.unfreeze_at) != (None, None, None, None):
            raise ValueError("`freeze: true` leaves nothing for lr, weight_decay, schedule and unfreeze_at to do")
        if not self.freeze and self.lr is None:
            raise ValueError("lr is needed (or `freeze: true`)")

    def claims(self, path: str) -> bool:
        """True if the group claims the variable at `path`, unless an earlier group does."""
        left_out = self.exclude is not None and re.search(self.exclude, path)
        return bool(re.search(self.pattern, path)) and not left_out


@dataclass(frozen=True)
class Group:
    """The variables of a group by path, each with its own factor on the learning rate and its own weight decay."""

    name: str
    options: GroupOptions
    members: dict[str, Member]

    @property
    def pattern(self) -> str:
        """The regular expression of its paths."""
        return self.options.pattern

    @property
    def lr(self) -> float:
        """The learning rate before any schedule; 0 if the group is frozen."""
        return self.options.lr or 0.0

    @property
    def variables(self) -> dict[str, Any]:
        """The variables by path."""
        return {path: member.variable for path, member in self.members.items()}

    @property
    def parameters(self) -> int:
        """The number of scalar parameters in the group."""
        return sum(int(variable.shape.num_elements()) for variable in self.variables.values())

    def starts_at(self, steps_per_iter: int) -> int:
        """The global step at which it starts to train."""
        return (self.options.unfreeze_at or 0) * steps_per_iter


def groups_for(variables: Mapping[str, Any], trainer: Settings) -> list[Group]:
    """Return the groups of the trainable variables: those of `trainer.groups`, or of `bertlr` and `lr`.

    ConfigError when nothing would be trained, or where groups and variables do not match.
    """
    trainable = {path: variable for path, variable in variables.items() if variable.trainable}
    _check_frozen(trainer.groups, variables)
    wanted = _named(trainer.groups) or _shorthand(trainable, trainer.bertlr, trainer.lr)
    scales = _layer_scales(variables, trainer.layerdecay)
    usual = trainer.optimizer.weight_decay if trainer.weight_decay is None else trainer.weight_decay
    groups = []
    for (name, options), paths in zip(wanted, _claimed(trainable, wanted), strict=True):
        decays = _weight_decays(paths, options.weight_decay, usual)
        members = {path: Member(trainable[path], scales[path], decays[path]) for path in paths}
        groups.append(Group(name, options, members))
    if all(group.options.freeze for group in groups):
        fix = "leave one group to train" if trainable else "freeze fewer layers of the reranker, or give it a head"
        raise ConfigError("every variable is frozen", where="trainer.groups" if trainable else "reranker", fix=fix)
    return groups


def _check_frozen(groups: Iterable[GroupOptions], variables: Mapping[str, Any]) -> None:
    """Raise ConfigError for groups that match only variables that the reranker never trains."""
    for group in groups:
        found = [v.trainable for path, v in variables.items() if group.claims(path)]
        if found and not any(found):
            raise ConfigError(
                f"{group.pattern!r} matches only variables that an option of the reranker freezes",
                where="trainer.groups",
                fix="leave this group out, or freeze less in `reranker`",
            )


def trained(groups: Iterable[Group]) -> list[Group]:
    """Return the groups that are not frozen for the whole training."""
    return [group for group in groups if not group.options.freeze]


def _named(groups: Sequence[GroupOptions]) -> list[tuple[str, GroupOptions]]:
    """Name groups by their patterns. A repeated pattern gets ` (2)` after it."""
    return list(zip(numbered([group.pattern for group in groups]), groups, strict=True))


def _shorthand(paths: Iterable[str], bertlr: float, lr: float) -> list[tuple[str, GroupOptions]]:
    """Return the groups that `bertlr` and `lr` stand for. A model without an encoder, or with nothing else, has one
    group.
    """
    encoder = [path.startswith("encoder/") for path in paths]
    groups = [("bertlr", GroupOptions(pattern="^encoder/", lr=bertlr)), ("lr", GroupOptions(pattern="", lr=lr))]
    return [group for group, needed in zip(groups, (any(encoder), not all(encoder)), strict=True) if needed]


def _claimed(paths: Iterable[str], wanted: Sequence[tuple[str, GroupOptions]]) -> list[list[str]]:
    """Return the paths of each group. A path belongs to the first group that claims it."""
    claimed: list[list[str]] = [[] for _ in wanted]
    unclaimed: list[str] = []
    for path in paths:
        first = next((n for n, (_, options) in enumerate(wanted) if options.claims(path)), None)
        (unclaimed if first is None else claimed[first]).append(path)
    if unclaimed:
        raise ConfigError(
            f"no optimizer group claims {', '.join(unclaimed)}",
            where="trainer.groups",
            fix='add a last group for all others: {pattern: "", lr: ...} or {pattern: "", freeze: true}',
        )
    if empty := [repr(options.pattern) for (_, options), found in zip(wanted, claimed, strict=True) if not found]:
        raise ConfigError(
            f"these optimizer groups claim no variable: {', '.join(empty)}",
            where="trainer.groups",
            fix="compare with the paths of the model, and with the groups before them",
        )
    return claimed


def _layer_scales(paths: Iterable[str], decay: float) -> dict[str, float]:
    """Return decay ^ (layers between a variable and the top one). Embeddings are below the lowest layer, heads at the
    top.
    """
    paths = list(paths)
    layers = {path: (found[1], int(found[2])) for path in paths if (found := LAYER.match(path))}
    if decay != 1 and not layers:
        raise ConfigError("the model has no encoder of layers", where="trainer.layerdecay", fix="leave layerdecay out")
    depths: dict[str, int] = {}  # of each encoder
    for encoder, layer in layers.values():
        depths[encoder] = max(depths.get(encoder, 0), layer + 1)
    below = {path: depths[encoder] - 1 - layer for path, (encoder, layer) in layers.items()}
    below |= {path: depths.get(found[1], 0) for path in paths if (found := EMBEDDINGS.match(path))}
    return {path: decay ** below.get(path, 0) for path in paths}


def _weight_decays(paths: Sequence[str], own: float | None, usual: float) -> dict[str, float]:
    """Return 0 for biases and norms, unless the group sets its own weight decay and has no other variables."""
    spared = {path for path in paths if NOT_DECAYED.search(path)}
    if own is not None and len(spared) == len(paths):
        spared = set()
    decay = usual if own is None else own
    return {path: 0.0 if path in spared else decay for path in paths}
