"""From a config to everything that a conversion or a training needs, with the ids of both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rankcli.config.identity import component_identity, digest, digest_of_items
from rankcli.config.registry import EXTRACTORS, RERANKERS, SAMPLERS, TRAINERS, describe
from rankcli.config.render import resolved, to_yaml
from rankcli.config.schema import SPLITS, RunConfig
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.files import sha256_file
from rankcli.data.trec import CompactRun
from rankcli.extractors._base import Extractor, ExtractorContext
from rankcli.log import say
from rankcli.pipelines._initial import Initial
from rankcli.pipelines._uses import Gone, using
from rankcli.pipelines.search import first_stage
from rankcli.records.convert import ConversionJob, convert, rebuild
from rankcli.records.interleave import Records
from rankcli.records.manifest import Manifest, Shard, explain_miss, find
from rankcli.records.shards import remove_receipts
from rankcli.records.workers import available_cpus
from rankcli.rerankers._base import Reranker
from rankcli.samplers._base import SamplerContext
from rankcli.samplers._candidates import Candidates
from rankcli.storage.base import Storage, is_remote, open_storage
from rankcli.storage.places import cache_uri, local_root
from rankcli.text.hub import resolve


def weights_fingerprint(directory: Path) -> str:
    """Hash of a model directory's configuration and weights."""
    wanted = re.compile(r"config\.json|model.*\.safetensors(\.index\.json)?|tf_model\.h5")
    return digest({path.name: sha256_file(path) for path in directory.iterdir() if wanted.fullmatch(path.name)})


@dataclass(frozen=True)
class Prepared:
    """A config with its inputs read: what is converted, trained and evaluated is decided from here on."""

    config: RunConfig
    dataset: Dataset
    first_stage: CompactRun
    extractor: Extractor
    pretrained: Path | None

    @cached_property
    def samplers(self) -> dict[str, Any]:
        """Per split, the function from n to the ids of group n."""
        trainer = self.config.trainer
        judged = {split: self.dataset.judged(split, self.first_stage) for split in SPLITS}
        context = SamplerContext(
            judged=judged["train"], relevance_level=self.config.data.relevance_level, seed=trainer.seed
        )
        return {
            "train": self.config.sampler.build(context),
            "dev": Candidates(judged["dev"], self._depth("dev")),
            "test": Candidates(judged["test"], self._depth("test")),
        }

    def candidates(self, split: str) -> CompactRun:
        """The first-stage run of a split's queries, to its full depth."""
        return self.first_stage.part(self.dataset.split[split])

    def samples(self, split: str) -> int:
        """How many samples a run needs of a split."""
        return int(self.config.trainer.samples) if split == "train" else len(self.samplers[split])

    @cached_property
    def identities(self) -> dict[str, dict[str, Any]]:
        """Per split, what its records are made of, readable; `cache_id` is its digest."""
        return {split: self._identity(split) for split in SPLITS}

    def identity(self, split: str) -> dict[str, Any]:
        """What the records of a split are made of."""
        return self.identities[split]

    def _identity(self, split: str) -> dict[str, Any]:
        config = self.config
        if split == "train":
            made_by = {**component_identity(SAMPLERS, config.sampler), "seed": config.trainer.seed}
        else:
            made_by = {"depth": self._depth(split)}
        qids = sorted(self.dataset.split[split])
        ranked = ((qid, sorted(self.first_stage.get(qid, {}).items())) for qid in qids)
        extractor = component_identity(EXTRACTORS, config.extractor)
        extractor.pop("tokenizer", None)  # the fingerprint says what it does, wherever it came from
        return {
            "split": split,
            "data": self.dataset.fingerprint(split),
            "run": digest_of_items(ranked),
            "relevance_level": config.data.relevance_level,
            "sampler": made_by,
            "extractor": {**extractor, "vocabulary": self.extractor.fingerprint},
        }

    @cached_property
    def cache_ids(self) -> dict[str, str]:
        """The id of each split's records."""
        return {split: digest(self.identity(split)) for split in SPLITS}

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
            component_identity(registry, options)
            for registry, options in ((RERANKERS, config.reranker), (TRAINERS, config.trainer))
        )
        # What the weights are counts, not where they lie; what is computed in, not what was asked for.
        reranker.pop("pretrained", None)
        trainer.pop("amp", None)
        return {
            "train": self.identity("train"),
            "dev": self.identity("dev"),
            "reranker": reranker,
            "weights": weights_fingerprint(self.pretrained) if self.pretrained else None,
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

    def cached(self, split: str) -> Manifest | None:
        """The records of a split, if they are there and may be used."""
        if not self.config.trainer.usecache:
            return None
        return find(self.storage, self.cache_ids[split], self.samples(split))

    def records(self, split: str) -> Records:
        """The records of a split, converted unless they are cached; a shard that is damaged is made again."""
        manifest = self.cached(split)
        if manifest is None:
            say(f"converting {self.samples(split)} {split} samples")
            manifest = convert(self.job(split), processes=available_cpus())
            say(f"{split}: {manifest.share_cut:.1%} of the document tokens are beyond what is read")
        else:
            remove_receipts(self.storage, manifest)  # of a conversion that was killed when all but this was done
        return Records(manifest, self.storage, partial(self._rebuild, split, manifest))

    def use(self, split: str, run_dir: str, uses: ExitStack) -> Records:
        """The records of a split, noted as used by a run directory and not to be pruned until `uses` is closed."""
        while True:
            records = self.records(split)
            try:
                uses.enter_context(using(self.storage, records.manifest, run_dir, self.run_id))
            except Gone:
                continue
            return records

    def _rebuild(self, split: str, manifest: Manifest, shard: Shard) -> None:
        rebuild(self.job(split), manifest, [shard])

    def job(self, split: str) -> ConversionJob:
        """The conversion of a split."""
        config = self.config
        return ConversionJob(
            cache_id=self.cache_ids[split],
            identity=self.identity(split),
            sampler=self.samplers[split],
            samples=self.samples(split),
            group_size=(config.sampler if split == "train" else self.samplers[split]).group_size,
            extractor=self.extractor,
            queries=self.dataset.queries,
            docs=self.dataset.docs,
            storage=self.storage,
            work=work_folder(config.trainer.storage),
            source=to_yaml(resolved(config)),
            fresh=not config.trainer.usecache,
        )

    def _depth(self, split: str) -> int:
        """How many candidates of a query are reranked on dev or test."""
        trainer = self.config.trainer
        return int(trainer.threshold if split == "dev" else trainer.testthreshold)

    def why_missed(self, split: str) -> str:
        """Why no cache is taken: how the one most like the records of a split differs; empty when there is none."""
        if not self.config.trainer.usecache:
            return "usecache is false"
        return explain_miss(self.storage, self.identity(split), _with_defaults)


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


def build_extractor(config: RunConfig, dataset: Dataset, pretrained: Path | None) -> Extractor:
    """The config's extractor: its own tokenizer, else the reranker's, else a vocabulary made from the collection."""
    named = getattr(config.extractor, "tokenizer", None)
    source = resolve(named) if named else pretrained

    def texts() -> Iterator[str]:
        return (text for _, text in dataset.docs.iterate())

    extractor: Extractor = config.extractor.build(ExtractorContext(pretrained=source, texts=texts))
    return extractor


def prepare(config: RunConfig) -> Prepared:
    """Read the inputs, rank the candidates and build the extractor. Nothing is converted and no device is opened."""
    if is_remote(cache_uri(config.trainer.storage)):
        records_storage(config.trainer.storage).list()  # that it can be reached is found out before hours of work
    root = local_root(config.trainer.storage)
    dataset = load_dataset(config.data, root)
    first = first_stage(dataset, config.data.run, root)
    name = getattr(config.reranker, "pretrained", None)
    pretrained = resolve(name) if name else None
    extractor = build_extractor(config, dataset, pretrained)
    return Prepared(config, dataset, first, extractor, pretrained)
