"""The additive model: golden values, the formula in NumPy, curves of one feature, and contexts."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.features import Features
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.gam import GAM, GAMModel
from rankcli.shapes import Example

# from the project's reference of formulas
TOWERS = [
    ([0.607, 1.239, -0.39], [0.64, -0.453, 0.686], [0.092, 1.322, -0.465], -1.704),
    ([-0.032, -0.84, -0.665], [0.804, -0.838, -0.55], [0.261, 0.38, -2.014], 1.031),
    ([-0.246, 1.055, 1.015], [0.221, 0.329, 1.847], [-1.607, -0.281, -0.363], 0.123),
]
CONTEXTS = [
    (
        [-0.094, 0.769, -0.55],
        [2.265, 0.601, -0.642],
        [[1.122, 0.279, -1.473], [0.244, -0.512, -0.177], [0.186, -0.562, -0.595]],
        [-1.773, -0.749, 0.475],
    ),
    (
        [1.656, 0.089, -1.279],
        [-0.251, -0.075, -0.068],
        [[0.507, 0.358, -0.445], [0.99, -1.284, -1.707], [0.171, 1.521, 0.104]],
        [-0.442, -0.944, 1.698],
    ),
]
ROWS = [[0.0, 1.5040774, -4.79579055], [13.8155116, -0.336472237, 1.09861229]]


def model(width: int, **options) -> GAMModel:
    features = np.zeros((1, width), np.float32)
    extractor = Features().build(ExtractorContext(features=lambda: iter([features])))
    return GAM(layers=(3,), **options).build(RerankerContext(extractor))


def tensors(kind: str, towers) -> dict[str, np.ndarray]:
    first, bias, last, offset = (np.array(part, np.float32) for part in zip(*towers, strict=True))
    last = last.reshape(len(towers), 3, -1)
    found = {"0.weight": first[:, None], "0.bias": bias, "1.weight": last, "1.bias": offset.reshape(len(towers), -1)}
    return {f"{kind}.{name}": value for name, value in found.items()}


def scores(gam: GAMModel, rows) -> list[float]:
    extractor = Features().build(ExtractorContext(features=lambda: iter([np.array(rows, np.float32)])))
    group = Example("q", ("a", "b"), np.zeros(2, np.float32), columns={"features": np.array(rows, np.float32)})
    return gam(tiny.batch(extractor, [group])).scores.numpy()[0].tolist()


def test_golden_values():
    gam = model(3)
    gam.assign(tensors("features", TOWERS))
    np.testing.assert_allclose(scores(gam, ROWS), [-2.86385656, 21.030032], rtol=1e-5)
    parts = gam.parts(np.array([ROWS], np.float32)).numpy()[0]
    expected = [[-1.96411, 1.22828195, -2.12802851], [21.1567551, 1.24365422, -1.37037731]]
    np.testing.assert_allclose(parts, expected, rtol=1e-5)


def test_golden_values_with_contexts():
    gam, rows = model(5, context=2), [[*row, -1.89, 0.06] for row in ROWS]
    gam.assign(tensors("features", TOWERS) | tensors("context", CONTEXTS))
    shares = gam.shares(np.array([rows], np.float32)).numpy()[0]
    np.testing.assert_allclose(shares, [[0.882611915, 0.266645665, 0.85074242]] * 2, rtol=1e-5)
    np.testing.assert_allclose(scores(gam, rows), [-3.21643496, 17.838981], rtol=1e-5)


@pytest.mark.parametrize("layers", [(), (4,), (4, 3)])
@pytest.mark.parametrize("context", [0, 1])
def test_scores_are_the_formula(layers, context):
    made = tiny.built("gam", layers=layers, context=context)
    groups = tiny.examples(made.extractor)
    found = made.reranker(tiny.batch(made.extractor, groups)).scores.numpy()
    weights = made.reranker.tensors()

    def net(kind, number, x):
        for n in range(len(layers) + 1):
            x = x @ weights[f"{kind}.{n}.weight"][number].astype(np.float64) + weights[f"{kind}.{n}.bias"][number]
            x = np.maximum(x, 0) if n < len(layers) else x
        return x

    for group, row in zip(groups, found, strict=True):
        for x, score in zip(made.extractor.extract(group)["features"].astype(np.float64), row, strict=False):
            parts = np.array([net("features", f, x[f : f + 1])[0] for f in range(3 - context)])
            share = np.ones(3)
            if context:
                logits = net("context", 0, x[2:])
                share = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(score, (parts * share[: 3 - context]).sum(), rtol=1e-5, atol=1e-5)


def test_wrong_options_are_one_error():
    with pytest.raises(ConfigError, match="of 3 features, 3 cannot be of the query"):
        model(3, context=3)
    monkey = type("Tokens", (), {"fields": {"features": tiny.built("TFKNRM").extractor.fields["doc"]}})()
    with pytest.raises(ConfigError, match="holds tokens, not numbers"):
        GAM().check(RerankerContext(monkey))
