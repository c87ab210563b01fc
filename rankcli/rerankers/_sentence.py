"""Bi-encoders as modules of sentence-transformers: a chain of modules, or a router of one chain for each side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rankcli.config.registry import HEADS
from rankcli.encoders.build import Pretrained
from rankcli.heads.base import DenseLayer
from rankcli.rerankers.foreign import MODULES, POOLINGS, ForeignDirectory, write_json, write_modules
from rankcli.rerankers.modular import dense_layer, save_dense, with_modules
from rankcli.text.weights import Tensors

_ROUTES = {"query": "query", "doc": "document"}  # our name of a side, and theirs


class Chain(NamedTuple):
    """The modules of a tower: a transformer in `folder` ("" for the directory itself), pooling, dense layers."""

    folder: str
    longest: int
    pooling: str
    width: int
    layers: list[DenseLayer]


def save_modules(chains: Mapping[str, Chain], similarity: str, directory: Path) -> None:
    """Write the files by which sentence-transformers opens a bi-encoder: one chain of both sides, or one of each.

    Without a chain, for models that it does not have, its files name a module that does not exist: it would open the
    first encoder alone otherwise.
    """
    if not chains:
        write_modules(directory, [("", "rankcli.SeveralEncoders")])
        return
    modules = _save_chain(chains["doc"], directory, "") if len(chains) == 1 else _save_router(chains, directory)
    if similarity == "cosine":
        modules.append((f"{len(modules)}_Normalize", "Normalize"))
        (directory / modules[-1][0]).mkdir(exist_ok=True)
    write_modules(directory, modules)
    settings: dict[str, Any] = {"similarity_fn_name": similarity, "prompts": {}, "default_prompt_name": None}
    write_json(directory / "config_sentence_transformers.json", settings)


def dense_head(model: ForeignDirectory) -> Any:
    """Return the head that the dense layers of a directory are; None without any. MissingError for layers that no head
    computes.
    """
    layers = [dense_layer(model, n, folder) for n, (kind, folder) in enumerate(model.chain) if kind == "Dense"]
    if not layers:
        return None
    inner = {layer.activation or "none" for layer in layers[:-1]}
    if len(inner) > 1:
        raise model.unknown(f"dense layers with several activations between them: {', '.join(sorted(inner))}")
    last = layers[-1].activation or "none"
    return HEADS.get("mlp")(sizes=tuple(layer.width for layer in layers), activation=[*inner, "relu"][0], last=last)


def dense_tensors(pretrained: Pretrained) -> dict[str, np.ndarray]:
    """Return the weights of the dense layers of another tool's directory, under the names of a head. A layer without
    offsets has zeros.
    """
    stored = with_modules(Tensors({}, dict[str, np.ndarray]().__getitem__), pretrained.directory)
    folders = list(dict.fromkeys(name.partition(".")[0] for name in stored))
    found = {}
    for n, folder in enumerate(folders):
        weight = stored[f"{folder}.linear.weight"]
        bias = f"{folder}.linear.bias"
        found[f"head.{n}.weight"] = weight
        found[f"head.{n}.bias"] = stored[bias] if bias in stored else np.zeros(len(weight), np.float32)
    return found


def _save_router(chains: Mapping[str, Chain], directory: Path) -> list[tuple[str, str]]:
    saved = {_ROUTES[side]: _save_chain(chain, directory, f"{_ROUTES[side]}_") for side, chain in chains.items()}
    routes = {route: [(folder or ".", kind) for folder, kind in modules] for route, modules in saved.items()}
    content: dict[str, Any] = {
        "types": {folder: f"{MODULES}.{kind}" for modules in routes.values() for folder, kind in modules},
        "structure": {route: [folder for folder, _ in modules] for route, modules in routes.items()},
        "parameters": {"default_route": "document", "allow_empty_key": True},
    }
    write_json(directory / "router_config.json", content)
    return [("", "Router")]


def _save_chain(chain: Chain, directory: Path, before: str) -> list[tuple[str, str]]:
    """Write the modules, in folders whose names begin with `before`, and return folder and kind of each."""
    longest = {"max_seq_length": chain.longest, "do_lower_case": False}
    write_json(directory / chain.folder / "sentence_bert_config.json", longest)
    pooling = {key: name == chain.pooling for name, key in POOLINGS.items()}
    write_json(directory / f"{before}1_Pooling" / "config.json", {"word_embedding_dimension": chain.width, **pooling})
    modules = [(chain.folder, "Transformer"), (f"{before}1_Pooling", "Pooling")]
    for n, layer in enumerate(chain.layers, start=2):
        modules.append((f"{before}{n}_Dense", "Dense"))
        save_dense(directory / modules[-1][0], layer.weight, layer.bias, layer.activation)
    return modules
