"""A bi-encoder: query and documents as vectors of encoders, compared by cosine or dot product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import ADAPTERS, EXTRACTORS, HEADS, RERANKERS, component, option
from rankcli.config.types import PositiveFloat
from rankcli.encoders.config import TINY
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.parameters import Parameters
from rankcli.errors import ConfigError
from rankcli.extractors.base import reads_titles, sequence_spec
from rankcli.rerankers._sentence import Chain, dense_head, dense_tensors, save_modules
from rankcli.rerankers._towers import (
    SIDES,
    OneEncoder,
    Pooled,
    Titles,
    Tower,
    check_tokenizers,
    config_json,
    plan_of,
    titles_weights,
    width,
)
from rankcli.rerankers.base import Opened, Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import ForeignDirectory, write_json
from rankcli.rerankers.ops import Tensor, per_document, query_of
from rankcli.shapes import Batch, Outputs
from rankcli.text.weights import write_tensors

TITLES = "titlehead"
_SUPPORTED = "supported: Transformer, Pooling, Dense layers, Normalize, in this order"


@RERANKERS.register("biencoder")
@dataclass(frozen=True, kw_only=True)
class BiEncoder(RerankerOptions, OneEncoder):
    """Similarity, times `scale`, of query and document vectors (Reimers and Gurevych, 2019).

    A vector is the mean of an encoder's token states or the state of the first token, perhaps behind a head. One
    encoder is for queries and documents unless `query` has another. A saved model can be opened as a
    `SentenceTransformer`, but not one with further encoders (`also`) or titles (`extractor.titles`).
    """

    version: ClassVar[int] = 3
    fields: ClassVar[tuple[str, ...]] = SIDES
    default_extractor: ClassVar[str] = "apart"
    vectors: ClassVar[tuple[str, ...]] = SIDES
    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY}
    query: OneEncoder | None = option(
        None, "another encoder for queries: {pretrained, encoder, pooling, frozen}; default: that of documents"
    )
    also: dict[str, OneEncoder] | None = option(
        None,
        "further encoders by name, whose vectors follow: {NAME: {pretrained, encoder, pooling, frozen}}",
    )
    head: Any = component(HEADS, None, "what is computed from the vectors of the encoders: a head")
    queryhead: Any = component(HEADS, None, "another head for queries; default: `head`, with the same weights")
    titlehead: Any = component(
        HEADS, None, "a head for titles, whose vector is added to that of the text with a trained weight; default: none"
    )
    similarity: Literal["cosine", "dot"] = option("cosine", "how two vectors are compared")
    scale: PositiveFloat | None = option(None, "factor of the similarity; default: 20 for cosine, 1 for dot")
    adapter: Any = component(ADAPTERS, None, "trained in place of the encoder's weights: `lora`; default: no adapter")

    def __post_init__(self) -> None:
        others = [*([self.query] if self.query else []), *(self.also or {}).values()]
        if self.adapter and any(each.frozen for each in (self, *others)):
            raise ValueError("with `adapter`, no weight of an encoder is trained: leave `frozen` out")
        if self.adapter and self.adapter.keeps_base and others:
            raise ValueError("files of `peft` are of one encoder: leave `adapter.keep` out")
        if self.query and self.also:
            raise ValueError("`also` has further encoders of queries and documents alike: leave `query` out, or `also`")

    @classmethod
    def opens(cls, directory: Path) -> Opened | None:
        """Open a model of sentence-transformers with a transformer, pooling and, optionally, dense layers and
        normalisation.

        None for a cross-encoder, and for a directory that lists no module besides a transformer. MissingError for other
        modules, poolings and similarities, which a bi-encoder does not compute here.
        """
        model = ForeignDirectory(directory)
        if model.modules.keys() <= {"Transformer"} or model.is_crossencoder:
            return None
        if folder := model.modules.get("Transformer"):
            fix = (
                f"save it again with a current sentence-transformers, or copy the files of {folder} into the directory"
            )
            raise model.unknown(f"its transformer lies in {folder}", f"{fix} and make that path empty in modules.json")
        kinds = [kind for kind, _ in model.chain]
        inner = kinds[2:-1] if kinds[-1] == "Normalize" else kinds[2:]
        if kinds[:2] != ["Transformer", "Pooling"] or {*inner} - {"Dense"}:
            raise model.unknown(f"a sentence-transformers model of {', '.join(kinds)}; {_SUPPORTED}")
        similarity: Any = model.json("config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
        if similarity not in ("cosine", "dot"):
            raise model.unknown(f"similarity {similarity!r}; supported: cosine, dot")
        if "Normalize" in model.modules:
            similarity = "cosine"
        options = cls(pooling=model.pooling, similarity=similarity, head=dense_head(model))
        return Opened(options, EXTRACTORS.get("apart")(maxqlen=model.longest, maxdoclen=model.longest))

    def check(self, ctx: RerankerContext) -> None:
        """Raise ConfigError where the parts do not fit together, or where nothing would be trained."""
        check_tokenizers(self.also or (), ctx)
        plan = plan_of(self, ctx)
        trained = [plan.titles, *plan.heads.values()]
        if all(part.options.frozen is True for part in plan.distinct) and not any(trained):
            fix = "give it a head (reranker.head), or train a part of an encoder"
            raise ConfigError("every encoder is frozen, and nothing else is trained", where="reranker.frozen", fix=fix)

    def build(self, ctx: RerankerContext) -> BiEncoderModel:
        """Load pretrained weights or make random ones."""
        return BiEncoderModel(self, ctx)


class BiEncoderModel(Reranker):
    """A tower for queries and one for documents, which may be the same."""

    def __init__(self, options: BiEncoder, ctx: RerankerContext) -> None:
        self._options, self._extractor = options, ctx.extractor
        self._plan = plan = plan_of(options, ctx)
        self.adapter = ctx.adapter(options.adapter, options.pretrained)
        self.encoders = {part.root: part.built(ctx, self.adapter) for part in plan.distinct}
        self.models = {part.root: part.model for part in plan.distinct if part.section}
        self.parameters: dict[str, Parameters] = {name: encoder.parameters for name, encoder in self.encoders.items()}
        weights = {self._head_name(side): head.weights for side in SIDES if (head := plan.heads[side])}
        weights |= {TITLES: titles_weights(plan.titles)} if plan.titles else {}
        for name, each in weights.items():
            self.parameters[name] = ctx.parameters([weight.prefixed(name) for weight in each], root=name)
        if ctx.complete and "head" in self.parameters:  # not a saved model: that of another tool
            self.parameters["head"].assign(dense_tensors(ctx.models["pretrained"]))
        query, doc = (self._tower(side) for side in SIDES)
        base = doc.base
        self.towers = self.bases = {"query": base if query == doc else query.base, "doc": base}  # one graph for both
        self._scale = options.scale or {"cosine": 20.0, "dot": 1.0}[options.similarity]

    def __call__(self, batch: Batch, dropout: Dropout | None = None) -> Outputs:
        """Compute the scores, and the vectors of queries (`query`) and documents (`doc`), of length 1 for cosine."""
        return self.from_bases(batch, {}, dropout)

    def from_bases(self, batch: Batch, made: Mapping[str, Tensor], dropout: Dropout | None = None) -> Outputs:
        """Compute the same, for the fields in `made` from their base vectors."""
        query, doc = batch.fields["query"], batch.fields["doc"]
        queries, docs = (self._vectors(batch, field, made, dropout) for field in ("query", "doc"))
        own = tf.gather(queries, query_of(query.owner, doc.owner, batch.doc_mask))
        scores = per_document(self.compare(own, docs), doc.owner, batch.doc_mask)
        return Outputs(scores, {"query": queries, "doc": docs}, {"query": query.owner, "doc": doc.owner})

    def compare(self, queries: Tensor, docs: Tensor) -> Tensor:
        """Return the similarities, times `scale`, of vectors of queries and of documents."""
        return self._scale * tf.reduce_sum(queries * docs, axis=-1)

    def save_config(self, directory: Path) -> None:
        """Write `config.json` of each encoder, and the files that sentence-transformers reads."""
        for part in self._plan.distinct:
            folder = directory / part.model if part.section else directory
            write_json(folder / "config.json", config_json(self.encoders[part.root]))
        if self._options.query:
            stored = self.parameters["encoder/query"].tensors()
            own = {name.removeprefix("query."): value for name, value in stored.items()}
            write_tensors(directory / "query.pretrained", own)
        unknown = self._options.also or reads_titles(self._extractor)  # to sentence-transformers
        save_modules({} if unknown else self._chains(), self._options.similarity, directory)

    def _chains(self) -> dict[str, Chain]:
        """Return the modules of the sides; of documents alone where both are the same."""
        alike = self.bases["query"] is self.bases["doc"]
        return {side: self._chain(side) for side in (["doc"] if alike else SIDES)}

    def _chain(self, side: str) -> Chain:
        (part,), head = self._plan.parts[side], self._plan.heads[side]
        longest = sequence_spec(self._extractor, part.section or "doc").max_length
        layers = head.layers(self._head_tensors(side)) if head else []
        return Chain(part.model if part.section else "", longest, part.options.pooling, width([part]), layers)

    def _head_name(self, side: str) -> str:
        return "queryhead" if side == "query" and self._options.queryhead else "head"

    def _head_tensors(self, side: str) -> dict[str, Any]:
        name = self._head_name(side)
        return {key.removeprefix(f"{name}."): value for key, value in self.parameters[name].tensors().items()}

    def _vectors(self, batch: Batch, field: str, made: Mapping[str, Tensor], dropout: Dropout | None) -> Tensor:
        base, side = self.bases[field], ("query", "doc").index(field)
        keys = [None, None] if dropout is None else [dropout.fold(side), dropout.fold(2 + side)]
        vectors = made[field] if field in made else base.encode(batch.fields[field].layout, keys[0])
        return base.finish(vectors, keys[1])

    def _tower(self, side: str) -> Tower:
        parts = self._plan.parts[side]
        pooled = (Pooled(self.encoders[p.root], p.options.pooling, p.options.frozen is True) for p in parts)
        head, cosine = self._plan.heads[side], self._options.similarity == "cosine"
        parameters = self.parameters[self._head_name(side)] if head else None
        titles = Titles(self._plan.titles, self.parameters[TITLES]) if side == "doc" and self._plan.titles else None
        return Tower(tuple(pooled), head, parameters, cosine, titles)
