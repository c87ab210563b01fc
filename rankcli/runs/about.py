"""The texts that run directories and reports show of a config. Nothing else of a run needs the whole config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankcli.config.paths import shortened
from rankcli.config.registry import DATASETS, EXTRACTORS, RERANKERS, SAMPLERS
from rankcli.config.render import changed, marked, resolved, section, to_yaml
from rankcli.config.schema import Metrics, RunConfig, tasks
from rankcli.rerankers.base import without_adapter


@dataclass(frozen=True)
class About:
    """A config as text.

    `yaml` is the complete config. `options` are its lines that differ from the default, with their sections.
    `sections` are saved with the weights. `summary` has the few facts at the top of a report.
    """

    yaml: str
    options: list[str]
    sections: Mapping[str, Any]
    summary: Mapping[str, str]


@dataclass(frozen=True)
class Measures:
    """The metrics of a run, and the lowest grade that counts as relevant."""

    metrics: Metrics
    relevance_level: int


def about(config: RunConfig) -> About:
    """Return the texts for a config."""
    return About(
        yaml=to_yaml(resolved(config)),
        options=changed(marked(config)),
        sections={
            "reranker": section(RERANKERS, without_adapter(config.reranker)),
            "extractor": section(EXTRACTORS, config.extractor),
        },
        summary=_summary(config),
    )


def _collection(config: RunConfig) -> str:
    """Return the name of the documents with their folder, or of the source that makes them."""
    data = config.data
    places = (data.docs,) if isinstance(data.docs, str) else data.docs or (DATASETS.name_of(data.reader),)
    return data.builtin or ", ".join(map(shortened, places))


def _summary(config: RunConfig) -> dict[str, str]:
    trainer = config.trainer
    return {
        "Reranker": RERANKERS.name_of(config.reranker),
        "Extractor": EXTRACTORS.name_of(config.extractor),
        **{f"Sampler {name}".strip(): _drawn(task.sampler) for name, task in tasks(config).items()},
        "Collection": _collection(config),
        "Depth on test": f"{trainer.test_depth} candidates a query",
        "Training": _training(config),
    }


def _drawn(sampler: Any) -> str:
    return f"{SAMPLERS.name_of(sampler)}, {sampler.group_size} documents a group"


def _training(config: RunConfig) -> str:
    trainer = config.trainer
    if not trainer.steps:
        return "none: the model is tested as it is"
    return f"{trainer.niters} × {trainer.steps_per_iter} steps of {_groups(config)}"


def _groups(config: RunConfig) -> str:
    """Return the number of groups per step, as text."""
    found = {name: task.samples // config.trainer.steps for name, task in tasks(config).items()}
    return " and ".join(f"{count} groups {name}".strip() for name, count in found.items())
