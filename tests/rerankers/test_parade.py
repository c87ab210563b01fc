"""Vectors of passages to one of the document: golden values, the formulas in NumPy, counts of parameters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy_models
import pytest
import tiny_models as tiny

from rankcli.backend import tf
from rankcli.encoders.config import EncoderConfig
from rankcli.encoders.parameters import Parameters
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.pooledpassage import PooledPassage
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.ops import by_document, per_document
from rankcli.rerankers.parade import PARADE, Join, head_weights

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rerankers.json").read_text())
WAYS = ("transformer", "max", "avg", "sum", "attn", "cnn")
SIZE = SimpleNamespace(hidden_size=4, initializer_range=0.02, intermediate_size=8, heads=2)


def join(name, values, **options):
    """The score of the golden passages, of which the last only pads, with these weights."""
    chosen, given = PARADE(**options), GOLDEN[name]["inputs"]
    head = Parameters(head_weights(chosen, SIZE, 4))
    assert sorted(head.variables) == sorted(values)
    head.update({path: np.reshape(value, head.exact(path).shape) for path, value in values.items()})
    passages, there = tf.constant([given["passages"]]), tf.constant([given["passage_mask"]]) > 0
    passages = tf.where(there[..., None], passages, 0.0)
    return float(Join(chosen, head, SIZE.heads)(passages, there, None)[0])


def test_golden_values_of_pooling():
    given, expected = GOLDEN["parade_pool"]["inputs"], GOLDEN["parade_pool"]["expected"]
    vectors, owner = tf.constant(given["passages"]), tf.constant([0, 0, 0, -1])
    for way in ("max", "avg", "sum"):
        joined = per_document(vectors, owner, tf.constant([[True]]), way).numpy()[0, 0]
        np.testing.assert_allclose(joined, expected[f"d_{way}"], atol=1e-5)
        assert joined @ given["w"] + given["b"] == pytest.approx(expected[f"score_{way}"], abs=1e-5)
    weights = {"aggregator/attention/kernel": given["w_attn"], "score/kernel": given["w"], "score/bias": given["b"]}
    assert join("parade_pool", weights, aggregation="attn") == pytest.approx(expected["score_attn"], abs=1e-5)


@pytest.mark.parametrize("positions", [False, True])
def test_golden_values_of_the_transformer(positions):
    given, expected = GOLDEN["parade_transformer"]["inputs"], GOLDEN["parade_transformer"]["expected"]
    weights = {"score/kernel": given["w"], "score/bias": given["b"], "aggregator/cls": given["cls"]}
    if positions:
        weights["aggregator/positions"] = given["positions"]
    for n, layer in enumerate(given["layers"]):
        parts = {
            "attention/qkv/kernel": np.hstack([layer[f"W{c}"] for c in "qkv"]),
            "attention/qkv/bias": np.hstack([layer[f"b{c}"] for c in "qkv"]),
            "attention/output/kernel": layer["Wo"],
            "attention/output/bias": layer["bo"],
            "attention/layer_norm/gamma": layer["g1"],
            "attention/layer_norm/beta": layer["c1"],
            "intermediate/kernel": layer["W1"],
            "intermediate/bias": layer["b1"],
            "output/kernel": layer["W2"],
            "output/bias": layer["b2"],
            "layer_norm/gamma": layer["g2"],
            "layer_norm/beta": layer["c2"],
        }
        weights |= {f"aggregator/layer_{n}/{part}": value for part, value in parts.items()}
    score = join("parade_transformer", weights, positions=positions)
    assert score == pytest.approx(expected["score_positions" if positions else "score_no_positions"], abs=1e-5)


def test_golden_values_of_the_convolutions():
    given, expected = GOLDEN["parade_cnn"]["inputs"], GOLDEN["parade_cnn"]["expected"]
    head = Parameters(head_weights(PARADE(aggregation="cnn"), SIZE, 4))
    net = given["ffn"]
    inner = np.zeros((4, 4), np.float32), np.zeros(4, np.float32), np.zeros(4, np.float32)
    for wide, narrow in zip(inner, (net["W1"], net["b1"], net["w2"]), strict=True):
        wide[..., :3] = narrow  # three hidden values of four: the last is 0 and has no weight
    weights = {"aggregator/inner/kernel": inner[0], "aggregator/inner/bias": inner[1]}
    weights |= {"score/kernel": inner[2], "score/bias": net["b2"]}
    for n, layer in enumerate(given["cnn"]):
        weights |= {f"aggregator/convolution_{n}/{part}": layer[part] for part in ("kernel", "bias")}
    assert head.variables.keys() == weights.keys()
    assert join("parade_cnn", weights, aggregation="cnn") == pytest.approx(expected["score"], abs=1e-5)


@pytest.mark.parametrize("jit", [False, True])
def test_sequences_of_a_document_come_in_order_and_zeros_after_them(jit):
    values = tf.constant([[1.0], [2.0], [3.0], [4.0], [5.0]])
    owner, mask = tf.constant([0, 0, 2, 2, -1]), tf.constant([[True, False, True]])
    found, there = tf.function(by_document, jit_compile=jit)(values, owner, mask, 3)
    assert found.numpy()[..., 0].tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 0]]
    assert there.numpy().sum(1).tolist() == [2, 0, 2]


def passages_of(count):
    options = PooledPassage(maxseqlen=16, maxqlen=4, passagelen=6, stride=4, numpassages=count, vocab_size=60)
    return options.build(ExtractorContext(texts=lambda: (*tiny.TEXTS, *tiny.QUERIES)))


def built(way, extractor, **options):
    chosen = PARADE(encoder=tiny.TINY, aggregation=way, **options)
    reranker = chosen.build(RerankerContext(extractor=extractor))
    tiny.shake(reranker)
    return reranker


def restated(reranker, extractor, group, way):
    """The scores of a group, from the unpadded passages of each document."""
    tensors, scores = reranker.tensors(), []
    weight, bias = tensors["score.weight"], tensors["score.bias"]

    def layer(name, x):
        return np.maximum(x @ tensors[f"aggregator.{name}.weight"].T + tensors[f"aggregator.{name}.bias"], 0)

    for k in range(len(group.docids)):
        own = [one for one in extractor.extract(group)["pair"] if one.doc == k]
        p = np.array([numpy_models.bert_states(tensors, one.ids, one.segments, 2)[0] for one in own])
        if way == "cnn":
            p, total = np.pad(p, [(0, 4 - len(p)), (0, 0)]), 0
            for n in range(2):
                p = layer(f"convolution_{n}", p.reshape(len(p) // 2, -1))
                total += (layer("inner", p) @ weight.T + bias).sum()
            scores.append(total)
            continue
        shares = numpy_models.softmax(p @ tensors["aggregator.attention.weight"][0]) if way == "attn" else None
        d = {"max": p.max(0), "avg": p.mean(0), "sum": p.sum(0), "attn": shares @ p if way == "attn" else 0}.get(way)
        scores.append(float((transformed(tensors, p) if d is None else d) @ weight[0] + bias[0]))
    return scores


def transformed(tensors, p):
    """The first result of the two layers, by the restated BERT over x_0 and the passages as its embeddings."""
    x = np.vstack([tensors["aggregator.cls"], p]) + tensors["aggregator.positions"][: len(p) + 1]
    names = {
        "attention.output.dense": "attention.output",
        "attention.output.LayerNorm": "attention.layer_norm",
        "intermediate.dense": "intermediate",
        "output.dense": "output",
        "output.LayerNorm": "layer_norm",
    }
    stored = {}
    for n in range(2):
        ours, theirs = f"aggregator.layer_{n}", f"encoder.layer.{n}"
        for part in ("weight", "bias"):
            stored |= {f"{theirs}.{name}.{part}": tensors[f"{ours}.{own}.{part}"] for name, own in names.items()}
            thirds = np.split(tensors[f"{ours}.attention.qkv.{part}"], 3)
            stored |= {f"{theirs}.attention.self.{name}.{part}": third for name, third in
                       zip(("query", "key", "value"), thirds, strict=True)}  # fmt: skip
    return numpy_models.stacked(stored, x, 2)[-1][0]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_scores_are_the_formula_document_by_document(way, static):
    extractor = passages_of(4)
    reranker = built(way, extractor)
    groups = tiny.examples(extractor)
    scores = reranker(tiny.batch(extractor, groups, size=3, docs=4, static=static)).scores.numpy()
    for row, group in zip(scores, groups, strict=False):
        expected = restated(reranker, extractor, group, way)
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5, atol=2e-5)


def test_parameters_are_those_of_the_paper():
    base = EncoderConfig.from_size(
        dataclasses.replace(tiny.TINY, layers=12, hidden=768, heads=12, intermediate=3072), 30522, "bert"
    )

    def own(**options):
        return sum(int(np.prod(w.shape)) for w in head_weights(PARADE(**options), base, 16))

    assert own() == 14_175_744 + 768 + 13_056 + 769
    assert own(aggregation="attn") == 768 + 769
    assert own(aggregation="max") == own(aggregation="sum") == 769
    assert own(aggregation="cnn") == 4_721_664 + 590_592 + 769


def test_the_first_vector_starts_as_that_of_the_first_token_and_is_trained_at_lr():
    reranker = PARADE(encoder=tiny.TINY).build(RerankerContext(extractor=(extractor := passages_of(4))))
    tensors = reranker.tensors()
    cls = extractor.tokenizer.id_of("[CLS]")
    np.testing.assert_array_equal(tensors["aggregator.cls"], tensors["embeddings.word_embeddings.weight"][cls])
    own = {path for path, v in reranker.variables.items() if not path.startswith("encoder/") and v.trainable}
    assert {"aggregator/cls", "aggregator/positions"} <= own and len(own) == 2 + 2 + 2 * 12


def test_passages_that_convolutions_cannot_halve_are_one_error():
    for count in (1, 3):
        with pytest.raises(ConfigError, match=f"cnn cannot halve {count} passages\n  -> choose 2, 4, 8"):
            PARADE(aggregation="cnn").check(RerankerContext(extractor=passages_of(count)))


def test_a_long_document_costs_as_many_passages_as_it_has():
    """A document of 10,000 words: tokens, and places of pairs in attention, are so many per passage and no more."""
    costs = []
    for count in (10, 20, 40):
        extractor = passages_of(count)
        laid_out = tiny.batch(extractor, [tiny.example(extractor, "cat mat", (" ".join(tiny.TEXTS * 300),))])
        layout = laid_out.fields["pair"].layout
        pairs = sum(int(rows) * int(places) ** 2 for rows, places in layout.chunks.shapes)
        costs.append((int((layout.sequence >= 0).numpy().sum()), pairs))
        assert int((laid_out.fields["pair"].owner >= 0).numpy().sum()) == count and pairs == count * 16**2
    first, *others = costs
    assert others == [(2 * first[0], 2 * first[1]), (4 * first[0], 4 * first[1])]
