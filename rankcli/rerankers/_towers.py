"""The parts of a bi-encoder: its encoders by name, its heads, and the towers that are made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rankcli.backend import tf
from rankcli.config.registry import option
from rankcli.config.types import PositiveInt
from rankcli.encoders.base import Encoder
from rankcli.encoders.build import check_frozen, encoder_config
from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.layouts import first_tokens, means_of
from rankcli.encoders.parameters import Adapter, Parameters
from rankcli.encoders.weights import Weight
from rankcli.errors import ConfigError
from rankcli.extractors.base import reads_titles, sequence_spec, vocab_size
from rankcli.heads.base import Head
from rankcli.rerankers.base import Base, RerankerContext
from rankcli.rerankers.ops import Tensor
from rankcli.shapes import TITLE, Layout
from rankcli.text.tokenizer import Tokenizer, has_tokenizer

SIDES = ("query", "doc")
START = 0.1  # weight of a title's vector beside that of the text
_OTHERS = 1_000_000  # numbers of dropout keys that no layer of an encoder has


@dataclass(frozen=True, kw_only=True)
class OneEncoder:
    """An encoder of a bi-encoder."""

    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    pooling: Literal["mean", "cls"] = option("mean", "how token states become one vector")
    frozen: bool | PositiveInt = option(
        False, "true: the encoder is never trained; a number: its embeddings and that many of its lowest layers"
    )


class Part(NamedTuple):
    """An encoder by its options: the section that they are in (empty for those of the reranker itself), and its config.

    It reads the field `field`, of those that it may read the one with the longest sequences.
    """

    section: str
    options: OneEncoder
    field: str
    config: EncoderConfig

    @property
    def model(self) -> str:
        """The dotted name of the option that names its model."""
        return f"{self.section}.pretrained" if self.section else "pretrained"

    @property
    def root(self) -> str:
        """The beginning of its variables' paths."""
        return "/".join(["encoder", *self.section.split(".")]) if self.section else "encoder"

    def built(self, ctx: RerankerContext, adapter: Adapter | None) -> Encoder:
        """Return the encoder. Its tensors are stored below its section; those of the reranker itself without prefix,
        as those of a model without a head.
        """
        named: dict[str, Any] = {"root": self.root, "prefix": self.section, "frozen": self.options.frozen}
        named["adapter"] = adapter
        return ctx.encoder(self.options.encoder, self.field, self.model, **named)


class Plan(NamedTuple):
    """The encoders and the head of each side, and the head of titles. Sides that share a head have the same one."""

    parts: Mapping[str, list[Part]]
    heads: Mapping[str, Head | None]
    titles: Head | None

    @property
    def distinct(self) -> list[Part]:
        """All encoders, that of the reranker's own options first."""
        parts = {part.section: part for side in reversed(SIDES) for part in self.parts[side]}
        return list(parts.values())

    def outputs(self, side: str) -> int:
        """Return the numbers of a side's vectors."""
        head = self.heads[side]
        return head.outputs if head else width(self.parts[side])


def plan_of(options: Any, ctx: RerankerContext) -> Plan:
    """Return the parts of a bi-encoder's options. ConfigError where they do not fit together."""
    fields = sorted(SIDES, key=lambda name: sequence_spec(ctx.extractor, name).max_length)
    named = {f"also.{name}": each for name, each in (options.also or {}).items()}
    if options.query:
        sections = {"query": {"query": options.query}, "doc": {"": options}}
        longest = {"query": "query", "": "doc"}
    else:
        sections = dict.fromkeys(SIDES, {"": options, **named})
        longest = dict.fromkeys(sections["doc"], fields[-1])
    made = {name: _part(name, one, longest[name], ctx) for side in SIDES for name, one in sections[side].items()}
    parts = {side: [made[name] for name in sections[side]] for side in SIDES}
    titles = options.titlehead.build(width(parts["doc"])) if options.titlehead else None
    plan = Plan(parts, _heads(options, parts), titles)
    if plan.outputs("query") != plan.outputs("doc"):
        raise ConfigError(
            f"the vectors of queries have {plan.outputs('query')} numbers, those of documents {plan.outputs('doc')}",
            where="reranker",
            fix="give one of them a head that makes them equal: {name: linear, size: N}",
        )
    if titles:
        _check_titles(titles, plan.outputs("doc"), ctx)
    return plan


def _check_titles(titles: Head, numbers: int, ctx: RerankerContext) -> None:
    where = "reranker.titlehead"
    if not reads_titles(ctx.extractor):
        raise ConfigError("the extractor tells no title from its text", where=where, fix="say `extractor.titles: true`")
    if titles.outputs != numbers:
        what = f"it makes {titles.outputs} numbers of a title, but the vector of a document's text has {numbers}"
        raise ConfigError(what, where=where, fix="give it as many: {name: linear, size: N}")


def width(parts: list[Part]) -> int:
    """Return the numbers of the vectors of encoders side by side."""
    return sum(part.config.hidden_size for part in parts)


def _part(section: str, options: OneEncoder, field: str, ctx: RerankerContext) -> Part:
    model = f"{section}.pretrained" if section else "pretrained"
    config = encoder_config(ctx.models.get(model), options.encoder, vocab_size(ctx.extractor, field))
    check_frozen(config, options.frozen, ".".join(["reranker", *filter(None, [section]), "frozen"]))
    return Part(section, options, field, config)


def _heads(options: Any, parts: Mapping[str, list[Part]]) -> dict[str, Head | None]:
    head = options.head.build(width(parts["doc"])) if options.head else None
    if options.queryhead:
        return {"query": options.queryhead.build(width(parts["query"])), "doc": head}
    if head and head.inputs != width(parts["query"]):
        raise ConfigError(
            f"it reads the {head.inputs} numbers of a document's vector, but a query's has {width(parts['query'])}",
            where="reranker.head",
            fix="give queries a head of their own: reranker.queryhead",
        )
    return {"query": head, "doc": head}


class Pooled(NamedTuple):
    """An encoder, and how its states become one vector."""

    encoder: Encoder
    pooling: Literal["mean", "cls"]
    frozen: bool

    def __call__(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Return the pooled states. A frozen encoder has no dropout."""
        return self.encoder.pooled(layout, self.pooling, None if self.frozen else dropout)

    def apart(self, layout: Layout, dropout: Dropout | None) -> tuple[Tensor, Tensor]:
        """Return the pooled states of texts without their titles, and the means of those of titles."""
        states = self.encoder.states(layout, None if self.frozen else dropout)[0]
        of_title = layout.parts == TITLE
        first = self.pooling == "cls"
        text = first_tokens(states, layout) if first else means_of(states, layout, tf.logical_not(of_title))
        return tf.cast(text, tf.float32), means_of(states, layout, of_title)


class Titles(NamedTuple):
    """The head of titles, whose vectors are added to those of texts with a trained weight."""

    head: Head
    parameters: Parameters

    def __call__(self, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return what is added: zeros for a document without a title, whose vector is zeros."""
        made = self.head(self.parameters, vectors, None if dropout is None else dropout.fold(_OTHERS))
        there = tf.reduce_any(vectors != 0, axis=1, keepdims=True)
        return tf.where(there, self.parameters.exact("weight") * made, 0.0)


def titles_weights(head: Head) -> list[Weight]:
    """Return the weights of `Titles`."""
    return [*head.weights, Weight("weight", (1,), ("weight",), (START,))]


@dataclass(frozen=True)
class Tower:
    """Encoders side by side, a head, perhaps another one for titles, and the length 1 for cosine."""

    pooled: tuple[Pooled, ...]
    head: Head | None
    parameters: Parameters | None
    cosine: bool
    titles: Titles | None = None

    def encode(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Return the pooled states of all encoders, one behind the other; where titles have a head, those of texts
        before those of titles.
        """
        keys = [dropout, *(None if dropout is None else dropout.fold(_OTHERS + n) for n in range(len(self.pooled) - 1))]
        each = zip(self.pooled, keys, strict=True)
        if self.titles:
            texts, titles = zip(*(pooled.apart(layout, key) for pooled, key in each), strict=True)
            return tf.concat([*texts, *titles], axis=1)
        found = [pooled(layout, key) for pooled, key in each]
        return tf.concat(found, axis=1) if len(found) > 1 else found[0]

    def finish(self, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        """Return the vectors that are compared."""
        vectors, *titles = tf.split(vectors, 2, axis=1) if self.titles else [vectors]
        if self.head and self.parameters:
            vectors = self.head(self.parameters, vectors, dropout)
        if self.titles:
            vectors += self.titles(titles[0], dropout)
        return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-24) if self.cosine else vectors

    @property
    def base(self) -> Base:
        """The tower as a reranker declares it."""
        parameters = tuple(each.encoder.parameters for each in self.pooled)
        words = [[config_json(each.encoder), each.pooling, each.encoder.parameters.dtype.name] for each in self.pooled]
        words += [["titles apart"]] if self.titles else []
        width = sum(each.encoder.config.hidden_size for each in self.pooled) * (2 if self.titles else 1)
        return Base(self.encode, self.finish, parameters, json.dumps(words, sort_keys=True), width)


def config_json(encoder: Encoder) -> dict[str, Any]:
    """Return the content of an encoder's `config.json`."""
    family = family_of(encoder.config.kind)
    return {"architectures": [family.architecture], **family.write(encoder.config)}


def check_tokenizers(names: Iterable[str], ctx: RerankerContext) -> None:
    """Raise ConfigError where a further encoder has another tokenizer than the one whose tokens it reads."""
    for model in (f"also.{name}.pretrained" for name in names):
        given = ctx.models.get(model)
        if given is None or not has_tokenizer(given.directory):
            continue
        if Tokenizer.open(given.directory).fingerprint != ctx.extractor.fingerprint:
            raise ConfigError(
                "its tokenizer is not that of reranker.pretrained, whose tokens it would read",
                where=f"reranker.{model}",
                fix="choose an encoder with the same vocabulary; only queries may have a tokenizer of their own",
            )
