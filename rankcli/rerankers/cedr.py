"""Kernel pooling over the states of an encoder, together with its vector of query and document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import ADAPTERS, RERANKERS, component, option
from rankcli.config.types import NonNegativeInt
from rankcli.encoders.build import encoder_config
from rankcli.encoders.config import TINY, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.layouts import by_sequence, first_tokens, token_mask
from rankcli.encoders.parameters import Parameters
from rankcli.errors import ConfigError
from rankcli.extractors.base import sequence_spec, vocab_size
from rankcli.rerankers._kernels import MUS, kernel_weights, pooled, trained_counts
from rankcli.rerankers._towers import config_json
from rankcli.rerankers._words import layer_weights, unit
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import write_json
from rankcli.rerankers.ops import Tensor, per_document
from rankcli.shapes import DOC, QUERY, Batch, Field, Outputs

_EXACT = 0.01  # the width of the kernel at 1: no cosine of contextual states is within .001 of 1
_FLOOR = 1e-6  # least soft count
_START = 0.014  # standard deviation of the output layer at the start


@RERANKERS.register("TFCEDRKNRM", aliases=("CEDRKNRM",))
@dataclass(frozen=True, kw_only=True)
class CEDRKNRM(RerankerOptions):
    """CEDR-KNRM (MacAvaney et al., SIGIR 2019, 3.2); BERT-KNRM with `cls: none`.

    For the embeddings and each layer l, S_ij is the cosine of query token i and document token j in a passage; special
    tokens are left out. Kernel k counts over all passages of a document, K_ik = sum_j exp(-(S_ij - mu_k)^2 /
    (2 sigma_k^2)), and phi^l_k = 0.01 sum_i log max(K_ik, 1e-6). The score is w . [c ; phi^0 ; phi^1 ; ...] + b; c is
    the mean (or maximum) of the passages' states of the first token.

    Where implementations differ: the query's states are those of each passage itself; the authors take those of the
    first one. The factor 0.01 and the width 0.01 of the kernel at 1 are Capreolus'. Kernels are those of KNRM, the same
    in all layers.
    """

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "pooledpassage"
    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY}
    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    adapter: Any = component(ADAPTERS, None, "trained in place of the encoder's weights: `lora`; default: no adapter")
    cls: Literal["avg", "max", "none"] = option("avg", "how the passages' first states become one; `none`: left out")
    simmat_layers: tuple[NonNegativeInt, ...] | None = option(
        None, "layers whose states are compared, 0 for the embeddings; default: all"
    )
    gradkernels: bool = option(True, "train mu and sigma of the kernels")
    combine_hidden: NonNegativeInt = option(0, "size of a linear layer before the last; 0: without one")

    def __post_init__(self) -> None:
        if self.simmat_layers is not None and len(set(self.simmat_layers)) != max(len(self.simmat_layers), 1):
            raise ValueError("simmat_layers must name at least one layer, and none twice")

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError for layers that the encoder does not have, and for sequences without a known query."""
        if not sequence_spec(ctx.extractor, "pair").leading:
            what = "it does not say where the query's tokens are (SequenceSpec.leading)"
            raise ConfigError(what, where="extractor", fix="use `pooledpassage` or `passage`")
        self.layers(ctx)

    def layers(self, ctx: RerankerContext) -> tuple[int, ...]:
        """Return the numbers of the layers that are compared."""
        config = encoder_config(ctx.models.get("pretrained"), self.encoder, vocab_size(ctx.extractor, "pair"))
        chosen = self.simmat_layers or tuple(range(config.layers + 1))
        if max(chosen) > config.layers:
            what = f"layer {max(chosen)}, but the encoder has {config.layers}"
            raise ConfigError(what, where="reranker.simmat_layers", fix=f"name layers from 0 to {config.layers}")
        return chosen

    def build(self, ctx: RerankerContext) -> CEDRKNRMModel:
        """Load pretrained weights or make random ones."""
        return CEDRKNRMModel(self, ctx)


class CEDRKNRMModel(Reranker):
    """An encoder, kernels, and one linear layer or two."""

    def __init__(self, options: CEDRKNRM, ctx: RerankerContext) -> None:
        self._options, self._layers = options, options.layers(ctx)
        self._leading = sequence_spec(ctx.extractor, "pair").leading
        self.adapter = ctx.adapter(options.adapter, options.pretrained)
        self._encoder = ctx.encoder(options.encoder, "pair", adapter=self.adapter)
        width = len(self._layers) * len(MUS)
        width += 0 if options.cls == "none" else self._encoder.config.hidden_size
        layers = layer_weights("output", options.combine_hidden or width, 1, _START)
        if options.combine_hidden:
            layers += layer_weights("combine", width, options.combine_hidden)
        self._head = ctx.parameters([*kernel_weights(options.gradkernels, _EXACT), *layers])
        self.parameters = {"encoder": self._encoder.parameters, "head": self._head}
        self.encoders = {"encoder": self._encoder}

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores."""
        pair, options = batch.fields["pair"], self._options
        last = self._encoder.config.layers
        states = self._encoder.states(pair.layout, dropout, [*self._layers, last])
        features = [self._phi(each, pair, batch.doc_mask) for each in states[:-1]]
        if options.cls != "none":
            first = tf.cast(first_tokens(states[-1], pair.layout), tf.float32)
            features.insert(0, per_document(first, pair.owner, batch.doc_mask, options.cls))
        found = tf.concat(features, axis=-1)
        for path in ["combine", "output"] if options.combine_hidden else ["output"]:
            found = tf.tensordot(found, self._head.exact(f"{path}/kernel"), 1) + self._head.exact(f"{path}/bias")
        return Outputs(tf.where(batch.doc_mask, found[..., 0], 0.0))

    def save_config(self, directory: Path) -> None:
        """Write `config.json` of the encoder, which other tools open without the rest."""
        write_json(directory / "config.json", config_json(self._encoder))

    def _phi(self, states: Tensor, pair: Field, doc_mask: Tensor) -> Tensor:
        """Return the features of a layer, [B, K, kernels], from its states of all tokens [T, D]."""
        rows = by_sequence(unit(tf.cast(states, tf.float32)), pair.layout)
        parts = by_sequence(tf.cast(tf.reshape(pair.layout.parts, [-1, 1]), tf.float32), pair.layout)[..., 0]
        real = token_mask(pair.layout)
        asks, counted = (tf.cast(tf.logical_and(real, parts == part), tf.float32) for part in (QUERY, DOC))
        first = slice(None), slice(self._leading)
        return layer_features(self._head, rows[first], rows, asks[first], counted, pair.owner, doc_mask)


def layer_features(
    kernels: Parameters, query: Tensor, doc: Tensor, asks: Tensor, counted: Tensor, owner: Tensor, doc_mask: Tensor
) -> Tensor:
    """Return phi of one layer, [B, K, kernels], from vectors of length 1 of each passage's tokens: query [N, Lq, D] and
    document [N, Ld, D]. `asks` and `counted` are 1 at the tokens that count.
    """
    similarity = tf.matmul(query, doc, transpose_b=True)
    counts = trained_counts(kernels, similarity, counted[:, None])
    total = per_document(counts, owner, doc_mask)
    return pooled(total, per_document(asks, owner, doc_mask, "max"), _FLOOR)
