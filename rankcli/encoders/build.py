"""Build an encoder from a pretrained directory, or of a given size with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rankcli.encoders.base import Encoder
from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.encoders.family import DEFAULT, Family, family_in, family_of
from rankcli.encoders.parameters import Adapter, Parameters
from rankcli.encoders.weights import Arrays, values_from, with_frozen
from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.log import say
from rankcli.storage.json_files import read_object
from rankcli.text.hub import resolve
from rankcli.text.weights import Tensors, open_tensors


@dataclass(frozen=True)
class Pretrained:
    """A model directory: its configuration and its tensors, which are read once each.

    A reranker with several models saves all `weights` in one place, and the configurations in directories.
    """

    directory: Path
    weights: Tensors | None = None

    @cached_property
    def stored(self) -> Tensors:
        """All tensors by their names in the files."""
        return open_tensors(self.directory) if self.weights is None else self.weights

    @cached_property
    def content(self) -> dict[str, object]:
        """The content of its config.json."""
        return _read_config(self.directory)

    @cached_property
    def family(self) -> Family:
        """The family of its encoder."""
        return family_in(self.content, self._config)

    @cached_property
    def config(self) -> EncoderConfig:
        """The configuration of its encoder."""
        return self.family.read(self.content, self._config)

    @cached_property
    def tensors(self) -> Tensors:
        """All tensors by canonical name: the encoder's without model prefix, and others (heads: `classifier.weight`,
        ...).
        """
        return canonical_names(self.stored, self.family.rename, str(self.directory))

    def encoder(self, prefix: str = "") -> Tensors:
        """The encoder's tensors; only those stored below a prefix that is a reranker's own."""
        tensors = self.tensors
        if prefix not in ("", self.family.prefix) and any(name.startswith(f"{prefix}.") for name in self.stored):
            own = {name.removeprefix(f"{prefix}."): name for name in self.stored if name.startswith(f"{prefix}.")}
            tensors = canonical_names(self.stored.renamed(own), self.family.rename, str(self.directory))
        return tensors.renamed({name: name for name in tensors if name.startswith(self.family.parts)})

    @property
    def _config(self) -> str:
        return str(self.directory / "config.json")


def find_model_directory(name: str) -> Path:
    """Return the directory of a model that may come from the hub; ConfigError, before its weights are downloaded, if no
    family computes it.
    """
    return resolve(name, _described)


def _described(directory: Path) -> str:
    """Return a few words about the model of a directory, once its configuration is read."""
    given = Pretrained(directory)
    config, named = given.config, given.content.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else config.kind
    return f"{architecture}, {config.layers} layers of {config.hidden_size}, up to {config.max_positions:,} tokens"


def open_models(directories: Mapping[str, Path]) -> dict[str, Pretrained]:
    """Return the models by name. Each is read at most once."""
    return {name: Pretrained(directory) for name, directory in directories.items()}


def canonical_names(stored: Tensors, rename: Callable[[str], str | None], where: str) -> Tensors:
    """Return tensors by the names that a family gives them; StorageError where two have the same name."""
    old: dict[str, str] = {}
    for name in stored:
        canonical = rename(name)
        if canonical is not None and old.setdefault(canonical, name) != name:
            raise StorageError(f"{canonical} is there twice, once as {name}", where=where)
    return stored.renamed(old)


def encoder_config(pretrained: Pretrained | None, size: EncoderSize, vocab_size: int) -> EncoderConfig:
    """Return the configuration of a directory, or one of `size` over `vocab_size` tokens.

    ConfigError when the tokenizer has more tokens than the pretrained encoder.
    """
    config = pretrained.config if pretrained else EncoderConfig.from_size(size, vocab_size, DEFAULT)
    config.check_fit(vocab_size)
    return config


def check_frozen(config: EncoderConfig, frozen: bool | int, where: str) -> None:
    """Raise ConfigError at `where` for a number of frozen layers that leaves no layer to train."""
    if isinstance(frozen, bool):
        return
    paths = [weight.path for weight in family_of(config.kind).weights(config, pooler=False)]
    if not any(path.startswith("layer_0/") for path in paths):
        what = "its layers share their weights, so that no part of them can be frozen"
    elif not any(path.startswith(f"layer_{frozen}/") for path in paths):
        what = f"{frozen} frozen layers, but the encoder has {config.layers}"
    else:
        return
    raise ConfigError(what, where=where, fix="freeze fewer layers, or the whole encoder with `true`")


def build_encoder(
    config: EncoderConfig,
    pretrained: Pretrained | None = None,
    *,
    seed: int = 42,
    dtype: str = "float32",
    pooler: bool = False,
    root: str = "encoder",
    prefix: str = "",
    adapters: Sequence[Adapter] = (),
    complete: bool = False,
    recompute: bool = False,
    frozen: bool | int = False,
) -> Encoder:
    """Build an encoder with the weights of a directory, or random ones.

    `frozen` weights are never trained: all of them, or those of the embeddings and of that many of the lowest layers.

    A missing pooler is reported on stderr; with `complete` it is a MissingError. With `recompute`, training computes
    layers again for gradients in place of keeping what they computed.

    The paths of its variables begin with `root`, its stored names with `prefix`.
    """
    family = family_of(config.kind)
    # before memory for the sizes in config.json is allocated
    values = _values(family, config, pretrained, prefix, pooler, complete) if pretrained else {}
    weights = with_frozen(family.weights(config, pooler), frozen)
    weights = [weight.prefixed(prefix) if prefix else weight for weight in weights]
    parameters = Parameters(weights, seed, dtype, config.initializer_range, root)
    for adapter in adapters:
        parameters = adapter.wrap(parameters)
    parameters.recompute = recompute
    parameters.update({f"{root}/{path}": value for path, value in values.items()})
    return family.build(config, parameters)


def _values(
    family: Family, config: EncoderConfig, pretrained: Pretrained, prefix: str, pooler: bool, complete: bool
) -> Arrays:
    """The weights of a directory by their paths below the root."""
    tensors, where = pretrained.encoder(prefix), str(pretrained.directory)
    stored = pooler and any(name.startswith("pooler.") for name in tensors)
    unused = (*family.unused(config), *([] if stored else ["pooler."]))
    kept = tensors.renamed({name: name for name in tensors if not name.startswith(unused)})
    if family.own_layers(config) > len(kept):  # a forged number of layers must not make a huge list of weights
        there = ", ".join(sorted(pretrained.stored)[:2])
        what = f"config.json says {family.own_layers(config)} layers, but only {len(kept)} tensors are of this encoder"
        fix = "save the encoder without what is wrapped around it" if there else ""
        raise StorageError(f"{what}; the first names are {there or 'none'}", where=where, fix=fix)
    if pooler and not stored:
        _without_pooler(where, complete)
    return values_from(family.weights(config, stored), kept, where=where)


def _without_pooler(where: str, complete: bool) -> None:
    what = "no pooler among the weights"
    if complete:
        raise MissingError(what, where=where, fix="train it first: reranker.pretrained")
    say(f"{where}: {what}; it starts from random values")


def _read_config(directory: Path) -> dict[str, object]:
    path = directory / "config.json"
    if not path.exists():
        raise MissingError("no config.json here", where=str(directory), fix="give a directory that holds a model")
    return read_object(path)
