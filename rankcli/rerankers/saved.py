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
from rankcli.encoders.family import family_of
from rankcli.encoders.initial import limit_variable_sizes
from rankcli.errors import MissingError, StorageError
from rankcli.extractors.base import Extractor, ExtractorContext
from rankcli.log import warn
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.rerankers.foreign import options_for
from rankcli.shapes import SequenceSpec
from rankcli.storage.disk import guard
from rankcli.storage.json_files import read_object
from rankcli.storage.noted import check_noted, noted
from rankcli.storage.scratch import replacing_directory
from rankcli.storage.sealed import check_kinds, read_checked, with_checksum
from rankcli.text.weights import Tensors, open_tensors, write_tensors

FILE, FILES, VERSIONS = "rankcli.json", "files", "versions"
PARTS = {"reranker": RERANKERS, "extractor": EXTRACTORS}
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
        _write_settings(building, reranker, extractor)
        write_tensors(building, reranker.tensors())
        if reranker.adapter is not None:
            reranker.adapter.save(building, reranker.parameters)
        files = noted(building, sorted(path.relative_to(building).as_posix() for path in _files(building)))
        head = {"schema_version": SCHEMA_VERSION, "rankcli": rankcli.__version__, VERSIONS: _versions(sections)}
        content = {**head, **sections, FILES: files}
        (building / FILE).write_text(json.dumps(with_checksum(content), indent=2) + "\n", encoding="utf-8")


def _versions(sections: Mapping[str, Any]) -> dict[str, int]:
    """Return the versions of the components that a model is made of, as this build has them."""
    return {part: registry.get(sections[part]["name"]).version for part, registry in PARTS.items()}


def _warn_of_versions(saved: Mapping[str, Any], sections: Mapping[str, Any], directory: Path) -> None:
    """Warn where a component gives other scores by now than when the model was saved."""
    for part, version in _versions(sections).items():
        if (known := saved.get(part, 1)) != version:
            name = sections[part]["name"]
            what = (
                f"saved with version {known} of {name}, which is version {version} here: scores differ from those then"
            )
            warn(f"{directory}: {what}; train the model again to have them right")


def check_saved(directory: Path) -> None:
    """Compare the files of a model directory with what was noted of them; DamageError if it was changed.

    Nothing is known of a directory of another tool or of an older version.
    """
    if (directory / FILE).exists():
        _read(directory / FILE)


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def load_reranker(directory: Path, dtype: str = "float32") -> tuple[Reranker, Extractor, dict[str, Any]]:
    """Load the reranker and extractor of a model directory, and its sections.

    A directory without `rankcli.json` is opened if it is a bi-encoder of sentence-transformers or a sequence classifier
    with one or two labels; MissingError if it is neither.
    """
    saved = directory / FILE
    sections = _read(saved) if saved.exists() else sections_of(*options_for(directory))
    versions = sections.pop(VERSIONS, {})
    source = str(saved if saved.exists() else directory)
    extractor = component_from(EXTRACTORS, sections["extractor"], source).build(ExtractorContext(saved=directory))
    options = component_from(RERANKERS, sections["reranker"], source)
    if saved.exists():
        _warn_of_versions(versions, sections, directory)
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


def _write_settings(directory: Path, reranker: Reranker, extractor: Extractor) -> None:
    """Write the longest sequence into the tokenizer's settings, so that other tools cut texts at the same length, and
    the inputs of encoders for which other tools would leave one out.
    """
    file = directory / "tokenizer_config.json"
    if (directory / "tokenizer.json").exists():
        settings = read_object(file) if file.exists() else {}
        sequences = (spec for spec in extractor.fields.values() if isinstance(spec, SequenceSpec))
        settings["model_max_length"] = max(spec.max_length for spec in sequences)
        families = (family_of(encoder.config.kind) for encoder in reranker.encoders.values())
        if inputs := next((family.inputs for family in families if family.inputs), ()):
            settings["model_input_names"] = list(inputs)
        file.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    """The sections of a model directory, whose files are compared with what was noted of them."""
    fix = "take it from where it came, or save the model again"
    content = read_checked(file, {"schema_version": int}, fix=fix)
    version = content["schema_version"]
    if version != SCHEMA_VERSION:
        raise MissingError(
            f"saved in format {version}; this version of rankcli reads format {SCHEMA_VERSION}",
            where=str(file),
            fix="update rankcli",
        )
    check_kinds(content, {"reranker": dict, "extractor": dict}, str(file), fix)
    check_noted(file.parent, content.get(FILES, {}), fix)
    return {key: value for key, value in content.items() if key not in ("schema_version", "rankcli", FILES)}
