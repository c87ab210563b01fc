"""An encoder from a pretrained directory, or of the user's size with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.errors import MissingError, StorageError
from rankcli.log import say
from rankcli.text.weights import read_tensors

if TYPE_CHECKING:
    from rankcli.encoders.transformer import TransformerEncoder

Arrays = dict[str, np.ndarray]

_PARTS = ("embeddings.", "embeddings_project.", "encoder.", "pooler.")


def build_encoder(
    pretrained: Path | None,
    size: EncoderSize,
    vocab_size: int,
    seed: int = 42,
    dtype: str = "float32",
    pooler: bool = False,
) -> TransformerEncoder:
    """An encoder with the weights of the directory `pretrained`; or of `size`, random, over `vocab_size` tokens.

    ConfigError when the tokenizer has more tokens than the pretrained encoder; a missing pooler is said on stderr.
    """
    from rankcli.encoders.transformer import TransformerEncoder

    if pretrained is None:
        return TransformerEncoder(EncoderConfig.from_size(size, vocab_size), seed, dtype, pooler)
    config, tensors, _ = read_pretrained(pretrained)
    config.check_fit(vocab_size)
    encoder = TransformerEncoder(config, seed, dtype, pooler)
    encoder.assign(_with_pooler(tensors, encoder.tensors(), pooler, pretrained))
    return encoder


def read_pretrained(directory: Path) -> tuple[EncoderConfig, Arrays, Arrays]:
    """The configuration of a model directory, the encoder's tensors without model prefix, and all others by their name.

    Old names of layer normalisation (`gamma`, `beta`) become today's. The others are heads: `classifier.weight`, ...
    """
    config = EncoderConfig.from_hf(_read_config(directory), where=str(directory / "config.json"))
    encoder: Arrays = {}
    others: Arrays = {}
    for stored, value in read_tensors(directory).items():
        name = _modern(stored)
        own = name.removeprefix(f"{config.kind}.")
        target, key = (encoder, own) if own.startswith(_PARTS) else (others, name)
        if key in target:
            raise StorageError(f"{key} is there twice, once as {stored}", where=str(directory))
        target[key] = value
    return config, encoder, others


def _read_config(directory: Path) -> dict[str, object]:
    path = directory / "config.json"
    if not path.exists():
        raise MissingError("no config.json here", where=str(directory), fix="give a directory that holds a model")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(f"not readable as JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise StorageError("not a JSON object", where=str(path))
    return content


def _modern(name: str) -> str:
    stem, _, last = name.rpartition(".LayerNorm.")
    renamed = {"gamma": "weight", "beta": "bias"}.get(last)
    return f"{stem}.LayerNorm.{renamed}" if stem and renamed else name


def _with_pooler(tensors: Arrays, initial: Arrays, pooler: bool, directory: Path) -> Arrays:
    """`tensors` with a pooler exactly where the encoder has one: the initial one when the directory has none."""
    wanted = {name: value for name, value in initial.items() if name.startswith("pooler.")}
    kept = {name: value for name, value in tensors.items() if not name.startswith("pooler.")}
    stored = {name: value for name, value in tensors.items() if name.startswith("pooler.")}
    if pooler and not stored:
        say(f"{directory}: no pooler among the weights; it starts from random values")
    return kept | ((stored or wanted) if pooler else {})
