"""The net over features: golden values, the formula in NumPy, dropout, and a whole training on features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.config.load import load_config
from rankcli.data.trec import read_run
from rankcli.datasets.builtin import Builtin
from rankcli.datasets.elwc import ELWC
from rankcli.encoders.dropout import Dropout
from rankcli.errors import ConfigError
from rankcli.extractors.base import ExtractorContext
from rankcli.extractors.features import Features
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.dnn import DNN
from rankcli.shapes import Example
from rankcli.verbs.evaluate import evaluate
from rankcli.verbs.rerank import rerank
from rankcli.verbs.train import train

ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "silu": lambda x: x / (1 + np.exp(-x))}
CONFIG = """
data: {{source: {{name: libsvm, path: {path}, width: 3}}, folds: {{k: 3}}}}
reranker: {{name: dnn, layers: [8], dropout: 0.0}}
extractor: {{name: features, standardize: true}}
sampler: {{name: judged, size: 9}}
trainer: {{batch: 4, niters: 6, itersize: 32, lr: 1e-2, loss: softmax_gain, strategy: cpu}}
metrics: {{optimize: ndcg_exp_cut_10}}
"""


def test_golden_values():
    """Features of any size, with log1p, one hidden layer of 4; from the project's reference of formulas."""
    features = np.array([[0.0, 3.5, -120.0], [1000000.0, -0.4, 2.0]], np.float32)
    extractor = Features(log1p=True).build(ExtractorContext(features=lambda: iter([features])))
    model = DNN(layers=(4,)).build(RerankerContext(extractor))
    first = [[0.139, -0.22, 0.455, -0.327], [-0.689, 0.925, 0.597, -0.974], [-0.82, 0.257, -0.743, 0.352]]
    weights = {"hidden_0.weight": np.array(first, np.float32).T, "output.weight": [[2.452, -1.719, 2.16, 0.214]]}
    biases = {"hidden_0.bias": [-0.114, 0.1, 0.063, -0.103], "output.bias": [0.3]}
    model.assign({name: np.array(value, np.float32) for name, value in (weights | biases).items()})
    group = Example("q", ("a", "b"), np.zeros(2, np.float32), columns={"features": features})
    scores = model(tiny.batch(extractor, [group])).scores.numpy()
    np.testing.assert_allclose(scores, [[16.4495389, 14.6056532]], rtol=1e-6)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("layers", [(), (5,), (5, 4, 3)])
def test_scores_are_the_formula(activation, layers):
    model = tiny.built("dnn", activation=activation, layers=layers)
    groups = tiny.examples(model.extractor)
    scores = model.reranker(tiny.batch(model.extractor, groups)).scores.numpy()
    tensors = model.reranker.tensors()
    for group, found in zip(groups, scores, strict=True):
        x = model.extractor.extract(group)["features"].astype(np.float64)
        for n in range(len(layers)):
            x = ACTIVATIONS[activation](x @ tensors[f"hidden_{n}.weight"].T + tensors[f"hidden_{n}.bias"])
        expected = (x @ tensors["output.weight"].T + tensors["output.bias"])[:, 0]
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-5, atol=1e-5)
    assert len(tensors) == 2 * len(layers) + 2


def test_dropout_is_of_hidden_layers_and_a_function_of_its_key():
    model, linear = tiny.built("dnn", dropout=0.5), tiny.built("dnn", dropout=0.5, layers=())
    laid_out = tiny.batch(model.extractor, tiny.examples(model.extractor))
    one, again, other = (model.reranker(laid_out, Dropout.of(1, step)).scores.numpy() for step in (3, 3, 4))
    assert np.array_equal(one, again) and not np.allclose(one, other)
    assert np.array_equal(linear.reranker(laid_out, Dropout.of(1, 3)).scores, linear.reranker(laid_out).scores)


def write_features(path: Path) -> None:
    """Twelve queries of eight documents, the best first; feature 1 is the grade with noise, the others say nothing."""
    draw = np.random.default_rng(1)
    lines = []
    for query in range(12):
        for grade in (3, 2, 1, 1, 0, 0, 0, 0):
            values = [100 + 5 * grade + draw.normal(), draw.normal(), 1e-3 * draw.normal()]
            lines.append(f"{grade} qid:q{query} " + " ".join(f"{n}:{x:.5f}" for n, x in enumerate(values, 1)))
    path.write_text("\n".join(lines) + "\n")


def test_features_train_test_rerank_and_are_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    write_features(tmp_path / "f.txt")
    (tmp_path / "c.yaml").write_text(CONFIG.format(path=tmp_path / "f.txt"))
    config, *_ = load_config([tmp_path / "c.yaml"], [])
    train(config, out=tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())["splits"]["test"]
    assert result["reranked"]["ndcg_exp_cut_10"] > 0.85 > 0.5 > result["first_stage"]["ndcg_exp_cut_10"]
    about = json.loads((tmp_path / "run/best/ndcg_exp_cut_10/features.json").read_text())
    assert about["width"] == 3 and 104 < about["mean"][0] < 106 and 0.0008 < about["deviation"][2] < 0.0012
    rerank(model=str(tmp_path / "run"), output=tmp_path / "again.run", depth=20)
    own = read_run(tmp_path / "run/test.run")
    assert read_run(tmp_path / "again.run") == own
    assert "tokens" not in capsys.readouterr().err
    lines = [line for line in (tmp_path / "f.txt").read_text().splitlines() if line.split()[1][4:] in own]
    (tmp_path / "new.txt").write_text("\n".join(line for line in lines if "3:" in line))
    rerank(model=str(tmp_path / "run"), output=tmp_path / "new.run", features=str(tmp_path / "new.txt"))
    assert read_run(tmp_path / "new.run") == own
    found = evaluate(features=str(tmp_path / "new.txt"), run=tmp_path / "new.run", metrics=["ndcg_exp_cut_10"])
    assert found.to_json()["metrics"]["ndcg_exp_cut_10"]["mean"] == pytest.approx(result["reranked"]["ndcg_exp_cut_10"])
    same = evaluate(features=str(tmp_path / "new.txt"), run=tmp_path / "new.run", model=str(tmp_path / "run"))
    assert same.to_json()["queries"] == 4


def test_a_hybrid_reads_scores_of_a_run_beside_features(tmp_path, monkeypatch):
    """The run knows what the features do not; another file comes with a run of its own."""
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    lines, scores = [], []
    for query in range(12):
        for n, grade in enumerate((3, 2, 1, 1, 0, 0, 0, 0), 1):
            lines.append(f"{grade} qid:q{query} 1:{n % 3}")
            scores.append(f"q{query} Q0 q{query}.{n} {n} {grade - 0.1 * (n % 2)} text")
    (tmp_path / "f.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.run").write_text("\n".join(scores) + "\n")
    (tmp_path / "c.yaml").write_text(CONFIG.format(path=tmp_path / "f.txt"))
    config, *_ = load_config([tmp_path / "c.yaml"], [f"data.source.scores={tmp_path / 't.run'}"])
    train(config, out=tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())["splits"]["test"]
    assert result["reranked"]["ndcg_exp_cut_10"] == 1 > result["first_stage"]["ndcg_exp_cut_10"]
    own = read_run(tmp_path / "run/test.run")
    (tmp_path / "new.txt").write_text("\n".join(line for line in lines if line.split()[1][4:] in own))
    again = {"model": str(tmp_path / "run"), "features": str(tmp_path / "new.txt"), "output": tmp_path / "new.run"}
    rerank(**again, run=str(tmp_path / "t.run"))
    assert read_run(tmp_path / "new.run") == own
    with pytest.raises(ConfigError, match="give --run"):
        rerank(**again)


def test_files_of_features_go_with_what_reads_them(tmp_path):
    write_features(tmp_path / "f.txt")
    path = str(tmp_path / "f.txt")
    with pytest.raises(ConfigError, match="leave the other options out"):
        rerank(model="m", output="o", features=path, docs="d", queries="q")
    for given in ({"qrels": "q", "run": "r"}, {}):
        with pytest.raises(ConfigError, match="give that, and no --qrels"):
            evaluate(features=path, **given)
    with pytest.raises(ConfigError, match="are no file of features"):
        Builtin(collection="stdlib-docs").at(path, 3)
    with pytest.raises(ConfigError, match="this file may have others"):
        ELWC(path=path, features=("a",)).at("new", 3)
    assert ELWC(path=path, features=("a",), context=()).at("new", 3).path == "new"


def test_an_extractor_of_tokens_is_refused():
    model = tiny.built("TFKNRM")
    fields = {"features": model.extractor.fields["doc"]}
    monkey = type("Tokens", (), {"fields": fields})()
    with pytest.raises(ConfigError, match="holds tokens, not numbers"):
        DNN().check(RerankerContext(monkey))
