"""Weights to start from (`init:` in a config): find them, match them with a reranker's variables, and load them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankcli.config.identity import digest
from rankcli.config.schema import Init
from rankcli.data.dataset import Dataset
from rankcli.data.folds import leaked
from rankcli.data.hashes import input_sha256
from rankcli.encoders.build import Pretrained
from rankcli.encoders.family import family_of
from rankcli.encoders.weights import Weight, is_buffer, listed
from rankcli.errors import ConfigError, StorageError
from rankcli.extractors.base import ExtractorContext
from rankcli.log import warn
from rankcli.rerankers.base import Reranker
from rankcli.rerankers.modular import module_files
from rankcli.rerankers.saved import check_saved
from rankcli.runs.model import Model, find_model, places, trained_queries
from rankcli.text.weights import Tensors, open_tensors
from rankcli.training.variables import open_variables

WEIGHT_FILES = r"model.*\.safetensors(\.index\.json)?|tf_model\.h5"
_VOCABULARY = re.compile(r"(^|/)word_embeddings$")


def hash_of_files(directory: Path, pattern: str) -> str:
    """Return a hash of the files of a directory whose names match the pattern, and of a classifier in several modules.

    It does not depend on the directory's path.
    """
    wanted = re.compile(pattern)
    files = [path for path in directory.iterdir() if wanted.fullmatch(path.name)]
    files += module_files(directory)
    return digest({path.relative_to(directory).as_posix(): input_sha256(path) for path in files})


class Match(NamedTuple):
    """The variables that the weights cover, and the names that do not match."""

    found: list[Weight]
    missing: list[str]
    misshapen: list[str]
    unexpected: list[str]


@dataclass(frozen=True)
class Initial:
    """Weights to start from: of `directory`, or of `checkpoint`. `directory` describes the model of both."""

    options: Init
    model: Model
    directory: Path
    checkpoint: Path | None

    @classmethod
    def of(cls, options: Init) -> Initial:
        """Find the weights that a config names. MissingError where they do not exist, ConfigError for options that must
        be wrong.
        """
        model = find_model(options.model, options.weights, "init.weights")
        directory, checkpoint = places(model, options.weights)
        if checkpoint is not None and getattr(model.config.reranker, "adapter", None):
            fix = "start from its best weights, in which the adapter is merged: leave init.weights out"
            raise ConfigError("this checkpoint has an adapter alone", where=str(checkpoint), fix=fix)
        return cls(options, model, directory, checkpoint)

    @property
    def where(self) -> str:
        """The path of the weights, for messages."""
        return str(self.checkpoint or self.directory)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The content of the weights and the rules that select them, independent of the path."""
        read = (self.checkpoint, r"ckpt\..*") if self.checkpoint else (self.directory, WEIGHT_FILES)
        rules = [list(rule) for rule in (self.options.map or {}).items()]
        return {"weights": hash_of_files(*read), "only": self.options.only, "map": rules}

    def check(self) -> None:
        """Read names and shapes, so that unreadable files and rules without effect raise an error before any work."""
        check_saved(self.directory)
        self._mapped()

    def warn_of_leakage(self, dataset: Dataset) -> None:
        """Warn of dev and test queries that the weights were trained on, as far as their training queries are known.

        Two collections may use the same ids, so a query counts only if its text is the same, too.
        """
        trained = trained_queries(self.model)
        for split in ("dev", "test"):
            topics = dataset.topics(split)
            same = sorted(qid for qid in leaked(trained, topics) if trained[qid] == topics[qid])
            if same:
                warn(
                    f"{self.where}: {len(same)} of {len(topics)} {split} queries were trained on, for example "
                    f"{same[0]!r}; scores on them are inflated"
                )

    def load(self, reranker: Reranker, extractor: Any, vocabulary: str) -> str:
        """Load the wanted variables into the reranker, and return one line about it.

        `extractor` is the options of the reranker's extractor, `vocabulary` its fingerprint. Nothing is set if an error
        is raised: ConfigError where the encoder or the vocabulary differ from those of the weights; StorageError, which
        lists every mismatch, unless `strict` is off and at least one variable matches.
        """
        wanted = [weight for weight in reranker.weights if re.search(self.options.only or "", weight.path)]
        if not wanted:
            paths = ", ".join(reranker.variables)
            raise ConfigError(f"{self.options.only!r} is in no variable path: {paths}", where="init.only")
        self._check_encoder(reranker, wanted)
        tensors = self._mapped() if self.checkpoint else reranker.converted(self._mapped(), self.where)
        self._check_vocabulary(reranker, wanted, tensors, extractor, vocabulary)
        match = self._match(reranker, wanted, tensors)
        if not match.found or (self.options.strict and (match.missing or match.misshapen)):
            raise self._misfit(match, len(wanted))
        reranker.update({weight.path: self._value(reranker, weight, tensors) for weight in match.found})
        return self._told(match, len(reranker.weights))

    def _open(self) -> Tensors:
        """Open the weights under their stored names: Hugging Face's, or the variable paths of a checkpoint."""
        return open_tensors(self.directory) if self.checkpoint is None else open_variables(self.checkpoint)

    def _mapped(self) -> Tensors:
        """Open the weights under the names that the rules of `init.map` give.

        ConfigError for a rule that renames nothing and for rules that give two weights the same name.
        """
        stored = self._open()
        names = {name: name for name in stored}
        for pattern, replacement in (self.options.map or {}).items():
            changed = {old: re.sub(pattern, replacement, new) for old, new in names.items()}
            if changed == names:
                some = ", ".join(sorted(names.values())[:5])
                raise ConfigError(f"{pattern!r} changes none of the names ({some}, ...)", where="init.map")
            names = changed
        if len(set(names.values())) < len(names):
            twice = sorted(new for new in set(names.values()) if list(names.values()).count(new) > 1)
            raise ConfigError(f"it gives several weights one name: {', '.join(twice[:5])}", where="init.map")
        return stored.renamed({new: old for old, new in names.items()})

    def _named(self, reranker: Reranker, weight: Weight) -> dict[str, tuple[int, ...]]:
        """Return the stored names and shapes of the tensors that make up a variable."""
        if self.checkpoint:
            return {weight.path: weight.shape}
        return {reranker.canonical(name) or name: weight.stored_shape() for name in weight.names}

    def _match(self, reranker: Reranker, wanted: list[Weight], tensors: Tensors) -> Match:
        match = Match([], [], [], [])
        for weight in wanted:
            parts = self._named(reranker, weight)
            absent = [name for name in parts if name not in tensors]
            wrong = [
                f"{name} has shape {list(tensors.shapes[name])}, not {list(shape)}"
                for name, shape in parts.items()
                if name in tensors and tensors.shapes[name] != shape
            ]
            match.missing.extend(f"{name} (of {weight.path})" for name in absent)
            match.misshapen.extend(wrong)
            if not absent and not wrong:
                match.found.append(weight)
        known = {name for weight in reranker.weights for name in self._named(reranker, weight)}
        match.unexpected.extend(sorted(name for name in tensors if name not in known and not is_buffer(name)))
        return match

    def _value(self, reranker: Reranker, weight: Weight, tensors: Tensors) -> np.ndarray:
        if self.checkpoint:
            return tensors[weight.path]
        return weight.joined({name: tensors[reranker.canonical(name) or name] for name in weight.names})

    def _check_encoder(self, reranker: Reranker, wanted: list[Weight]) -> None:
        paths = {weight.path for weight in wanted}
        for name, encoder in reranker.encoders.items():
            needed = any(weight.path in paths for weight in encoder.parameters.weights)
            if not needed or not (self.directory / "config.json").exists():
                continue
            theirs = dataclasses.asdict(Pretrained(self._home(reranker.models.get(name))).config)
            ours = dataclasses.asdict(encoder.config)
            differing = [key for key in family_of(ours["kind"]).alike if theirs.get(key) != ours[key]]
            if differing:
                named = "; ".join(f"{key} {theirs.get(key)!r}, here {ours[key]!r}" for key in differing)
                raise ConfigError(f"{self.where} is of another encoder: {named}", where="init.model", fix=self._advice)

    def _home(self, model: str | None) -> Path:
        """Return the folder that describes the encoder of the option `model`, by default the first encoder's."""
        folder = self.directory / (model or "")
        return folder if (folder / "config.json").exists() else self.directory

    def _check_vocabulary(
        self, reranker: Reranker, wanted: list[Weight], tensors: Tensors, extractor: Any, vocabulary: str
    ) -> None:
        tables = [weight for weight in wanted if _VOCABULARY.search(weight.path)]
        if not any(name in tensors for weight in tables for name in self._named(reranker, weight)):
            return
        if extractor.build(ExtractorContext(saved=self.directory)).fingerprint != vocabulary:
            raise ConfigError(
                f"{self.where} is of another vocabulary: its rows of word embeddings are other words",
                where="init.model",
                fix=self._advice,
            )

    @property
    def _advice(self) -> str:
        return (
            f"set reranker.pretrained to {self.directory}, for its encoder and vocabulary; "
            "or load other variables alone, with init.only"
        )

    def _misfit(self, match: Match, wanted: int) -> StorageError:
        lines = [
            f"\n    {kind}: {listed(names)}"
            for kind, names in (
                ("missing", match.missing),
                ("shapes", match.misshapen),
                ("unexpected", match.unexpected),
            )
            if names
        ]
        return StorageError(
            f"{len(match.found)} of the {wanted} variables that are wanted match{''.join(lines)}",
            where=self.where,
            fix="rename with init.map, leave variables out with init.only, or take what matches with init.strict=false",
        )

    def _told(self, match: Match, variables: int) -> str:
        line = f"initial weights from {self.where}: {len(match.found)} of {variables} variables"
        for kind, names in (
            ("missing", match.missing),
            ("other shapes", match.misshapen),
            ("not used", match.unexpected),
        ):
            if names:
                line += f"; {kind}: {len(names)} ({listed(names, most=3)})"
        return line
