"""Model directories (`best/METRIC` and exports): written here, and opened again by rankcli or by other tools."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rankcli
from rankcli.config.registry import EXTRACTORS, RERANKERS, path_options
from rankcli.config.render import section
from rankcli.config.validate import component_from
from rankcli.encoders.build import Pretrained
from rankcli.encoders.initial import limit_variable_sizes
from rankcli.errors import MissingError, StorageError
from rankcli.extractors.base import Extractor, ExtractorContext
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.rerankers.foreign import options_for
from rankcli.shapes import SequenceSpec
from rankcli.storage.disk import guard
from rankcli.storage.scratch import replacing_directory
from rankcli.text.weights import Tensors, open_tensors, small_file, write_tensors

FILE = "rankcli.json"
SCHEMA_VERSION = 1


def sections_of(reranker: Any, extractor: Any) -> dict[str, Any]:
    """Return the sections `reranker` and `extractor` of two options objects, with every option."""
    return {"reranker": section(RERANKERS, reranker), "extractor": section(EXTRACTORS, extractor)}


def save_reranker(reranker: Reranker, extractor: Extractor, sections: Mapping[str, Any], directory: Path) -> None:
    """Write a model directory: weights, configuration and tokenizer in Hugging Face's formats, and `rankcli.json`.

    `sections` has the result of `sections_of`, and perhaps more sections. The directory appears when it is complete and
    synced to disk. An existing one is replaced.
    """
    with guard(directory), replacing_directory(directory) as building:
        reranker.save_config(building)
        extractor.save(building)
        _write_length(building, extractor)
        write_tensors(building, reranker.tensors())
        content = {"schema_version": SCHEMA_VERSION, "rankcli": rankcli.__version__, **sections}
        (building / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_reranker(directory: Path, dtype: str = "float32") -> tuple[Reranker, Extractor, dict[str, Any]]:
    """Load the reranker and extractor of a model directory, and its sections.

    A directory without `rankcli.json` is opened if it is a bi-encoder of sentence-transformers or a sequence classifier
    with one or two labels; MissingError if it is neither.
    """
    saved = directory / FILE
    sections = _read(saved) if saved.exists() else sections_of(*options_for(directory))
    source = str(saved if saved.exists() else directory)
    extractor = component_from(EXTRACTORS, sections["extractor"], source).build(ExtractorContext(saved=directory))
    options = component_from(RERANKERS, sections["reranker"], source)
    # `config.json` describes the pretrained model; it is compared with the weights before memory is allocated.
    stored = open_tensors(directory)
    ctx = RerankerContext(
        extractor=extractor, dtype=dtype, models=_models(options, directory, stored), complete=not saved.exists()
    )
    try:
        with limit_variable_sizes(10**6 + 2 * sum(map(math.prod, stored.shapes.values()))):
            reranker: Reranker = options.build(ctx)
        if saved.exists():
            reranker.assign(stored)
    except StorageError as error:
        raise StorageError(error.what, where=error.where or str(directory), fix=error.fix) from error
    return reranker, extractor, sections


def _models(options: Any, directory: Path, stored: Tensors) -> dict[str, Pretrained]:
    """Return the saved models that the options name; all weights are together.

    The configuration of `pretrained` is in the directory itself, that of every other model in a folder of the option's
    name.
    """
    folders = {name: directory if name == "pretrained" else directory / name for name in path_options(options, "model")}
    return {name: Pretrained(folder, stored) for name, folder in folders.items()}


def _write_length(directory: Path, extractor: Extractor) -> None:
    """Write the longest sequence into the tokenizer's settings, so that other tools cut texts at the same length."""
    file = directory / "tokenizer_config.json"
    if (directory / "tokenizer.json").exists():
        settings = json.loads(file.read_bytes()) if file.exists() else {}
        sequences = (spec for spec in extractor.fields.values() if isinstance(spec, SequenceSpec))
        settings["model_max_length"] = max(spec.max_length for spec in sequences)
        file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(small_file(file))
        version = content["schema_version"]
        if not {"reranker", "extractor"} <= content.keys():
            raise KeyError("reranker, extractor")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(
            f"not a description of a saved model: {error!r}", where=str(file), fix="save the model again"
        ) from error
    if version != SCHEMA_VERSION:
        raise MissingError(
            f"saved in format {version}; this version of rankcli reads format {SCHEMA_VERSION}",
            where=str(file),
            fix="update rankcli",
        )
    return {key: value for key, value in content.items() if key not in ("schema_version", "rankcli")}
