"""Model directories of other tools: read their files, and find the matching reranker and extractor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rankcli.config.registry import RERANKERS
from rankcli.encoders.build import Pretrained
from rankcli.errors import MissingError
from rankcli.log import warn
from rankcli.rerankers.base import Opened
from rankcli.text.weights import small_file


@dataclass(frozen=True)
class ForeignDirectory:
    """A model directory with files of Hugging Face and sentence-transformers."""

    path: Path

    @cached_property
    def modules(self) -> Mapping[str, str]:
        """The modules of sentence-transformers in their order, by class, with their folders."""
        listed = self.json("modules.json") or []
        return {module["type"].rpartition(".")[2]: module["path"] for module in listed}

    @property
    def architecture(self) -> str:
        """The transformers class of the weights; empty where none is named."""
        return str((self.json("config.json").get("architectures") or [""])[0])

    @property
    def longest(self) -> int:
        """The longest sequence in tokens: the smallest length in the directory's files, at most the encoder's
        positions.
        """
        named = [
            self.json("sentence_bert_config.json").get("max_seq_length"),
            self.json("tokenizer_config.json").get("model_max_length"),
        ]
        return int(min([Pretrained(self.path).config.max_positions, *(length for length in named if length)]))

    def json(self, name: str) -> Any:
        """Return the content of a JSON file; an empty mapping if the file does not exist."""
        file = self.path / name
        if not file.is_file():
            return {}
        try:
            return json.loads(small_file(file))
        except (ValueError, RecursionError) as error:
            raise self.unknown(f"{name} is not readable as JSON ({error})") from error

    def unknown(self, what: str) -> MissingError:
        """Return the error for a directory that cannot be opened."""
        return MissingError(
            f"cannot be opened as a reranker: {what}", where=str(self.path), fix="name a directory that rankcli saved"
        )


def options_for(directory: Path) -> Opened:
    """Return options of reranker and extractor from the first kind of reranker that opens the directory.

    MissingError if none does.
    """
    model = ForeignDirectory(directory)
    _warn_of_prompts(model)
    refusals = []
    for name in RERANKERS.builtins():
        try:
            kind: Any = RERANKERS.get(name)
            opened: Opened | None = kind.opens(directory)
        except MissingError as error:
            refusals.append(error)
            continue
        if opened is not None:
            return opened
    if refusals:
        raise refusals[0]
    raise model.unknown("neither a classifier nor a model of sentence-transformers nor one that rankcli saved")


def _warn_of_prompts(model: ForeignDirectory) -> None:
    """Warn of prompts: sentence-transformers puts them before texts, but extractors do not."""
    prompts = model.json("config_sentence_transformers.json").get("prompts") or {}
    if named := sorted(name for name, text in prompts.items() if text):
        warn(f"{model.path}: its prompts ({', '.join(named)}) are not put before the texts")
