"""Bi-encoders with several encoders and with heads: vectors in NumPy, files, and parts that do not fit together."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.config.registry import EXTRACTORS, HEADS, RERANKERS, path_options
from rankcli.config.render import section
from rankcli.config.validate import component_from
from rankcli.encoders.build import Pretrained
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError, MissingError
from rankcli.extractors.base import ExtractorContext
from rankcli.rerankers._towers import Pooled
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.foreign import write_modules
from rankcli.rerankers.modular import save_dense
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of

WIDE = {"layers": 1, "hidden": 12, "heads": 2, "intermediate": 12}


def head(name: str, **options: Any) -> Any:
    return HEADS.get(name)(**options)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The directory of an encoder of width 12, with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("other")
    options = EXTRACTORS.get("apart")(maxqlen=8, maxdoclen=24, vocab_size=45)
    extractor = options.build(ExtractorContext(texts=lambda: tiny.QUERIES))
    encoder = dataclasses.replace(tiny.TINY, layers=2, hidden=12)
    reranker = RERANKERS.get("biencoder")(encoder=encoder)
    model = reranker.build(RerankerContext(extractor=extractor, seed=7))
    tiny.shake(model, 8)
    save_reranker(model, extractor, sections_of(reranker, options), folder / "model")
    return folder / "model"


def made(options: dict[str, Any], models: dict[str, Any]) -> tiny.Tiny:
    """A shaken model of these options, built as a training builds it."""
    reranker = component_from(RERANKERS, {"name": "biencoder", "encoder": section_of(tiny.TINY), **options})
    extractor_options = EXTRACTORS.get("apart")(**tiny.EXTRACTORS_OF["apart"])
    texts = lambda: (*tiny.TEXTS, *tiny.QUERIES)  # noqa: E731
    extractor = extractor_options.build(ExtractorContext(None, models.get("query.pretrained"), texts))
    ctx = RerankerContext(extractor=extractor, models={name: Pretrained(at) for name, at in models.items()})
    reranker.check(ctx)
    model = reranker.build(ctx)
    tiny.shake(model)
    return tiny.Tiny(model, extractor, (reranker, extractor_options))


def section_of(size):
    return dataclasses.asdict(size)


@pytest.fixture
def two(other):
    """An encoder of width 8 for documents, another of width 12 with its own tokens for queries; both 6 in the end."""
    options = {
        "query": {"pretrained": str(other), "pooling": "cls"},
        "head": {"name": "mlp", "sizes": [10, 6], "activation": "tanh"},
        "queryhead": {"name": "linear", "size": 6},
    }
    return made(options, {"query.pretrained": other})


def batch_of(model):
    return tiny.batch(model.extractor, tiny.examples(model.extractor))


def test_each_side_has_its_own_encoder_tokens_and_head(two):
    reranker, extractor = two.reranker, two.extractor
    assert extractor.streams["query"].vocab_size != extractor.streams["doc"].vocab_size
    roots = {path.rpartition("/layer_0")[0] for path in reranker.variables if "/layer_0/" in path}
    assert roots == {"encoder", "encoder/query"}
    tensors = reranker.tensors()
    assert {name.partition(".")[0] for name in tensors} == {"embeddings", "encoder", "query", "head", "queryhead"}
    own = {name.removeprefix("query."): value for name, value in tensors.items() if name.startswith("query.")}

    docs = {name: value for name, value in tensors.items() if name.startswith(("embeddings.", "encoder."))}

    def states(weights, sequence):
        return numpy_models.bert_states(weights, sequence.ids, sequence.segments, 2)

    def normalised(vector):
        return vector / np.linalg.norm(vector)

    groups = tiny.examples(extractor)
    scores = reranker(batch_of(two)).scores.numpy()
    for b, group in enumerate(groups):
        fields = extractor.extract(group)
        first = states(own, fields["query"][0])[0]
        query = normalised(tensors["queryhead.0.weight"] @ first + tensors["queryhead.0.bias"])
        for k, sequence in enumerate(fields["doc"]):
            mean = states(docs, sequence).mean(0)
            inner = np.tanh(tensors["head.0.weight"] @ mean + tensors["head.0.bias"])
            doc = normalised(tensors["head.1.weight"] @ inner + tensors["head.1.bias"])
            np.testing.assert_allclose(scores[b, k], 20 * query @ doc, rtol=1e-5, atol=1e-5)


def test_the_weights_of_the_model_that_the_option_names_are_loaded(other, two):
    fresh = RERANKERS.get("biencoder").build(
        two.options[0], RerankerContext(extractor=two.extractor, models={"query.pretrained": Pretrained(other)})
    )
    theirs = Pretrained(other).tensors
    np.testing.assert_array_equal(
        fresh.tensors()["query.embeddings.word_embeddings.weight"], theirs["embeddings.word_embeddings.weight"]
    )


def test_a_model_of_two_encoders_is_saved_and_opened_with_the_same_scores(two, tmp_path):
    save_reranker(two.reranker, two.extractor, sections_of(*two.options), tmp_path / "model")
    folder = tmp_path / "model" / "query.pretrained"
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {file.name for file in folder.iterdir()}
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    assert sections == sections_of(*two.options)
    assert extractor.fingerprint == two.extractor.fingerprint
    np.testing.assert_array_equal(reranker(batch_of(two)).scores, two.reranker(batch_of(two)).scores)
    assert {path: v.shape for path, v in reranker.variables.items()} == {
        path: v.shape for path, v in two.reranker.variables.items()
    }


def test_encoders_of_one_tokenizer_share_it_when_they_are_opened_again(tmp_path):
    model = made({"query": {"encoder": section_of(tiny.DEEPER)}}, {})
    assert model.extractor.tokenizer_of("query") is model.extractor.tokenizer_of("doc")
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / "model")
    reranker, extractor, _ = load_reranker(tmp_path / "model")
    assert extractor.fingerprint == model.extractor.fingerprint
    assert extractor.tokenizer_of("query") is extractor.tokenizer_of("doc")
    np.testing.assert_array_equal(reranker(batch_of(model)).scores, model.reranker(batch_of(model)).scores)


@pytest.fixture
def concatenated():
    return made({"also": {"second": {"encoder": WIDE, "pooling": "cls", "frozen": True}}, "similarity": "dot"}, {})


def test_vectors_of_further_encoders_follow_and_heads_read_all(concatenated, tmp_path):
    reranker = concatenated.reranker
    layout = batch_of(concatenated).fields["doc"].layout
    parts = list(reranker.encoders.values())
    expected = np.concatenate([parts[0].pooled(layout, "mean"), parts[1].pooled(layout, "cls")], axis=1)
    assert list(reranker.encoders) == ["encoder", "encoder/also/second"] and expected.shape[1] == 20
    np.testing.assert_array_equal(reranker.towers["doc"](layout), expected)
    save_reranker(reranker, concatenated.extractor, sections_of(*concatenated.options), tmp_path / "model")
    again, _, _ = load_reranker(tmp_path / "model")
    np.testing.assert_array_equal(again.towers["query"](layout), expected)
    (module,) = json.loads((tmp_path / "model" / "modules.json").read_text())
    assert module["type"] == "rankcli.SeveralEncoders"  # sentence-transformers must not open the first one alone


def test_one_frozen_encoder_of_two_is_not_a_frozen_base_and_only_the_other_is_trained(concatenated):
    reranker = concatenated.reranker
    assert not reranker.bases["doc"].frozen
    trained = {path for path, variable in reranker.variables.items() if variable.trainable}
    assert {path.startswith("encoder/also/") for path in trained} == {False}
    layout, key = batch_of(concatenated).fields["doc"].layout, Dropout.of(1, 1)
    one, plain = (reranker.bases["doc"].encode(layout, dropout).numpy() for dropout in (key, None))
    np.testing.assert_array_equal(one[:, 8:], plain[:, 8:])
    assert not np.allclose(one[:, :8], plain[:, :8])


def test_each_encoder_has_dropout_of_its_own():
    model = made({"also": {"second": {"encoder": section_of(tiny.TINY)}}, "similarity": "dot"}, {})
    first, second = (encoder.parameters.variables.values() for encoder in model.reranker.encoders.values())
    for one, other in zip(first, second, strict=True):
        other.assign(one)
    layout = batch_of(model).fields["doc"].layout
    both = model.reranker.bases["doc"].encode(layout, Dropout.of(1, 1)).numpy()
    assert not np.allclose(both[:, :8], both[:, 8:])


def test_models_are_named_by_the_sections_they_are_in(other):
    options = made({"also": {"a": {"encoder": WIDE}, "b": {"encoder": WIDE}}}, {}).options[0]
    assert list(path_options(options, "model")) == ["pretrained", "also.a.pretrained", "also.b.pretrained"]
    assert component_from(RERANKERS, section(RERANKERS, options)) == options


@pytest.mark.parametrize(
    ("options", "where", "said"),
    [
        ({"query": {"encoder": WIDE}}, "reranker", "of queries have 12 numbers, those of documents 8"),
        (
            {"query": {"encoder": WIDE}, "head": "skip"},
            "reranker.head",
            "it reads the 8 numbers of a document's vector, but a query's has 12",
        ),
        ({"query": {"encoder": WIDE, "frozen": 4}}, "reranker.query.frozen", "4 frozen layers, but the encoder has 1"),
        ({"frozen": True}, "reranker.frozen", "every encoder is frozen, and nothing else is trained"),
        ({"query": {}, "also": {"a": {}}}, "", "leave `query` out, or `also`"),
    ],
)
def test_parts_that_do_not_fit_together_are_one_error(options, where, said):
    with pytest.raises(ConfigError, match=said) as error:
        made(options, {})
    assert not where or error.value.where == where


def test_a_further_encoder_reads_the_tokens_of_the_first_and_must_have_its_tokenizer(other):
    with pytest.raises(ConfigError, match="its tokenizer is not that of reranker.pretrained") as error:
        made({"also": {"second": {"pretrained": str(other)}}}, {"also.second.pretrained": other})
    assert error.value.where == "reranker.also.second.pretrained"


def test_a_head_on_a_frozen_encoder_is_all_that_is_trained_and_its_base_is_frozen():
    model = made({"frozen": True, "head": {"name": "gated"}}, {})
    assert [path for path, v in model.reranker.variables.items() if v.trainable] == ["head/gate"]
    assert model.reranker.bases["doc"].frozen and model.reranker.bases["query"] is model.reranker.bases["doc"]
    laid_out = batch_of(model)
    bases = {f: base.encode(laid_out.fields[f].layout, None) for f, base in model.reranker.bases.items()}
    key = Dropout.of(1, 1)
    np.testing.assert_array_equal(
        model.reranker.from_bases(laid_out, bases, key).scores, model.reranker(laid_out, key).scores
    )


@pytest.fixture
def foreign(tmp_path):
    """A directory as sentence-transformers writes it: an encoder, two dense layers, one without offsets."""
    model = tiny.built("biencoder")
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    draw = np.random.default_rng(4)
    layers = [draw.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (6,), (5, 6))]
    save_dense(tmp_path / "model" / "2_Dense", layers[0], layers[1], "tanh")
    save_dense(tmp_path / "model" / "3_Dense", layers[2], None, "none")
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense"), ("3_Dense", "Dense")]
    write_modules(tmp_path / "model", [*kinds, ("4_Normalize", "Normalize")])
    return model, tmp_path / "model", layers


def test_dense_layers_of_another_tool_are_a_head_with_its_weights(foreign):
    model, folder, (first, bias, last) = foreign
    reranker, _, sections = load_reranker(folder)
    assert sections["reranker"]["head"]["sizes"] == [6, 5] and sections["reranker"]["head"]["activation"] == "tanh"
    layout = batch_of(model).fields["doc"].layout
    pooled = model.reranker.bases["doc"].encode(layout, None).numpy()
    vectors = np.tanh(pooled @ first.T + bias) @ last.T
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(reranker.towers["doc"](layout), expected, rtol=1e-5, atol=1e-5)


def test_modules_in_another_order_and_other_activations_are_one_error(foreign):
    _, folder, (first, bias, last) = foreign
    kinds = ["Transformer", "Pooling", "Dense", "Normalize", "Dense"]
    write_modules(folder, [("" if n == 0 else f"{n}_{kind}", kind) for n, kind in enumerate(kinds)])
    with pytest.raises(MissingError, match="Transformer, Pooling, Dense, Normalize, Dense; supported"):
        load_reranker(folder)
    for n, activation in ((2, "tanh"), (3, "relu"), (4, "none")):
        save_dense(folder / f"{n}_Dense", np.eye(8, dtype=np.float32), None, activation)
    kinds = ["Transformer", "Pooling", "Dense", "Dense", "Dense"]
    write_modules(folder, [("" if n == 0 else f"{n}_{kind}", kind) for n, kind in enumerate(kinds)])
    with pytest.raises(MissingError, match="several activations between them: relu, tanh"):
        load_reranker(folder)


def test_heads_have_dropout_of_their_own_on_each_side():
    model = made({"frozen": True, "head": {"name": "linear", "dropout": 0.5}, "similarity": "dot"}, {})
    laid_out, key = batch_of(model), Dropout.of(1, 1)
    vectors = model.reranker(laid_out, key).vectors
    for side, number in (("query", 2), ("doc", 3)):
        base = model.reranker.bases[side].encode(laid_out.fields[side].layout, None)
        dropped = key.fold(number).fold(0).apply(base, 0.5)
        np.testing.assert_allclose(vectors[side], head_of(model, dropped), rtol=1e-5, atol=1e-5)
        assert np.any(dropped.numpy() == 0)


def head_of(model, vectors):
    tensors = model.reranker.tensors()
    return vectors.numpy() @ tensors["head.0.weight"].T + tensors["head.0.bias"]


def test_a_frozen_encoder_is_computed_without_dropout_whatever_its_family_does_with_it():
    given = []
    encoder = SimpleNamespace(pooled=lambda layout, pooling, dropout: given.append((pooling, dropout)))
    for frozen in (True, False):
        Pooled(encoder, "mean", frozen)("layout", "dropout")
    assert given == [("mean", None), ("mean", "dropout")]


def test_it_overfits_a_few_queries():
    """Two groups, whose second documents are relevant, with an encoder each and a head on the frozen one."""
    query = {"encoder": {**section_of(tiny.TINY), "dropout": 0.0}}
    model = made({"frozen": True, "head": {"name": "linear"}, "query": query}, {})
    laid_out = batch_of(model)
    variables = [variable for variable in model.reranker.variables.values() if variable.trainable]
    relevant = tf.constant([1, 1])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            scores = tf.where(laid_out.doc_mask, model.reranker(laid_out, Dropout.of(1, 1)).scores, -1e9)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(relevant, scores))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.05 * tf.convert_to_tensor(gradient))
        return loss

    losses = [float(step()) for _ in range(150)]
    assert losses[0] > 0.5 > 0.05 > losses[-1]
