"""From a config to everything that a conversion or a training needs, with the ids of both."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rankcli.config.identity import component_identity, digest
from rankcli.config.registry import EXTRACTORS, RERANKERS, SAMPLERS, TRAINERS
from rankcli.config.schema import SPLITS, RunConfig
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.files import sha256_file
from rankcli.errors import MissingError
from rankcli.extractors._base import Extractor, ExtractorContext
from rankcli.log import say
from rankcli.pipelines.search import first_stage
from rankcli.records.convert import ConversionJob, convert
from rankcli.records.manifest import Manifest, find
from rankcli.records.workers import available_cpus
from rankcli.samplers._base import SamplerContext
from rankcli.samplers._candidates import Candidates
from rankcli.storage.base import Storage, open_storage
from rankcli.text.hub import resolve
from rankcli.trainers._base import Records, Scores


def cache_root(storage: str | None) -> Path:
    """Where caches live: the option, else $RANKCLI_CACHE, else ~/.cache/rankcli."""
    where = storage or os.environ.get("RANKCLI_CACHE") or "~/.cache/rankcli"
    if where.startswith("gs://"):
        raise MissingError("gs:// caches are not supported by this version", where=where, fix="give a local directory")
    return Path(where).expanduser()


def weights_fingerprint(directory: Path) -> str:
    """Hash of a model directory's configuration and weights."""
    wanted = re.compile(r"config\.json|model.*\.safetensors(\.index\.json)?|tf_model\.h5")
    return digest({path.name: sha256_file(path) for path in directory.iterdir() if wanted.fullmatch(path.name)})


@dataclass(frozen=True)
class Prepared:
    """A config with its inputs read: what is converted, trained and evaluated is decided from here on."""

    config: RunConfig
    dataset: Dataset
    first_stage: Scores
    extractor: Extractor
    pretrained: Path | None
    root: Path

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
            "dev": Candidates(judged["dev"], trainer.threshold),
            "test": Candidates(judged["test"], trainer.testthreshold),
        }

    def candidates(self, split: str) -> Scores:
        """The first-stage run of a split's queries, to its full depth."""
        return {qid: self.first_stage[qid] for qid in self.dataset.split[split] if qid in self.first_stage}

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
        made_by: dict[str, Any] = {
            "depth": config.trainer.threshold if split == "dev" else config.trainer.testthreshold
        }
        if split == "train":
            made_by = {**component_identity(SAMPLERS, config.sampler), "seed": config.trainer.seed}
        ranked = {qid: sorted(self.first_stage.get(qid, {}).items()) for qid in self.dataset.split[split]}
        extractor = component_identity(EXTRACTORS, config.extractor)
        extractor.pop("tokenizer", None)  # the fingerprint says what it does, wherever it came from
        return {
            "split": split,
            "data": self.dataset.fingerprint(split),
            "run": digest(ranked),
            "relevance_level": config.data.relevance_level,
            "sampler": made_by,
            "extractor": {**extractor, "vocabulary": self.extractor.fingerprint},
        }

    @cached_property
    def cache_ids(self) -> dict[str, str]:
        """The id of each split's records."""
        return {split: digest(self.identity(split)) for split in SPLITS}

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
        }

    @cached_property
    def run_id(self) -> str:
        """The id of the training."""
        return digest(self.run_identity)

    @property
    def storage(self) -> Storage:
        """Where records are cached."""
        return open_storage(str(self.root / "records"))

    def cached(self, split: str) -> Manifest | None:
        """The records of a split, if they are there."""
        return find(self.storage, self.cache_ids[split], self.samples(split))

    def records(self, split: str) -> Records:
        """The records of a split, converted unless they are cached."""
        fresh = not self.config.trainer.usecache
        manifest = None if fresh else self.cached(split)
        if manifest is None:
            say(f"converting {self.samples(split)} {split} samples")
            manifest = convert(self._job(split, fresh), processes=available_cpus())
            say(f"{split}: {manifest.share_cut:.1%} of the document tokens are beyond what is read")
        return Records(manifest, self.storage)

    def _job(self, split: str, fresh: bool) -> ConversionJob:
        return ConversionJob(
            cache_id=self.cache_ids[split],
            identity=self.identity(split),
            sampler=self.samplers[split],
            samples=self.samples(split),
            extractor=self.extractor,
            queries=self.dataset.queries,
            docs=self.dataset.docs,
            storage=self.storage,
            fresh=fresh,
        )


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
    root = cache_root(config.trainer.storage)
    dataset = load_dataset(config.data, root)
    first: Mapping[str, Mapping[str, float]] = first_stage(dataset, config.data.run, root)
    name = getattr(config.reranker, "pretrained", None)
    pretrained = resolve(name) if name else None
    extractor = build_extractor(config, dataset, pretrained)
    return Prepared(config, dataset, {qid: dict(scores) for qid, scores in first.items()}, extractor, pretrained, root)
