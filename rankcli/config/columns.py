"""The columns that travel with documents: the components that read them and those that give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rankcli.config.registry import EXTRACTORS, HOOKS, LOSSES, RERANKERS, SAMPLERS
from rankcli.config.schema import RunConfig, Task
from rankcli.shapes import FIRST_STAGE

OPTIONAL = frozenset({"weight"})  # every loss reads them where the sampler gives them
PREDICTION = frozenset({FIRST_STAGE})  # every candidate has them


class Reader(NamedTuple):
    """A component that reads columns: its key in the config, its name, the names of the columns."""

    key: str
    name: str
    columns: tuple[str, ...]


def training_columns(config: RunConfig, task: Task) -> tuple[str, ...]:
    """The names of the columns that training a task reads, sorted; those of the data source included."""
    read = {name for reader in (*_of_model(config, task), *_of_losses(config, task)) for name in reader.columns}
    return tuple(sorted(read | OPTIONAL.intersection(task.sampler.gives)))


def prediction_columns(config: RunConfig) -> tuple[str, ...]:
    """The names of the columns that scoring reads, sorted."""
    return tuple(sorted({*config.reranker.columns, *config.extractor.columns}))


def not_given(config: RunConfig, task: Task, key: str) -> list[str]:
    """One sentence for each reader of a column that no component and no data source gives."""
    source = set(config.data.reader.gives)
    drawn = {*task.sampler.gives, *source}
    who = f"sampler {SAMPLERS.name_of(task.sampler)!r} gives {_listed(task.sampler.gives)}"
    found = [
        f"{key}: {reader.key} {reader.name!r} reads the column {column!r}, but {who}; use a sampler that gives it"
        for reader in (*_of_model(config, task), *_of_losses(config, task))
        for column in sorted(set(reader.columns) - drawn)
    ]
    return found + [
        f"{reader.key}: {reader.name!r} reads the column {column!r}, which documents to rerank do not have: they have "
        f"{_listed(sorted(PREDICTION | source))}; use another {reader.key}"
        for reader in _of_model(config, task)
        for column in sorted(set(reader.columns) - PREDICTION - source)
    ]


def _of_model(config: RunConfig, task: Task) -> Iterator[Reader]:
    yield Reader("reranker", RERANKERS.name_of(config.reranker), config.reranker.columns)
    yield Reader("extractor", EXTRACTORS.name_of(task.extractor), task.extractor.columns)


def _of_losses(config: RunConfig, task: Task) -> Iterator[Reader]:
    for loss in (task.loss, *further_losses(config).values()):
        yield Reader("loss", LOSSES.name_of(loss), loss.columns)
    for hook in config.trainer.hooks:
        yield Reader("hook", HOOKS.name_of(hook), hook.columns)


def _listed(names: Any) -> str:
    return ", ".join(names) or "none"


def further_losses(config: RunConfig) -> dict[str, Any]:
    """The losses of hooks, by key in the config; they are computed on every task."""
    hooks = enumerate(config.trainer.hooks)
    return {f"trainer.hooks.{n}.{key}": loss for n, hook in hooks for key, loss in hook.losses.items()}
