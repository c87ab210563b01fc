"""From a config to everything that a conversion or a training needs, with the ids of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rankcli.config.identity import component_identity, digest
from rankcli.config.registry import EXTRACTORS, RERANKERS, SAMPLERS, TRAINERS, describe, path_options
from rankcli.config.render import resolved, to_yaml
from rankcli.config.schema import RunConfig, tasks
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.hashes import input_sha256
from rankcli.data.trec import CompactRun
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor, ExtractorContext, sequence_spec
from rankcli.log import say
from rankcli.runs.initial import WEIGHT_FILES, Initial, hash_of_files
from rankcli.runs.sets import DEV, TRAIN, RecordSet, record_sets
from rankcli.runs.uses import CachePruned, using
from rankcli.runs.candidates import first_stages
from rankcli.records.convert import convert, rebuild
from rankcli.records.steps import ConversionJob
from rankcli.records.interleave import Records
from rankcli.records.lookup import explain_miss, find
from rankcli.records.manifest import Manifest, Shard
from rankcli.records.shards import remove_receipts
from rankcli.records.texts import InMemory
from rankcli.records.workers import available_cpus
from rankcli.rerankers.base import Reranker
from rankcli.shapes import SequenceSpec
from rankcli.storage.base import Storage, is_remote
from rankcli.storage.open import open_storage
from rankcli.storage.places import cache_uri, local_root
from rankcli.text.hub import resolve


@dataclass(frozen=True)
class Prepared:
    """A config with its inputs read: what is converted, trained and evaluated is decided from here on."""

    config: RunConfig
    dataset: Dataset
    sets: Mapping[str, RecordSet]
    extractor: Extractor
    models: Mapping[str, Path]  # that options of the reranker name, by their dotted names

    def of(self, split: str) -> dict[str, RecordSet]:
        """The sets of a part of the split, by what the trainer calls them."""
        return {each.key: each for each in self.sets.values() if each.split == split}

    def candidates(self, name: str) -> CompactRun:
        """The first-stage run of a set's queries, to its full depth."""
        return self.sets[name].candidates

    def samples(self, name: str) -> int:
        """How many samples a run needs of a set."""
        return self.sets[name].samples

    @property
    def pairs(self) -> int:
        """The query-document pairs that are trained on in all."""
        return sum(each.samples * each.group_size for each in self.of(TRAIN).values())

    @cached_property
    def cache_ids(self) -> dict[str, str]:
        """The id of each set's records."""
        return {name: each.cache_id for name, each in self.sets.items()}

    @cached_property
    def initial(self) -> Initial | None:
        """Other weights to start from."""
        return Initial.of(self.config.init) if self.config.init else None

    def initialise(self, reranker: Reranker) -> str:
        """Give the reranker the weights to start from, if there are others than its own; returns what is told of it."""
        if self.initial is None:
            return ""
        return self.initial.load(reranker, self.config.extractor, self.extractor.fingerprint)

    @cached_property
    def run_identity(self) -> dict[str, Any]:
        """What a training's result depends on, readable; `run_id` is its digest."""
        config = self.config
        reranker, trainer = (
            component_identity(registry, options, input_sha256)
            for registry, options in ((RERANKERS, config.reranker), (TRAINERS, config.trainer))
        )
        # What the weights are counts, not where they lie; what is computed in, not what was asked for.
        for name in self.models:
            _left_out(reranker, name)
        trainer.pop("amp", None)
        weights = {name: hash_of_files(at, rf"config\.json|{WEIGHT_FILES}") for name, at in self.models.items()}
        train, (dev, *devsets) = self.of(TRAIN), self.of(DEV).values()
        return {
            "train": train[TRAIN].identity if TRAIN in train else {key: each.identity for key, each in train.items()},
            "dev": dev.identity,
            **({"devsets": {each.key: each.identity for each in devsets}} if devsets else {}),
            "reranker": reranker,
            "weights": weights.pop("pretrained", None),
            **({"models": weights} if weights else {}),
            "trainer": {**trainer, "dtype": config.trainer.dtype},
            "metrics": list(config.metrics.all),
            **({"init": self.initial.identity} if self.initial else {}),
        }

    @cached_property
    def run_id(self) -> str:
        """The id of the training."""
        return digest(self.run_identity)

    @cached_property
    def storage(self) -> Storage:
        """Where records are cached."""
        return records_storage(self.config.trainer.storage)

    def cached(self, name: str) -> Manifest | None:
        """The records of a set, if they are there and may be used."""
        if not self.config.trainer.usecache:
            return None
        return find(self.storage, self.cache_ids[name], self.samples(name))

    def records(self, name: str) -> Records:
        """The records of a set, converted unless they are cached; a shard that is damaged is made again."""
        manifest = self.cached(name)
        if manifest is None:
            say(f"converting {self.samples(name)} {name} samples")
            manifest = convert(self.job(name), processes=available_cpus())
            say(f"{name}: {manifest.share_cut:.1%} of the document tokens are beyond what is read")
        elif manifest.receipts:
            remove_receipts(self.storage, manifest)  # of a conversion that was killed when all but this was done
        return Records(manifest, self.storage, partial(self._rebuild, name, manifest))

    def use(self, name: str, run_dir: str, uses: ExitStack) -> Records:
        """The records of a set, noted as used by a run directory and not to be pruned until `uses` is closed."""
        while True:
            records = self.records(name)
            try:
                uses.enter_context(using(self.storage, records.manifest, run_dir, self.run_id))
            except CachePruned:
                continue
            return records

    def _rebuild(self, name: str, manifest: Manifest, shard: Shard) -> None:
        rebuild(self.job(name), manifest, [shard])

    def job(self, name: str) -> ConversionJob:
        """The conversion of a set."""
        config, each = self.config, self.sets[name]
        return ConversionJob(
            cache_id=each.cache_id,
            identity=each.identity,
            sampler=each.sampler,
            samples=each.samples,
            group_size=each.group_size,
            extractor=each.extractor,
            queries=InMemory(each.dataset.queries),
            docs=each.texts,
            columns=each.drawn_columns,
            features=each.features,
            storage=self.storage,
            work=work_folder(config.trainer.storage),
            source=to_yaml(resolved(config)),
            fresh=not config.trainer.usecache,
        )

    def why_missed(self, name: str) -> str:
        """Why no cache is taken: how the one most like the records of a set differs; empty when there is none."""
        if not self.config.trainer.usecache:
            return "usecache is false"
        return explain_miss(self.storage, self.sets[name].identity, _with_defaults)


def records_storage(option: str | None) -> Storage:
    """Where TFRecord caches lie, by the option `storage`."""
    return open_storage(f"{cache_uri(option)}/records")


def work_folder(option: str | None) -> Path:
    """Where this machine keeps conversions that are in progress."""
    return local_root(option) / "work"


def _with_defaults(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity with the options of its sampler and extractor that it leaves out, because they have their default."""
    full = dict(identity)
    for registry, kind in ((SAMPLERS, "sampler"), (EXTRACTORS, "extractor")):
        name = full[kind].get("name")
        if name in registry.builtins():
            options = describe(registry.get(name))
            full[kind] = {**{option["name"]: option["default"] for option in options}, **full[kind]}
    return full


def _left_out(identity: dict[str, Any], dotted: str) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        identity = identity.get(section, {})
    identity.pop(name, None)


def build_extractors(config: RunConfig, dataset: Dataset, pretrained: Path | None) -> dict[str, Extractor]:
    """The run's extractor under an empty name, and that of every task that has one under its name.

    Each reads its own tokenizer, else the reranker's, else a vocabulary made from the collection; what several need
    alike is made once. ConfigError where a task's would not do for the model, which is built for the run's own.
    """

    def texts() -> Iterator[str]:
        return (text for _, text in dataset.docs.iterate())

    context = ExtractorContext(pretrained=pretrained, texts=texts)
    built: list[tuple[Any, Extractor]] = []

    def build(options: Any) -> Extractor:
        known = next((extractor for other, extractor in built if other == options), None)
        if known is None:
            named = getattr(options, "tokenizer", None)
            known = options.build(replace(context, pretrained=resolve(named)) if named else context)
            built.append((options, known))
        return known

    found = {"": build(config.extractor)}
    for name, task in tasks(config).items():
        found[name] = build(task.extractor)
        _check_alike(found[""], found[name], f"trainer.tasks.{name}.extractor")
    return found


def _check_alike(own: Extractor, other: Extractor, where: str) -> None:
    """ConfigError where what `other` makes cannot be read by a model that is built for `own`."""
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
    if is_remote(cache_uri(config.trainer.storage)):
        records_storage(config.trainer.storage).list()  # that it can be reached is found out before hours of work
    root = local_root(config.trainer.storage)
    dataset = load_dataset(config.data, root)
    depths = [task.sampler.depth for task in tasks(config).values()]
    ranked = first_stages(dataset, config.data, root, None if None in depths else max(depths))
    models = {name: resolve(said) for name, said in path_options(config.reranker, "model").items() if said}
    extractors = build_extractors(config, dataset, models.get("pretrained"))
    return Prepared(config, dataset, record_sets(config, dataset, ranked, extractors), extractors[""], models)
