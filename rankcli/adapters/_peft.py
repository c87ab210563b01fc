"""The files in which the library `peft` keeps a low-rank adapter: written here, read in `text/peft.py`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.encoders.parameters import Parameters
from rankcli.text.peft import CONFIG, PREFIX, WEIGHTS
from rankcli.text.weights import write_tensors

_OTHERS = ("config.json", "model.safetensors")  # those of the merged model
_MODULE = re.compile(r"\d+_[A-Z]")  # begins names of modules of sentence-transformers, which are files of their own


def write(saved: Path, parts: Mapping[str, Parameters], options: Any, model: str) -> None:
    """Write the adapter of `parts`, and the parts that are trained as a whole, as `peft` does for `model`.

    They come into the folder `adapter` of saved weights, with the tokenizer and the modules of sentence-transformers
    that are in `saved`.
    """
    pairs = {part: dict(_pairs(parameters)) for part, parameters in parts.items()}
    modules = [name for found in pairs.values() for name in found]
    whole = {name: value for parameters in parts.values() for name, value in _whole(parameters).items()}
    content = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if whole else "FEATURE_EXTRACTION",
        "base_model_name_or_path": str(Path(model).absolute()) if Path(model).is_dir() else model,
        "r": options.rank,
        "lora_alpha": options.alpha,
        "lora_dropout": options.dropout,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "modules_to_save": _saved_modules(whole) or None,
    }
    directory = saved / "adapter"
    shutil.copytree(saved, directory, ignore=shutil.ignore_patterns("adapter", *_OTHERS))
    for folder in (path for path in saved.iterdir() if _MODULE.match(path.name)):
        shutil.copytree(folder, directory / folder.name, dirs_exist_ok=True)
    (directory / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tensors = {
        f"{PREFIX}{name}.lora_{letter}.weight": matrix.T
        for found in pairs.values()
        for name, pair in found.items()
        for letter, matrix in zip("AB", pair, strict=True)
    }
    tensors |= {f"{PREFIX}{name}": value for name, value in whole.items()}
    write_tensors(directory, tensors, file=WEIGHTS)


def _pairs(parameters: Parameters) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield A and B of each target by the name of its module."""
    for weight in parameters.weights:
        if weight.path in getattr(parameters, "targets", {}):
            for place, pair in parameters.matrices(weight.path).items():  # type: ignore[attr-defined]
                yield weight.names[place].removesuffix(".weight"), pair


def _whole(parameters: Parameters) -> dict[str, np.ndarray]:
    """Return what is trained as a whole by its stored names; nothing of what is no part of a classifier."""
    if parameters.root and parameters.root.partition("/")[0] != "encoder":
        return {}
    own = [w for w in parameters.weights if w.path in parameters.variables and not _MODULE.match(w.names[0])]
    return {name: value for w in own for name, value in w.stored(parameters.variables[w.path].numpy()).items()}


def _saved_modules(names: Mapping[str, Any]) -> list[str]:
    """Return what PEFT calls these weights: the module above all of a pooler's or a classifier's layers."""
    found = ["pooler" if ".pooler." in f".{name}" else name.partition(".")[0] for name in names]
    return list(dict.fromkeys(found))
