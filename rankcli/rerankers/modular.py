"""Cross-encoders of sentence-transformers that are chains of modules: a transformer, pooling, dense layers and norms.

Ours have their classifier in the main file of weights, too, where it is read from.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from rankcli.encoders.heads import Head, HeadLayer
from rankcli.rerankers.foreign import ForeignDirectory, write_json, write_modules
from rankcli.text.weights import Tensors, open_tensors, write_tensors

_ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Tanh": "tanh",
}
_SUPPORTED = "supported: Transformer, Pooling, then dense layers, each perhaps with a LayerNorm after it"


def chained_head(directory: Path, architecture: str) -> Head | None:
    """Return the classifier that follows the transformer of a cross-encoder; None if the directory is no such chain.

    MissingError for modules that are not computed here.
    """
    model = ForeignDirectory(directory)
    if len(model.chain) < 2 or not model.is_crossencoder:
        return None
    kinds = [kind for kind, _ in model.chain]
    regular = kinds[:3] == ["Transformer", "Pooling", "Dense"] and kinds[-1] == "Dense"
    twice = any(pair == ("LayerNorm", "LayerNorm") for pair in zip(kinds, kinds[1:], strict=False))
    if not regular or twice or not {*kinds[3:]} <= {"Dense", "LayerNorm"} or model.chain[0][1]:
        raise model.unknown(f"a cross-encoder of {', '.join(kinds)}; {_SUPPORTED}")
    layers: list[HeadLayer] = []
    for n, (kind, folder) in enumerate(model.chain[2:], start=2):
        if kind == "Dense":
            layers.append(dense_layer(model, n, folder))
        else:
            layers[-1] = dataclasses.replace(layers[-1], norm=f"{n}_LayerNorm.norm", norm_bias=True)
    layers = [dataclasses.replace(layer, dropout=layer is layers[-1]) for layer in layers]
    return Head(architecture=architecture, pooling=model.pooling, layers=tuple(layers), chained=True)


def with_modules(tensors: Tensors, directory: Path) -> Tensors:
    """Return the tensors with those in the folders of modules, as far as they are not among them."""
    found = dict.fromkeys(tensors, tensors)
    shapes = dict(tensors.shapes)
    chain = enumerate(ForeignDirectory(directory).chain)
    for prefix, folder in ((f"{n}_{kind}.", folder) for n, (kind, folder) in chain if kind in ("Dense", "LayerNorm")):
        if any(name.startswith(prefix) for name in tensors):
            continue
        own = open_tensors(directory / folder)
        own = own.renamed({prefix + name: name for name in own})
        found |= dict.fromkeys(own, own)
        shapes |= own.shapes
    return Tensors(shapes, lambda name: found[name][name])


def module_files(directory: Path) -> list[Path]:
    """Return the files that decide what a cross-encoder computes after its transformer; none if it is no chain."""
    model = ForeignDirectory(directory)
    if len(model.chain) < 2 or not model.is_crossencoder:
        return []
    folders = [directory / folder for _, folder in model.chain[1:] if (directory / folder).is_dir()]
    return [
        directory / "modules.json",
        *(file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()),
    ]


def save_chain(head: Head, tensors: dict[str, np.ndarray], longest: int, directory: Path) -> None:
    """Write the files by which sentence-transformers opens a directory as a cross-encoder with this classifier."""
    kinds = ["Transformer", "Pooling"]
    for layer in head.layers:
        kinds += ["Dense", "LayerNorm"] if layer.norm else ["Dense"]
        weight, bias = tensors[f"{layer.name}.weight"], tensors.get(f"{layer.name}.bias")
        output = "scores" if layer is head.layers[-1] else "sentence_embedding"
        save_dense(directory / layer.name.partition(".")[0], weight, bias, layer.activation, output)
        if layer.norm:
            _save_norm(directory, layer.norm, tensors)
    width = tensors[f"{head.layers[0].name}.weight"].shape[1]
    write_modules(directory, [(f"{n}_{kind}" if n else "", kind) for n, kind in enumerate(kinds)])
    write_json(directory / "1_Pooling" / "config.json", {"embedding_dimension": width, "pooling_mode": head.pooling})
    settings = {"transformer_task": "feature-extraction", "max_seq_length": longest}
    write_json(directory / "sentence_bert_config.json", settings)
    about: dict[str, object] = {
        "model_type": "CrossEncoder",
        "activation_fn": _class_of(""),
        "prompts": {},
        "default_prompt_name": None,
    }
    write_json(directory / "config_sentence_transformers.json", about)


def save_dense(
    folder: Path, weight: np.ndarray, bias: np.ndarray | None, activation: str, output: str = "sentence_embedding"
) -> None:
    """Write a module Dense: a layer with this `weight` [out, in], whose results are called `output`."""
    content = {
        "in_features": weight.shape[1],
        "out_features": weight.shape[0],
        "bias": bias is not None,
        "activation_function": _class_of(activation),
        "module_input_name": "sentence_embedding",
        "module_output_name": output,
    }
    write_json(folder / "config.json", content)
    biases = {} if bias is None else {"linear.bias": bias}
    write_tensors(folder, {"linear.weight": weight, **biases})


def dense_layer(model: ForeignDirectory, n: int, folder: str) -> HeadLayer:
    """Read a module Dense, the n-th of its directory. MissingError for settings that are not computed here."""
    content = model.json(f"{folder}/config.json")
    activation, bias, width = (content.get(key) for key in ("activation_function", "bias", "out_features"))
    faults = [] if activation in _ACTIVATIONS else [f"activation_function {activation!r}"]
    faults += ["use_residual"] if content.get("use_residual") else []
    faults += [] if isinstance(bias, bool) else [f"bias {bias!r}"]
    faults += [] if isinstance(width, int) and width > 0 else [f"out_features {width!r}"]
    if content.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        faults.append(f"module_input_name {content['module_input_name']!r}")
    if faults:
        raise model.unknown(f"{folder}/config.json: not supported are {'; '.join(faults)}")
    name = f"{n}_Dense.linear"
    return HeadLayer(name=name, activation=_ACTIVATIONS[str(activation)], bias=bool(bias), width=int(str(width)))


def _save_norm(directory: Path, name: str, tensors: dict[str, np.ndarray]) -> None:
    folder, part = name.split(".")
    own = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
    write_json(directory / folder / "config.json", {"dimension": len(own[f"{part}.weight"])})
    write_tensors(directory / folder, own)


def _class_of(activation: str) -> str:
    """The PyTorch class of an activation; `none` and an empty name are the identity."""
    wanted = "" if activation == "none" else activation
    return next(path for path, name in _ACTIVATIONS.items() if name == wanted)
