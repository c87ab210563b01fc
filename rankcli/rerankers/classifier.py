"""Hugging Face's sequence classifiers with one label, which score query and document in one sequence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rankcli.config.registry import ADAPTERS, component, option
from rankcli.config.types import Rate
from rankcli.encoders.build import Pretrained, encoder_config
from rankcli.encoders.config import TINY, EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.encoders.heads import Head
from rankcli.encoders.weights import values_from
from rankcli.errors import MissingError
from rankcli.extractors.base import sequence_spec, vocab_size
from rankcli.log import say
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import write_json
from rankcli.rerankers.modular import chained_head, save_chain, with_modules
from rankcli.rerankers.ops import Tensor
from rankcli.shapes import Layout
from rankcli.text.weights import Tensors


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(RerankerOptions):
    """The options of every reranker with a sequence classifier."""

    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY}
    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    dropout: Rate = option(0.1, "dropout rate before the linear layers of the classifier")
    adapter: Any = component(ADAPTERS, None, "trained in place of the encoder's weights: `lora`; default: no adapter")


class SequenceClassifier(Reranker):
    """One logit per sequence, by the classifier of the encoder's family.

    A pretrained head of one label is used unchanged. For a head of two labels (`not relevant`, `relevant`), the logit
    is the difference of their logits, which gives the same ranking as their softmax. Without either, the head starts
    from random values.
    """

    def __init__(self, options: Any, ctx: RerankerContext) -> None:
        """Build it with the options of `ClassifierOptions`."""
        size: EncoderSize = options.encoder
        given = ctx.models.get("pretrained")
        config = encoder_config(given, size, vocab_size(ctx.extractor, "pair"))
        self._rate, self._head = options.dropout, self.head_of(options, config, given)
        self._longest = sequence_spec(ctx.extractor, "pair").max_length
        prefix = "" if self._head.chained else family_of(config.kind).prefix
        self.adapter, pooler = ctx.adapter(options.adapter, options.pretrained), self._head.pooling == "pooler"
        self._encoder = ctx.encoder(size, "pair", adapter=self.adapter, pooler=pooler, prefix=prefix)
        head = ctx.parameters(self._head.weights(config.hidden_size), config.initializer_range)
        self.parameters = {"encoder": self._encoder.parameters, "head": head}
        self.encoders = {"encoder": self._encoder}
        if given:
            self._take_head(given, ctx.complete)

    def head_of(self, options: Any, config: EncoderConfig, given: Pretrained | None) -> Head:
        """Return the classifier of a directory that has modules, else that of the encoder's family."""
        family = family_of(config.kind)
        chained = chained_head(given.directory, family.architecture) if given else None
        return chained or family.head(config)

    def logits(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Return the logits, float32 [N]."""
        key = None if dropout is None else dropout.fold(0)
        vectors = self._encoder.pooled(layout, self._head.pooling, key)
        return self._head.logits(self.parameters["head"], vectors, self._rate, dropout)

    def save_config(self, directory: Path) -> None:
        """Write `config.json`: a sequence classifier of one label, whose logits `CrossEncoder` does not change.

        A chained classifier is written as modules of sentence-transformers, beside the encoder.
        """
        config = family_of(self._encoder.config.kind).write(self._encoder.config)
        content = {"architectures": [self._head.architecture], **config}
        if self._head.chained:
            save_chain(self._head, self.parameters["head"].tensors(), self._longest, directory)
        else:
            content[self._head.dropout_key] = self._rate
            content |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
            content["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity"}
        write_json(directory / "config.json", content)

    def converted(self, stored: Tensors, where: str) -> Tensors:
        """Return the tensors under the names of the encoder's family; a classifier of two labels becomes one."""
        found = super().converted(stored, where)
        return one_label(with_modules(found, Path(where)) if self._head.chained else found, self._head, where)

    def _take_head(self, pretrained: Pretrained, needed: bool) -> None:
        """Load the classifier of a directory, if it has one or two labels; MissingError if it is `needed`."""
        where, head = str(pretrained.directory), self.parameters["head"]
        given = pretrained.tensors
        given = with_modules(given, pretrained.directory) if self._head.chained else given
        tensors = one_label(given, self._head, where)
        names = [name for layer in self._head.layers for name in (layer.name, layer.norm) if name]
        roots = tuple({f"{name.partition('.')[0]}." for name in names})
        stored = tensors.renamed({name: name for name in tensors if name.startswith(roots)})
        last = f"{self._head.layers[-1].name}."
        labels, *_ = next(
            (stored.shapes[last + part] for part in ("bias", "weight") if last + part in stored.shapes), (0,)
        )
        if labels != 1 and needed:
            has = f"it has {labels} labels" if labels else "they hold none"
            what = f"no classifier of one or two labels among the weights ({has})"
            raise MissingError(what, where=where, fix="train it first: reranker.pretrained")
        if labels != 1:
            say(f"{where}: no classifier of one or two labels among the weights; it starts from random values")
            return
        head.update(values_from(head.weights, stored, "classifier", where))


def one_label(tensors: Tensors, head: Head, where: str) -> Tensors:
    """Return tensors in which a classifier of two labels is replaced by one label: the difference of their logits."""
    last = head.layers[-1].name
    parts = {f"{last}.weight", f"{last}.bias"} & set(tensors)
    if not parts or any(tensors.shapes[name][:1] != (2,) for name in parts):
        return tensors
    say(f"{where}: a classifier of two labels; scores are the difference of their logits")
    shapes = {name: (1, *shape[1:]) if name in parts else shape for name, shape in tensors.shapes.items()}
    return Tensors(shapes, lambda name: np.diff(tensors[name], axis=0) if name in parts else tensors[name])
