"""A bi-encoder: query and documents as vectors of one encoder, compared by cosine or dot product."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, RERANKERS, option
from rankcli.config.types import PositiveFloat, PositiveInt
from rankcli.encoders.config import TINY, EncoderSize
from rankcli.encoders.dropout import Dropout
from rankcli.encoders.family import family_of
from rankcli.extractors.base import sequence_spec
from rankcli.rerankers.base import Base, Opened, Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.foreign import POOLINGS, ForeignDirectory, write_json, write_modules
from rankcli.rerankers.ops import Tensor, per_document, query_of
from rankcli.shapes import Batch, Layout, Outputs

_MODULES = ("Transformer", "Pooling", "Normalize")


@RERANKERS.register("biencoder")
@dataclass(frozen=True, kw_only=True)
class BiEncoder(RerankerOptions):
    """Similarity, times `scale`, of query and document vectors of one encoder (Reimers and Gurevych, 2019).

    A vector is the mean of the token states or the state of the first token. A saved model can be opened as a
    `SentenceTransformer`.
    """

    version: ClassVar[int] = 3
    fields: ClassVar[tuple[str, ...]] = ("query", "doc")
    default_extractor: ClassVar[str] = "apart"
    vectors: ClassVar[tuple[str, ...]] = ("query", "doc")
    tiny: ClassVar[Mapping[str, Any]] = {"encoder": TINY}
    pretrained: str | None = option(None, "hub id or directory of an encoder; default: random weights", path="model")
    encoder: EncoderSize = option(EncoderSize(), "the size of the encoder where nothing is pretrained")
    pooling: Literal["mean", "cls"] = option("mean", "how token states become one vector")
    frozen: bool | PositiveInt = option(
        False, "true: the encoder is never trained; a number: its embeddings and that many of its lowest layers"
    )
    similarity: Literal["cosine", "dot"] = option("cosine", "how two vectors are compared")
    scale: PositiveFloat | None = option(None, "factor of the similarity; default: 20 for cosine, 1 for dot")

    @classmethod
    def opens(cls, directory: Path) -> Opened | None:
        """Open a model of sentence-transformers with a transformer, pooling and, optionally, normalisation.

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
        if not {"Transformer", "Pooling"} <= model.modules.keys() <= {*_MODULES}:
            named = ", ".join(model.modules)
            raise model.unknown(f"a sentence-transformers model of {named}; supported: Transformer, Pooling, Normalize")
        similarity: Any = model.json("config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
        if similarity not in ("cosine", "dot"):
            raise model.unknown(f"similarity {similarity!r}; supported: cosine, dot")
        if "Normalize" in model.modules:
            similarity = "cosine"
        options = cls(pooling=model.pooling, similarity=similarity)
        return Opened(options, EXTRACTORS.get("apart")(maxqlen=model.longest, maxdoclen=model.longest))

    def build(self, ctx: RerankerContext) -> BiEncoderModel:
        """Load pretrained weights or make random ones."""
        return BiEncoderModel(self, ctx)


class BiEncoderModel(Reranker):
    """One encoder for queries and documents."""

    def __init__(self, options: BiEncoder, ctx: RerankerContext) -> None:
        self._options = options
        self._lengths = {name: sequence_spec(ctx.extractor, name).max_length for name in ("query", "doc")}
        longest = max(self._lengths, key=self._lengths.__getitem__)
        # its tensors are stored without prefix, as those of a model without a head
        self._encoder = ctx.encoder(options.encoder, longest, frozen=options.frozen)
        self.parameters = {"encoder": self._encoder.parameters}
        self.encoders = {"encoder": self._encoder}
        about = f"{json.dumps(self._config(), sort_keys=True)} {options.pooling} {ctx.dtype}"
        base = Base(self._encode, self._finish, (self._encoder.parameters,), about)
        self.towers = self.bases = {"query": base, "doc": base}
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
        """Write `config.json` and the files that sentence-transformers reads: modules, pooling, similarity, length."""
        config = self._encoder.config
        cosine = self._options.similarity == "cosine"
        pooling = {key: name == self._options.pooling for name, key in POOLINGS.items()}
        write_json(directory / "config.json", self._config())
        write_modules(directory, _MODULES if cosine else _MODULES[:2])
        write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": config.hidden_size, **pooling})
        write_json(
            directory / "sentence_bert_config.json", {"max_seq_length": self._lengths["doc"], "do_lower_case": False}
        )
        similarity: dict[str, Any] = {
            "similarity_fn_name": self._options.similarity,
            "prompts": {},
            "default_prompt_name": None,
        }
        write_json(directory / "config_sentence_transformers.json", similarity)
        if cosine:
            (directory / "2_Normalize").mkdir(exist_ok=True)

    def _vectors(self, batch: Batch, field: str, made: Mapping[str, Tensor], dropout: Dropout | None) -> Tensor:
        base, side = self.bases[field], ("query", "doc").index(field)
        keys = [None, None] if dropout is None else [dropout.fold(side), dropout.fold(2 + side)]
        vectors = made[field] if field in made else base.encode(batch.fields[field].layout, keys[0])
        return base.finish(vectors, keys[1])

    def _encode(self, layout: Layout, dropout: Dropout | None) -> Tensor:
        return self._encoder.pooled(layout, self._options.pooling, None if self._options.frozen is True else dropout)

    def _finish(self, vectors: Tensor, dropout: Dropout | None) -> Tensor:
        if self._options.similarity == "dot":
            return vectors
        return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-24)

    def _config(self) -> dict[str, Any]:
        family = family_of(self._encoder.config.kind)
        return {"architectures": [family.architecture], **family.write(self._encoder.config)}
