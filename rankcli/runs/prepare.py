"""Take a config apart into everything that a conversion or a training needs.

Only this module does so. Later stages receive the parts that they use, and never the config.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.config.identity import component_identity, digest
from rankcli.config.registry import RERANKERS, TRAINERS, path_options
from rankcli.config.schema import MixtureOptions, RunConfig, Task, tasks
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.hashes import input_sha256
from rankcli.data.trec import CompactRun
from rankcli.encoders.build import find_model_directory
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, ExtractorContext, reads_titles, sequence_spec
from rankcli.runs.about import About, Measures, about
from rankcli.runs.candidates import first_stages
from rankcli.runs.mixed import check_signals
from rankcli.runs.records import Caching, RecordSets, records_storage
from rankcli.runs.sets import DEV, TRAIN, record_sets
from rankcli.runs.start import Start, hashes_of_models
from rankcli.runs.tuned import with_tuned
from rankcli.runs.vectors import Caches
from rankcli.shapes import Floats, SequenceSpec
from rankcli.storage.base import is_remote
from rankcli.storage.places import cache_uri, local_root
from rankcli.text.hub import resolve


@dataclass(frozen=True)
class RunIdentity:
    """Everything that the result of a training depends on, readable."""

    content: Mapping[str, Any]

    @cached_property
    def run_id(self) -> str:
        """The id of the training: a digest of the content."""
        return digest(self.content)


@dataclass(frozen=True)
class Prepared:
    """A config with its inputs read, in parts: the collection, the records, the model, the options of the trainer, the
    measures, the texts for reports, the candidates of all queries, their tuned searcher with words on how it was tuned,
    and the mixture to learn.
    """

    dataset: Dataset
    sets: RecordSets
    start: Start
    trainer: Any
    measures: Measures
    about: About
    caches: Caches
    candidates: CompactRun
    searcher: Any
    first_stage: str
    mixture: MixtureOptions | None

    @property
    def searches(self) -> bool:
        """True if candidates are searched, and not read from a file or from the judgments."""
        return not isinstance(self.searcher, str) and len(self.dataset.docs) > 0

    @cached_property
    def identity(self) -> RunIdentity:
        """The identity of the training. The weights are hashed at the first access."""
        return identify(self.sets, self.start, self.trainer, self.measures, self.caches)


def identify(sets: RecordSets, start: Start, options: Any, measures: Measures, caches: Caches) -> RunIdentity:
    """Return the identity of a training with a trainer's options."""
    reranker = component_identity(RERANKERS, start.reranker, input_sha256)
    trainer = component_identity(TRAINERS, options, input_sha256)
    # The content of the weights counts, not their path; the dtype counts, not the option that chose it.
    for name in start.models:
        _left_out(reranker, name)
    weights = hashes_of_models(start.models)
    trainer.pop("amp", None)
    train, (dev, *devsets) = sets.of(TRAIN), sets.of(DEV).values()
    return RunIdentity(
        {
            "train": train[TRAIN].identity if TRAIN in train else {key: each.identity for key, each in train.items()},
            "dev": dev.identity,
            **({"devsets": {each.key: each.identity for each in devsets}} if devsets else {}),
            "reranker": reranker,
            "weights": weights.pop("pretrained", None),
            **({"models": weights} if weights else {}),
            "trainer": {**trainer, "dtype": options.dtype},
            "metrics": list(measures.metrics.all),
            **({"init": start.initial.identity} if start.initial else {}),
            **({"caches": caches.identity} if caches.options else {}),
        }
    )


def _left_out(identity: dict[str, Any], dotted: str) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        identity = identity.get(section, {})
    identity.pop(name, None)


def build_extractors(
    own: Any, of_tasks: Mapping[str, Task], dataset: Dataset, ranked: CompactRun, models: Mapping[str, Path]
) -> dict[str, Extractor]:
    """Build the run's extractor from the options `own` (empty name), and the extractor of every task (its name).

    Each reads its own tokenizer, else that of the reranker's `models`, else a vocabulary made from the collection.
    Equal options give one shared extractor. ConfigError where a task's extractor does not fit the model, which is built
    for the run's own.
    """

    def texts() -> Iterator[str]:
        return (text for _, text in dataset.docs.iterate())

    store = dataset.features

    def features() -> Iterator[Floats]:
        assert store is not None
        return (store.features(qid, tuple(dataset.qrels[qid])) for qid in dataset.split["train"])

    def scores() -> Floats:
        trained = ranked.part(dataset.split["train"]).by_query.values()
        return np.concatenate([np.zeros(0, np.float32), *(each.scores for each in trained)])

    context = ExtractorContext(
        models.get("pretrained"), models.get("query.pretrained"), texts, features if store else None, scores
    )
    built: list[tuple[Any, Extractor]] = []

    def build(options: Any) -> Extractor:
        known = next((extractor for other, extractor in built if other == options), None)
        if known is None:
            named = next(filter(None, path_options(options, "model").values()), None)
            known = options.build(replace(context, pretrained=resolve(named)) if named else context)
            _check_titles(known, dataset)
            built.append((options, known))
        return known

    found = {"": build(own)}
    for name, task in of_tasks.items():
        found[name] = build(task.extractor)
        _check_alike(found[""], found[name], f"trainer.tasks.{name}.extractor")
    return found


def _check_titles(extractor: Extractor, dataset: Dataset) -> None:
    """Raise ConfigError where titles are read and no document has one."""
    if reads_titles(extractor) and not dataset.docs.titles:
        fix = "give documents a `title` beside their `text`, or leave extractor.titles out"
        raise ConfigError(f"no document of {dataset.docs.source} has a title", where="extractor.titles", fix=fix)


def _check_alike(own: Extractor, other: Extractor, where: str) -> None:
    """Raise ConfigError where a model that is built for `own` cannot read the output of `other`."""
    if other.fingerprint != own.fingerprint:
        raise ConfigError(
            "the tokens are not those of the run's extractor, and one model reads both",
            where=where,
            fix="give both the same tokenizer, or the same options of a vocabulary",
        )
    for field, spec in own.fields.items():
        if isinstance(spec, SequenceSpec) and sequence_spec(other, field).max_length > spec.max_length:
            raise ConfigError(
                f"{field}: sequences of {sequence_spec(other, field).max_length} tokens, "
                f"but {spec.max_length} in the run's",
                where=where,
                fix="lengthen `extractor`, which the model is built for",
            )


def prepare(config: RunConfig) -> Prepared:
    """Read the inputs, rank the candidates and build the extractors. Nothing is converted and no device is opened."""
    storage = config.trainer.storage
    if is_remote(cache_uri(storage)):
        records_storage(storage).list()  # an unreachable bucket must fail before hours of work
    root = local_root(storage)
    dataset = load_dataset(config.data, root)
    depths = [task.sampler.depth for task in tasks(config).values()]
    depths += [config.trainer.threshold] if config.mixture else []
    told = about(config)
    config, said = with_tuned(config, dataset, root)
    ranked = first_stages(dataset, config.data, root, None if None in depths else max(depths))
    models = {name: find_model_directory(said) for name, said in path_options(config.reranker, "model").items() if said}
    extractors = build_extractors(config.extractor, tasks(config), dataset, ranked[""], models)
    return Prepared(
        dataset=dataset,
        sets=RecordSets(
            record_sets(config, dataset, ranked, extractors), Caching(storage, config.trainer.usecache, told.yaml)
        ),
        start=Start(config.reranker, config.extractor, extractors[""], models, config.init),
        trainer=config.trainer,
        measures=Measures(config.metrics, config.data.relevance_level),
        about=told,
        caches=Caches.of(config),
        candidates=ranked[""],
        searcher=config.data.run,
        first_stage=said,
        mixture=config.mixture,
    )


def checked(config: RunConfig) -> Prepared:
    """Prepare a config for training, and check everything that can be checked before any work."""
    run = prepare(config)
    run.start.check(run.dataset, run.trainer, run.caches.options)
    check_signals(run.mixture, run.dataset)
    return run
