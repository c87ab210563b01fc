"""Model directories of other tools: read their files, and find the matching reranker and extractor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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

MODULES = "sentence_transformers.models"
POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}  # the keys of sentence-transformers


@dataclass(frozen=True)
class ForeignDirectory:
    """A model directory with files of Hugging Face and sentence-transformers."""

    path: Path

    @cached_property
    def chain(self) -> list[tuple[str, str]]:
        """The modules of sentence-transformers in their order: class and folder of each."""
        listed = self._parsed("modules.json") or []
        try:
            return [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in listed]
        except (TypeError, KeyError) as error:
            raise self.unknown("modules.json is not a list of modules with their types and paths") from error

    @property
    def modules(self) -> Mapping[str, str]:
        """The folders of modules by class."""
        return dict(self.chain)

    @property
    def is_crossencoder(self) -> bool:
        """True for modules that score a pair together: the last one says so, or the settings do."""
        kind, folder = self.chain[-1] if self.chain else ("", "")
        scores = kind == "Dense" and self.json(f"{folder}/config.json").get("module_output_name") == "scores"
        return scores or self.json("config_sentence_transformers.json").get("model_type") == "CrossEncoder"

    @property
    def pooling(self) -> Any:
        """The pooling, from `pooling_mode` or from the older flags."""
        content = self.json(f"{self.modules['Pooling']}/config.json")
        flags = [key for key, on in content.items() if key.startswith("pooling_mode_") and on]
        chosen = content.get("pooling_mode") or flags
        short = {key: name for name, key in POOLINGS.items()}
        names = [short.get(name, name) for name in ([chosen] if isinstance(chosen, str) else chosen)]
        if len(names) != 1 or names[0] not in POOLINGS:
            raise self.unknown(f"pooling by {' and '.join(names) or 'nothing'}; supported: mean, cls")
        return names[0]

    @property
    def architecture(self) -> str:
        """The transformers class of the weights; empty where none is named."""
        named = self.json("config.json").get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def longest(self) -> int:
        """The longest sequence in tokens: the smallest length in the directory's files, at most the encoder's
        positions.
        """
        places = (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length"))
        named = [self._length(file, key) for file, key in places]
        return min([Pretrained(self.path).config.max_positions, *(length for length in named if length)])

    def _length(self, name: str, key: str) -> int:
        """Return a length in a file, also one that is written as text; 0 if it is not there."""
        value = self.json(name).get(key) or 0
        try:
            length = int(value)
        except (TypeError, ValueError, OverflowError):
            length = -1
        if length < 0:
            raise self.unknown(f"{name}: {key} is {value!r}, not a number of tokens")
        return length

    def json(self, name: str) -> Mapping[str, Any]:
        """Return the object in a JSON file; an empty one if the file does not exist."""
        content = self._parsed(name)
        if not isinstance(content, dict):
            raise self.unknown(f"{name} is not a JSON object")
        return content

    def _parsed(self, name: str) -> Any:
        file = self.path / name
        if not file.is_file():
            return {}
        try:
            return json.loads(small_file(file))
        except (ValueError, RecursionError) as error:
            raise self.unknown(f"{name} is not readable as JSON ({error})") from error

    def unknown(self, what: str, fix: str = "name a directory that rankcli saved") -> MissingError:
        """Return the error for a directory that cannot be opened."""
        return MissingError(f"cannot be opened as a reranker: {what}", where=str(self.path), fix=fix)


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
    prompts = model.json("config_sentence_transformers.json").get("prompts")
    if named := sorted(name for name, text in prompts.items() if text) if isinstance(prompts, dict) else []:
        warn(f"{model.path}: its prompts ({', '.join(named)}) are not put before the texts")


def write_json(file: Path, content: Any) -> None:
    """Write a JSON file, in a folder that is made if it is missing."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_modules(directory: Path, modules: Sequence[tuple[str, str]]) -> None:
    """Write `modules.json`: the folder of each module, and its kind, or its class with the package."""
    listed = [
        {"idx": n, "name": str(n), "path": folder, "type": kind if "." in kind else f"{MODULES}.{kind}"}
        for n, (folder, kind) in enumerate(modules)
    ]
    write_json(directory / "modules.json", listed)
