"""The model of a run before its training: its options and its initial weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.config.registry import path_options
from rankcli.config.schema import Init
from rankcli.data.dataset import Dataset
from rankcli.encoders.build import open_models
from rankcli.errors import ConfigError
from rankcli.extractors.base import Extractor
from rankcli.log import warn
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.runs.initial import WEIGHT_FILES, Initial, hash_of_files
from rankcli.training.bases import check_frozen
from rankcli.training.groups import groups_for, trained
from rankcli.training.hooks import build_hooks


@dataclass(frozen=True)
class Start:
    """The options of the reranker, and the `options` of its extractor with the extractor itself.

    `models` are the model directories that options of the reranker name, by the dotted names of these options. `init`
    is the option `init`, which names other weights to start from.
    """

    reranker: Any
    options: Any
    extractor: Extractor
    models: Mapping[str, Path]
    init: Init | None

    @cached_property
    def initial(self) -> Initial | None:
        """The weights of the option `init`, if it is given."""
        return Initial.of(self.init) if self.init else None

    def check(self, dataset: Dataset, trainer: Any, caches: Collection[str] = ()) -> None:
        """Raise all errors and give all warnings that can be known before any work.

        They are about initial weights that are random, cannot be read or were trained on dev or test queries, and about
        parts of the reranker that the options `trainer` name but the reranker does not have, and about fields to cache
        whose encoder is trained.
        """
        if self.initial is not None:
            self.initial.check()
            self.initial.warn_of_leakage(dataset)
        self.reranker.check(RerankerContext(self.extractor, models=open_models(self.models)))
        self._check_parts(trainer, caches)
        self._check_adapter()
        missing = [name for name, said in path_options(self.reranker, "model").items() if not said]
        if self.init is None and missing:
            warn(_random(missing, trainer))

    def _check_adapter(self) -> None:
        """Raise ConfigError where an adapter's files would have to name a model that is nowhere saved."""
        adapter = getattr(self.reranker, "adapter", None)
        if adapter is None or not adapter.keeps_base or (self.reranker.pretrained and self.init is None):
            return
        what = "the adapter's files name the model that it belongs to, which must be that of reranker.pretrained"
        fix = "set reranker.pretrained to the model to start from, without init; or leave keep out"
        raise ConfigError(what, where="reranker.adapter.keep", fix=fix)

    def _check_parts(self, trainer: Any, caches: Collection[str]) -> None:
        """Raise ConfigError where the trainer's groups or hooks name parts that the reranker does not have.

        The model is built in a graph that is never run, and only if an option names parts: no device is opened.
        Messages of the build are suppressed here, as they appear when the model is built to train.
        """
        if trainer.groups or trainer.layerdecay != 1 or trainer.hooks or caches:
            with tf.Graph().as_default(), redirect_stderr(StringIO()):
                reranker = self.build(trainer.seed, trainer.dtype)
                check_frozen(reranker, self.extractor, caches)
                groups = trained(groups_for(reranker.variables, trainer))
                build_hooks(trainer.hooks, groups, trainer.niters, trainer.steps)

    def build(self, seed: int, dtype: str) -> Reranker:
        """Build the reranker with its own first weights."""
        model: Reranker = self.reranker.build(RerankerContext(self.extractor, seed, dtype, open_models(self.models)))
        return model

    def initialise(self, reranker: Reranker) -> str:
        """Load the weights of `init` into the reranker, and return one line about them. Without `init`, return an empty
        text.

        Training calls this after it has built the model on its devices.
        """
        return self.initial.load(reranker, self.options, self.extractor.fingerprint) if self.initial else ""


def hashes_of_models(models: Mapping[str, Path]) -> dict[str, str]:
    """Return a hash of the content of each model directory."""
    return {name: hash_of_files(at, rf"config\.json|{WEIGHT_FILES}") for name, at in models.items()}


def _random(models: Sequence[str], trainer: Any) -> str:
    """Return the warning of encoders without pretrained weights. `models` are the options that could name them."""
    rate = "the rates of trainer.groups" if trainer.groups else f"trainer.bertlr {trainer.bertlr:g}"
    options = " and ".join(f"reranker.{name}" for name in models)
    who, given, its, needs = ("the encoder starts", "is", "its", "it needs")
    if len(models) > 1:
        who, given, its, needs = ("encoders start", "are", "their", "they need")
    return (
        f"{who} from random weights, as {options} {given} not given; {its} learning rate is {rate} "
        f"(without pretrained weights, {needs} many more samples and a higher rate, such as 1e-4)"
    )
