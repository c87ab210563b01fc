"""Hugging Face's sequence classifiers with one label, which score query and document read together in one sequence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankcli.backend import tf
from rankcli.encoders._initial import variable
from rankcli.encoders._weights import Weight, values_from
from rankcli.encoders.build import build_encoder, read_pretrained
from rankcli.encoders.config import EncoderConfig, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.log import say
from rankcli.rerankers._base import Reranker, RerankerContext
from rankcli.rerankers._ops import Tensor, check_tensors
from rankcli.shapes import Layout

Arrays = dict[str, np.ndarray]

_ARCHITECTURES = {"bert": "BertForSequenceClassification", "electra": "ElectraForSequenceClassification"}


class SequenceClassifier(Reranker):
    """One logit per sequence, as Hugging Face computes it.

    BERT: pooler (dense, tanh), dropout, linear. ELECTRA: the first token's state, dropout, dense, GELU, dropout,
    linear. A pretrained head of one label is used as it is; of two (`not relevant`, `relevant`), the logit is the
    difference of theirs, which ranks as their softmax does. Without either, the head starts from random values.
    """

    def __init__(self, size: EncoderSize, rate: float, ctx: RerankerContext) -> None:
        kind, stored = _pretrained_head(ctx.pretrained)
        vocab_size, longest = ctx.extractor.vocab_size, ctx.extractor.fields["pair"].max_length
        self._rate = rate
        self.encoder = build_encoder(ctx.pretrained, size, vocab_size, ctx.seed, ctx.dtype, pooler=kind == "bert")
        self.encoder.config.check_fit(vocab_size, longest)
        self._head = _head_weights(self.encoder.config)
        scale = self.encoder.config.initializer_range
        self._head_paths = {w.path: variable(w.path, w.shape, w.init, ctx.seed, scale) for w in self._head}
        self.variables = {**self.encoder.paths, **self._head_paths}
        if stored:
            self._assign_head(stored)
        elif ctx.pretrained is not None:
            say(f"{ctx.pretrained}: no classifier of one or two labels among the weights; it starts from random values")

    def logits(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        """Float32 [N]."""
        bert = self.encoder.config.kind == "bert"
        keys = [None if dropout is None else dropout.fold(n) for n in range(3)]
        vectors = _drop(self.encoder.pooled(layout, "pooler" if bert else "cls", keys[0]), self._rate, keys[1])
        if not bert:
            hidden = tf.nn.gelu(self._dense("classifier/dense", vectors), approximate=False)
            vectors = _drop(hidden, self._rate, keys[2])
        return self._dense("classifier" if bert else "classifier/out_proj", vectors)[:, 0]

    def tensors(self) -> Arrays:
        """The encoder's under its model's prefix, and the classifier's."""
        prefix = self.encoder.config.kind
        named = {f"{prefix}.{name}": value for name, value in self.encoder.tensors().items()}
        for weight in self._head:
            named.update(weight.stored(self._head_paths[weight.path].numpy()))
        return named

    def assign(self, tensors: Arrays) -> None:
        """Set encoder and classifier."""
        check_tensors(self.tensors(), tensors)
        prefix = f"{self.encoder.config.kind}."
        self.encoder.assign({n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)})
        self._assign_head({name: value for name, value in tensors.items() if not name.startswith(prefix)})

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

    def _assign_head(self, tensors: Mapping[str, np.ndarray]) -> None:
        for path, value in values_from(self._head, dict(tensors)).items():
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


def _pretrained_head(directory: Path | None) -> tuple[str, Arrays]:
    """The kind of the model in `directory`, and its classifier with one label; nothing where it has no such."""
    if directory is None:
        return "bert", {}
    config, _, others = read_pretrained(directory)
    head = {name: value for name, value in others.items() if name.startswith("classifier.")}
    last = "classifier" if config.kind == "bert" else "classifier.out_proj"
    rows = len(head.get(f"{last}.weight", ()))
    if rows not in (1, 2):
        return config.kind, {}
    if rows == 2:
        say(f"{directory}: a classifier of two labels; scores are the difference of their logits")
        head.update((f"{last}.{part}", np.diff(head[f"{last}.{part}"], axis=0)) for part in ("weight", "bias"))
    return config.kind, head


def _drop(x: Any, rate: float, key: Dropout | None) -> Any:
    return x if key is None else key.apply(x, rate)
