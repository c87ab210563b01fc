"""Hugging Face's sequence classifiers with one label, which score query and document read together in one sequence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders.build import Pretrained, build_encoder
from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.initial import variable
from rankcli.encoders.weights import Weight, values_from
from rankcli.extractors.base import sequence_spec, vocab_size
from rankcli.log import say
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.rerankers.ops import Tensor
from rankcli.shapes import Layout
from rankcli.text.weights import Tensors

_ARCHITECTURES = {"bert": "BertForSequenceClassification", "electra": "ElectraForSequenceClassification"}


class SequenceClassifier(Reranker):
    """One logit per sequence, as Hugging Face computes it.

    BERT: pooler (dense, tanh), dropout, linear. ELECTRA: the first token's state, dropout, dense, GELU, dropout,
    linear. A pretrained head of one label is used as it is; of two (`not relevant`, `relevant`), the logit is the
    difference of theirs, which ranks as their softmax does. Without either, the head starts from random values.
    """

    def __init__(self, size: EncoderSize, rate: float, ctx: RerankerContext) -> None:
        kind = ctx.stored.config.kind if ctx.stored else "bert"
        tokens, longest = vocab_size(ctx.extractor, "pair"), sequence_spec(ctx.extractor, "pair").max_length
        self._rate = rate
        self.encoder = build_encoder(ctx.stored, size, tokens, ctx.seed, ctx.dtype, pooler=kind == "bert")
        self.encoder.config.check_fit(tokens, longest)
        head = _head_weights(self.encoder.config)
        scale = self.encoder.config.initializer_range
        self._head_paths = {w.path: variable(w.path, w.shape, w.init, ctx.seed, scale) for w in head}
        self.variables = {**self.encoder.paths, **self._head_paths}
        self.weights = [*(weight.prefixed(kind) for weight in self.encoder.specs), *head]
        if ctx.stored:
            self._take_head(head, ctx.stored)

    def logits(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Float32 [N]."""
        bert = self.encoder.config.kind == "bert"
        keys = [None if dropout is None else dropout.fold(n) for n in range(3)]
        vectors = _drop(self.encoder.pooled(layout, "pooler" if bert else "cls", keys[0]), self._rate, keys[1])
        if not bert:
            hidden = tf.nn.gelu(self._dense("classifier/dense", vectors), approximate=False)
            vectors = _drop(hidden, self._rate, keys[2])
        return self._dense("classifier" if bert else "classifier/out_proj", vectors)[:, 0]

    def save_config(self, directory: Path) -> None:
        """Write `config.json`: a sequence classifier of one label, whose logits `CrossEncoder` leaves as they are."""
        content = {
            "architectures": [_ARCHITECTURES[self.encoder.config.kind]],
            **self.encoder.config.to_hf(),
            "classifier_dropout": self._rate,
            "id2label": {"0": "LABEL_0"},
            "label2id": {"LABEL_0": 0},
            "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        }
        (directory / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _dense(self, path: str, x: Tensor) -> Tensor:
        return tf.matmul(x, self._head_paths[f"{path}/kernel"]) + self._head_paths[f"{path}/bias"]

    def _take_head(self, weights: list[Weight], pretrained: Pretrained) -> None:
        """The classifier of a directory, if it has one or two labels."""
        where = str(pretrained.directory)
        tensors = one_label(pretrained.tensors, where)
        stored = tensors.renamed({name: name for name in tensors if name.startswith("classifier.")})
        if stored.shapes.get(weights[-1].names[0]) != (1,):
            say(f"{where}: no classifier of one or two labels among the weights; it starts from random values")
            return
        for path, value in values_from(weights, stored, "classifier", where).items():
            self._head_paths[path].assign(value)


def _head_weights(config: EncoderConfig) -> list[Weight]:
    width = config.hidden_size
    if config.kind == "bert":
        return _linear("classifier", "classifier", width, 1)
    return [
        *_linear("classifier/dense", "classifier.dense", width, width),
        *_linear("classifier/out_proj", "classifier.out_proj", width, 1),
    ]


def _linear(path: str, name: str, inputs: int, outputs: int) -> list[Weight]:
    return [
        Weight(f"{path}/kernel", (inputs, outputs), (f"{name}.weight",), "normal", transposed=True),
        Weight(f"{path}/bias", (outputs,), (f"{name}.bias",), "zeros"),
    ]


def one_label(tensors: Tensors, where: str) -> Tensors:
    """Tensors in which a classifier of two labels has one, whose logit is the difference of theirs."""
    last = next((name for name in ("classifier", "classifier.out_proj") if f"{name}.weight" in tensors), None)
    parts = {f"{last}.weight", f"{last}.bias"} & set(tensors)
    if not parts or any(tensors.shapes[name][:1] != (2,) for name in parts):
        return tensors
    say(f"{where}: a classifier of two labels; scores are the difference of their logits")
    shapes = {name: (1, *shape[1:]) if name in parts else shape for name, shape in tensors.shapes.items()}
    return Tensors(shapes, lambda name: np.diff(tensors[name], axis=0) if name in parts else tensors[name])


def _drop(x: Any, rate: float, key: Dropout | None) -> Any:
    return x if key is None else key.apply(x, rate)
