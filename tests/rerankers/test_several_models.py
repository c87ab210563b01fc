"""A reranker with two encoders and a head: one dictionary of variables, saved and opened as one model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import RERANKERS, option, path_options
from rankcli.encoders.build import Pretrained
from rankcli.encoders.config import TINY, EncoderSize
from rankcli.encoders.family import family_of
from rankcli.encoders.weights import dense
from rankcli.errors import StorageError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.passage import Passage
from rankcli.rerankers.base import Reranker, RerankerContext, RerankerOptions
from rankcli.rerankers.ops import per_document
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.shapes import Outputs

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"


@dataclass(frozen=True, kw_only=True)
class Second:
    """A section with a model of its own."""

    model: str | None = option(None, "hub id or directory", path="model")
    size: EncoderSize = TINY


@dataclass(frozen=True, kw_only=True)
class Two(RerankerOptions):
    """The sum of what two encoders and a head say."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "passage"
    tiny: ClassVar[Mapping[str, Any]] = {}
    pretrained: str | None = option(None, "hub id or directory", path="model")
    second: Second = field(default_factory=Second)

    def build(self, ctx: RerankerContext) -> Reranker:
        return TwoModel(self, ctx)


class TwoModel(Reranker):
    def __init__(self, options: Two, ctx: RerankerContext) -> None:
        self.encoders = {
            "encoder/one": ctx.encoder(TINY, "pair", root="encoder/one", prefix="one"),
            "encoder/two": ctx.encoder(options.second.size, "pair", "second.model", root="encoder/two", prefix="two"),
        }
        width = sum(encoder.config.hidden_size for encoder in self.encoders.values())
        head = ctx.parameters(dense("head", ("head",), width, 1))
        self.parameters = {**{name: one.parameters for name, one in self.encoders.items()}, "head": head}

    def __call__(self, batch, dropout=None):
        pair = batch.fields["pair"]
        vectors = tf.concat([one.pooled(pair.layout, "cls", dropout) for one in self.encoders.values()], 1)
        values = tf.matmul(vectors, self.parameters["head"]["head/kernel"]) + self.parameters["head"]["head/bias"]
        return Outputs(per_document(values[:, 0], pair.owner, batch.doc_mask))

    def save_config(self, directory: Path) -> None:
        for encoder, folder in zip(self.encoders.values(), (directory, directory / "second.model"), strict=True):
            folder.mkdir(exist_ok=True)
            written = family_of(encoder.config.kind).write(encoder.config)
            (folder / "config.json").write_text(json.dumps(written))


@pytest.fixture
def model(monkeypatch) -> tiny.Tiny:
    """One encoder of BERT, one of ELECTRA, and the extractor that both read."""
    RERANKERS.builtins()
    monkeypatch.setitem(RERANKERS._options, "two", Two)
    options = Passage(maxseqlen=24, maxqlen=4, vocab_size=60)
    extractor = options.build(ExtractorContext(texts=lambda: tiny.TEXTS))
    models = {name: Pretrained(GOLDEN / kind) for name, kind in (("pretrained", "bert"), ("second.model", "electra"))}
    reranker = Two().build(RerankerContext(extractor=extractor, models=models))
    return tiny.Tiny(reranker, extractor, (Two(), options))


def test_parts_are_apart_in_paths_and_stored_names(model):
    reranker = model.reranker
    roots = {"/".join(path.split("/")[:2]) for path in reranker.variables}
    assert roots == {"encoder/one", "encoder/two", "head/kernel", "head/bias"}
    assert {name.partition(".")[0] for name in reranker.tensors()} == {"one", "two", "head"}
    theirs = Pretrained(GOLDEN / "electra").tensors
    np.testing.assert_array_equal(
        reranker.tensors()["two.embeddings_project.weight"], theirs["embeddings_project.weight"]
    )
    with pytest.raises(StorageError, match="do not fit the reranker: head.bias is missing"):
        reranker.assign({name: value for name, value in reranker.tensors().items() if name != "head.bias"})


def test_it_is_saved_as_one_model_and_opened_with_the_same_scores(model, tmp_path):
    tiny.shake(model.reranker)
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / "model")
    reranker, extractor, _ = load_reranker(tmp_path / "model")
    assert [encoder.config.kind for encoder in reranker.encoders.values()] == ["bert", "electra"]
    batch = tiny.batch(extractor, tiny.examples(extractor))
    np.testing.assert_array_equal(reranker(batch).scores, model.reranker(batch).scores)
    reranker.freeze()
    np.testing.assert_allclose(reranker(batch).scores, model.reranker(batch).scores, atol=1e-5)


def test_models_are_named_by_the_dotted_names_of_their_options():
    options = Two(pretrained="org/one", second=Second(model="org/two"))
    assert path_options(options, "model") == {"pretrained": "org/one", "second.model": "org/two"}
    assert path_options(options, "file") == {}


class Doubled:
    """An adapter that makes every weight count twice."""

    def wrap(self, parameters):
        class Twice(type(parameters)):
            def exact(self, path):
                return 2 * super().exact(path)

        parameters.__class__ = Twice
        return parameters


def test_adapters_of_the_context_wrap_every_part(model):
    plain = Two().build(RerankerContext(extractor=model.extractor, seed=5))
    doubled = Two().build(RerankerContext(extractor=model.extractor, seed=5, adapters=[Doubled()]))
    for name, value in doubled.tensors().items():
        np.testing.assert_array_equal(value, 2 * plain.tensors()[name])
