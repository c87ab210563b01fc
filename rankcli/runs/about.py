"""Tells of a config in run directories and reports, so that nothing else of a run needs all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.config.registry import DATASETS, EXTRACTORS, RERANKERS, SAMPLERS
from rankcli.config.render import marked, resolved, section, to_yaml
from rankcli.config.schema import Metrics, RunConfig, tasks


@dataclass(frozen=True)
class About:
    """A config in words.

    `yaml` is all of it; `options` its lines, with a mark on those that are not the default; `sections` what is saved
    beside weights; `summary` the few facts that a report begins with.
    """

    yaml: str
    options: list[str]
    sections: Mapping[str, Any]
    summary: Mapping[str, str]


@dataclass(frozen=True)
class Measures:
    """How runs are judged: the metrics, and the lowest grade that counts as relevant."""

    metrics: Metrics
    relevance_level: int


def about(config: RunConfig) -> About:
    """The words for a config."""
    return About(
        yaml=to_yaml(resolved(config)),
        options=list(marked(config)),
        sections={
            "reranker": section(RERANKERS, config.reranker),
            "extractor": section(EXTRACTORS, config.extractor),
        },
        summary=_summary(config),
    )


def _collection(config: RunConfig) -> str:
    """The name of the documents, or of the source that makes them."""
    data = config.data
    return data.builtin or str(data.docs or DATASETS.name_of(data.reader)).rsplit("/", 1)[-1]


def _summary(config: RunConfig) -> dict[str, str]:
    trainer = config.trainer
    return {
        "Reranker": RERANKERS.name_of(config.reranker),
        "Extractor": EXTRACTORS.name_of(config.extractor),
        **{f"Sampler {name}".strip(): _drawn(task.sampler) for name, task in tasks(config).items()},
        "Collection": _collection(config),
        "Training": f"{trainer.niters} × {trainer.steps_per_iter} steps of {_groups(config)}",
    }


def _drawn(sampler: Any) -> str:
    return f"{SAMPLERS.name_of(sampler)}, {sampler.group_size} documents a group"


def _groups(config: RunConfig) -> str:
    """The groups of a step."""
    found = {name: task.samples // config.trainer.steps for name, task in tasks(config).items()}
    return " and ".join(f"{count} groups {name}".strip() for name, count in found.items())
