"""An encoder from a pretrained directory, or of the user's size with random weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rankcli.encoders.config import KINDS, EncoderConfig, EncoderSize
from rankcli.encoders.weights import values_from, weights_of
from rankcli.errors import MissingError, StorageError
from rankcli.log import say
from rankcli.text.weights import Tensors, open_tensors, small_file

if TYPE_CHECKING:
    from rankcli.encoders.transformer import TransformerEncoder

PARTS = ("embeddings.", "embeddings_project.", "encoder.", "pooler.")


@dataclass(frozen=True)
class Pretrained:
    """A model directory: its configuration, and its tensors, each of which is read once."""

    directory: Path

    @cached_property
    def stored(self) -> Tensors:
        """By the names that they have in the files."""
        return open_tensors(self.directory)

    @cached_property
    def config(self) -> EncoderConfig:
        """The encoder's."""
        return EncoderConfig.from_hf(_read_config(self.directory), where=str(self.directory / "config.json"))

    @cached_property
    def tensors(self) -> Tensors:
        """The encoder's without model prefix, and all others (heads: `classifier.weight`, ...), by today's names."""
        return canonical_names(self.stored, str(self.directory))

    @cached_property
    def encoder(self) -> Tensors:
        """The encoder's tensors."""
        return self.tensors.renamed({name: name for name in self.tensors if name.startswith(PARTS)})


def canonical_names(stored: Tensors, where: str) -> Tensors:
    """Tensors by bare names; StorageError where two have the same."""
    old: dict[str, str] = {}
    for name in stored:
        if old.setdefault(canonical_name(name), name) != name:
            raise StorageError(f"{canonical_name(name)} is there twice, once as {name}", where=where)
    return stored.renamed(old)


def canonical_name(name: str) -> str:
    """What a weight of an encoder is called without model prefix, with today's names of layer normalisation; other
    names keep their prefix.
    """
    stem, _, last = name.rpartition(".LayerNorm.")
    renamed = {"gamma": "weight", "beta": "bias"}.get(last)
    modern = f"{stem}.LayerNorm.{renamed}" if stem and renamed else name
    prefix, _, own = modern.partition(".")
    return own if prefix in KINDS and own.startswith(PARTS) else modern


def build_encoder(
    pretrained: Pretrained | None,
    size: EncoderSize,
    vocab_size: int,
    seed: int = 42,
    dtype: str = "float32",
    pooler: bool = False,
) -> TransformerEncoder:
    """An encoder with the weights of a directory; or of `size`, random, over `vocab_size` tokens.

    ConfigError when the tokenizer has more tokens than the pretrained encoder; a missing pooler is said on stderr.
    """
    from rankcli.encoders.transformer import TransformerEncoder

    if pretrained is None:
        return TransformerEncoder(EncoderConfig.from_size(size, vocab_size), seed, dtype, pooler)
    config, tensors, where = pretrained.config, pretrained.encoder, str(pretrained.directory)
    config.check_fit(vocab_size)
    random_pooler = pooler and not any(name.startswith("pooler.") for name in tensors)
    if random_pooler:
        say(f"{where}: no pooler among the weights; it starts from random values")
    pooled = pooler and not random_pooler
    kept = tensors.renamed({name: name for name in tensors if pooled or not name.startswith("pooler.")})
    if config.layers > len(kept):  # before as many are listed
        raise StorageError(f"{config.layers} layers, but {len(kept)} tensors", where=where)
    values = values_from(weights_of(config, pooled), kept, where=where)  # before memory of these sizes is taken
    encoder = TransformerEncoder(config, seed, dtype, pooler)
    for path, value in values.items():
        encoder.paths[path].assign(value)
    return encoder


def _read_config(directory: Path) -> dict[str, object]:
    path = directory / "config.json"
    if not path.exists():
        raise MissingError("no config.json here", where=str(directory), fix="give a directory that holds a model")
    try:
        content = json.loads(small_file(path))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"not readable as JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise StorageError("not a JSON object", where=str(path))
    return content
