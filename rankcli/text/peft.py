"""Directories of the library `peft`: a low-rank adapter and the name of the model that it belongs to.

They are opened as a copy of that model into which the adapter is merged (`merged`), so nothing else knows of adapters.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.storage.inputs import kept_tree
from rankcli.storage.json_files import read_object
from rankcli.text import _safetensors
from rankcli.text.weights import Tensors, open_tensors, write_tensors

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
_COPIED = ("*.json", "*.txt", "*.model")
_MODULES = "[0-9]*_*"  # folders of sentence-transformers' modules
_ARCHITECTURE = re.compile(r"(Model|For[A-Z][A-Za-z]*)$")
_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")  # those that leave the model's own weights as they are
_UNSUPPORTED = (
    *("use_dora", "use_qalora", "fan_in_fan_out", "layer_replication", "target_parameters", "lora_bias"),
    *("trainable_token_indices", "alora_invocation_tokens"),
)


def is_adapter(directory: Path) -> bool:
    """True for a directory that has an adapter and no weights of a model."""
    return (directory / CONFIG).is_file() and not any(directory.glob("model*.safetensors"))


def merged(directory: Path, find: Callable[[str], Path]) -> Path:
    """Return a copy of the adapter's model with the adapter in its weights; it stays until this process ends.

    `find` returns the directory of a model by its name. ConfigError for adapters that are computed in another way.
    """
    content = _read(directory)
    base = _base(content, directory, find)
    files = [path for folder in (directory, base) for path in sorted(folder.iterdir()) if path.is_file()]
    state = json.dumps([[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files])
    return kept_tree(str(directory.absolute()), state, lambda building, _: _fill(building, content, directory, base))


def _read(directory: Path) -> dict[str, Any]:
    """Return the adapter's configuration; one ConfigError lists all that is not supported."""
    content = read_object(directory / CONFIG)
    faults = [f"{key} {content[key]!r}" for key in _UNSUPPORTED if content.get(key)]
    if content.get("peft_type") != "LORA":
        faults.append(f"peft_type {content.get('peft_type')!r}")
    if content.get("init_lora_weights") not in _STARTS:
        faults.append(f"init_lora_weights {content['init_lora_weights']!r}, which changes the model's own weights")
    alpha = content.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        faults.append(f"lora_alpha {alpha!r}")
    if faults:
        what = f"this adapter cannot be opened; not supported: {'; '.join(faults)}"
        raise ConfigError(what, where=str(directory / CONFIG), fix="merge it with peft: `merge_and_unload()`")
    if not (directory / WEIGHTS).is_file():
        raise MissingError(f"no {WEIGHTS} here", where=str(directory), fix="save it again with a current peft")
    return content


def _base(content: Mapping[str, Any], directory: Path, find: Callable[[str], Path]) -> Path:
    """Return the directory of the adapter's model. A relative path may start at the adapter, too."""
    name = content.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        fix = "write the model's id or directory there"
        raise ConfigError("base_model_name_or_path names no model", where=str(directory / CONFIG), fix=fix)
    near = directory / name
    try:
        return near if near.is_dir() else find(name)
    except ConfigError as error:
        fix = f"write the present place of that model into base_model_name_or_path of {CONFIG}"
        raise ConfigError(f"the adapter's model is not there: {name}", where=str(directory), fix=fix) from error


def _fill(building: Path, content: Mapping[str, Any], directory: Path, base: Path) -> None:
    """Write the merged model: files of the base, then those of the adapter in their place, then the weights."""
    classifier = content.get("task_type") == "SEQ_CLS"
    for source in (base, directory):
        kept = [path for pattern in _COPIED for path in source.glob(pattern) if _is_kept(path, classifier)]
        for path in kept:
            shutil.copyfile(path, building / path.name)
        for folder in [] if classifier else source.glob(_MODULES):
            shutil.copytree(folder, building / folder.name, dirs_exist_ok=True)
    if classifier:
        config = read_object(building / "config.json")
        named = [
            _ARCHITECTURE.sub("ForSequenceClassification", str(name)) for name in config.get("architectures") or []
        ]
        (building / "config.json").write_text(json.dumps({**config, "architectures": named}, indent=2) + "\n")
    write_tensors(building, _tensors(content, directory, open_tensors(base)))


def _is_kept(path: Path, classifier: bool) -> bool:
    """True for configurations and tokenizers; of a classifier not what sentence-transformers said of its base."""
    foreign = classifier and ("sentence" in path.name or path.name == "modules.json")
    return not foreign and path.name not in (CONFIG, "rankcli.json") and "index" not in path.name


def _tensors(content: Mapping[str, Any], directory: Path, base: Tensors) -> dict[str, np.ndarray]:
    where = str(directory / WEIGHTS)
    adapter = _safetensors.opened(directory / WEIGHTS)
    own = adapter.renamed({name.removeprefix(PREFIX): name for name in adapter})
    found = dict(base)
    for name in own:
        module, product, part = name.rpartition(".lora_")
        other = f"{module}.lora_{'B' if part == 'A.weight' else 'A'}.weight"
        if not product:
            found[_known(name, base)] = own[name]
        elif part not in ("A.weight", "B.weight") or other not in own:
            what = f"{name} is not of a product of two matrices that are both there"
            raise StorageError(what, where=where, fix="merge it with peft: `merge_and_unload()`")
        elif part == "A.weight":
            pair = own[name], own[other]
            _add(found, _known(f"{module}.weight", base), pair, _scale(content, module, len(pair[0])), where)
    return found


def _add(
    found: dict[str, np.ndarray], name: str, pair: tuple[np.ndarray, np.ndarray], scale: float, where: str
) -> None:
    a, b = pair
    shape = (b.shape[0], a.shape[1]) if b.ndim == a.ndim == 2 and b.shape[1] == a.shape[0] else None
    if name not in found or found[name].shape != shape:
        have = f"has shape {list(found[name].shape)}" if name in found else "is not there"
        raise StorageError(f"the adapter is of another model: its {name} {have}, not {shape}", where=where)
    found[name] = found[name] + np.float32(scale) * (b @ a)


def _scale(content: Mapping[str, Any], module: str, rank: int) -> float:
    patterns = content.get("alpha_pattern") or {}
    own = (alpha for key, alpha in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", module))
    alpha = next(own, content["lora_alpha"])
    return float(alpha / (rank**0.5 if content.get("use_rslora") else rank))


def _known(name: str, base: Tensors) -> str:
    """Return the name that a weight has in the base, where a prefix such as `bert.` may be missing or be more."""
    if name in base:
        return name
    alike = [other for other in base if name.endswith(f".{other}") or other.endswith(f".{name}")]
    return max(alike, key=len, default=name)
