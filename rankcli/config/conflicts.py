"""Components that do not fit together, found before anything is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rankcli.config.columns import further_losses, not_given
from rankcli.config.registry import EXTRACTORS, HOOKS, LOSSES, RERANKERS, SAMPLERS, TRAINERS
from rankcli.config.schema import RunConfig, tasks


def conflicts(config: RunConfig) -> list[str]:
    """List the components that do not fit together, one `KEY: sentence` each; [] if all fit."""
    found = _unread("", config.extractor, config.reranker)
    for name, task in tasks(config).items():
        prefix = f"trainer.tasks.{name}." if name else ""
        if name and task.extractor is not config.extractor:
            found += _unread(prefix, task.extractor, config.reranker)
        for key, loss in {f"{prefix or 'trainer.'}loss": task.loss, **further_losses(config)}.items():
            found += _unfit(key, loss, task.sampler, config)
        found += _too_many(f"{prefix}sampler", task.sampler, config.trainer)
        found += not_given(config, task, f"{prefix}sampler")
    for n, hook in enumerate(config.trainer.hooks):
        found += _without_vectors(f"trainer.hooks.{n}", HOOKS.name_of(hook), hook.reads, config)
    if config.trainer.accumulate > 1:
        found += _divided(config)
    if "" not in tasks(config) and config.sampler != SAMPLERS.get("LCE")():
        found.append("sampler: every task has a sampler of its own; leave this one out")
    found += _not_cached(config)
    if config.mixture and config.trainer.strategy == "multiworker":
        found.append("mixture: not on several hosts; leave it out, or train on one")
    if isinstance(config.data.qrels, dict) and config.data.folds is not None:
        found.append("data.folds: the qrels are given per split already; leave `folds` out")
    return found


def _unread(prefix: str, extractor: Any, reranker: Any) -> list[str]:
    """Refuse an extractor that does not make all fields that the reranker reads."""
    if set(reranker.fields) <= set(extractor.fields):
        return []
    return [
        f"{prefix}extractor.name: {EXTRACTORS.name_of(extractor)!r} makes {', '.join(extractor.fields)}, but reranker "
        f"{RERANKERS.name_of(reranker)!r} reads {', '.join(reranker.fields)}; use {reranker.default_extractor!r}"
    ]


def _not_cached(config: RunConfig) -> Iterator[str]:
    """Refuse caches of fields that the reranker does not read, and on several hosts."""
    fields = ", ".join(config.reranker.fields)
    for field in config.caches or {}:
        if field not in config.reranker.fields:
            yield f"caches.{field}: reranker {RERANKERS.name_of(config.reranker)!r} reads no such field, but {fields}"
    if config.caches and config.trainer.strategy == "multiworker":
        yield "caches: not on several hosts; leave it out, or train on one"


def _unfit(key: str, loss: Any, sampler: Any, config: RunConfig) -> list[str]:
    """Refuse a loss that needs larger groups than the sampler's, or vectors that the reranker does not give."""
    found = []
    if loss.min_docs > (size := config.trainer.group_size or sampler.group_size):
        found.append(
            f"{key}: needs at least {loss.min_docs} documents per group, but groups have {size}; use a sampler "
            "of larger groups (`LCE`, `triplet`), or a loss of single documents (`bce`, `mse`)"
        )
    return found + _without_vectors(key, LOSSES.name_of(loss), loss.reads, config)


def _without_vectors(key: str, name: str, reads: Sequence[str], config: RunConfig) -> list[str]:
    """Refuse a loss or hook that reads vectors that the reranker does not give."""
    if not (absent := set(reads) - {"scores", *config.reranker.vectors}):
        return []
    return [
        f"{key}: {name!r} reads the vectors {', '.join(sorted(absent))}, which reranker "
        f"{RERANKERS.name_of(config.reranker)!r} does not give; use a reranker that does, such as `biencoder`"
    ]


def _too_many(key: str, sampler: Any, trainer: Any) -> list[str]:
    """Refuse a sampler whose groups have another size than the trainer reads."""
    if trainer.group_size in (None, sampler.group_size):
        return []
    return [
        f"{key}: {SAMPLERS.name_of(sampler)!r} makes groups of {sampler.group_size} documents, but trainer "
        f"{TRAINERS.name_of(trainer)!r} reads groups of {trainer.group_size}; use `pair` or `pointwise`"
    ]


def _divided(config: RunConfig) -> list[str]:
    """Refuse losses and hooks that compare the groups of a batch: each micro-batch has only a part of them."""
    return [
        f"{key}: {name!r} compares the groups of a batch with each other, but with trainer.accumulate = "
        f"{config.trainer.accumulate} it would see a micro-batch at a time; use accumulate: 1"
        for key, name in _in_batch(config)
    ]


def _in_batch(config: RunConfig) -> Iterator[tuple[str, str]]:
    own = {f"trainer.tasks.{name}.loss" if name else "trainer.loss": task.loss for name, task in tasks(config).items()}
    for key, loss in {**own, **further_losses(config)}.items():
        if loss.in_batch:
            yield key, LOSSES.name_of(loss)
    for n, hook in enumerate(config.trainer.hooks):
        if hook.in_batch:
            yield f"trainer.hooks.{n}", HOOKS.name_of(hook)
