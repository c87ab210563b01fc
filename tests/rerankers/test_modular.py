"""Cross-encoders of sentence-transformers in several modules: opened, trained on, written, or refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.encoders.build import Pretrained
from rankcli.errors import MissingError
from rankcli.rerankers.base import RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.rerankers.foreign import options_for
from rankcli.rerankers.modular import module_files
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.runs.initial import hash_of_files
from rankcli.text.weights import open_tensors, read_tensors, write_tensors

RANDOM = np.random.default_rng(8)
TORCH = "torch.nn.modules."
KINDS = ("Dense", "LayerNorm", "Dense")
CONFIGS = (
    {"in_features": 8, "out_features": 6, "bias": False, "activation_function": f"{TORCH}activation.GELU"},
    {"dimension": 6},
    {"in_features": 6, "out_features": 1, "bias": True, "activation_function": f"{TORCH}linear.Identity"},
)
WEIGHTS = (
    {"linear.weight": RANDOM.normal(size=(6, 8))},
    {"norm.weight": RANDOM.normal(1, 0.2, 6), "norm.bias": RANDOM.normal(size=6)},
    {"linear.weight": RANDOM.normal(size=(1, 6)), "linear.bias": RANDOM.normal(size=1)},
)


def folder(n: int) -> str:
    return f"{n + 2}_{KINDS[n]}"


def write(file: Path, content: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A tiny BERT, pooling, Dense with GELU, LayerNorm, Dense: as another tool saves them, with a length of 24."""
    model = tiny.built("biencoder", pooling="mean")
    directory = tmp_path / "chain"
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), directory)
    for name in ("rankcli.json", "sentence_bert_config.json"):
        (directory / name).unlink()
    named = [("Transformer", ""), ("Pooling", "1_Pooling"), *((kind, folder(n)) for n, kind in enumerate(KINDS))]
    modules = [{"idx": n, "name": str(n), "path": at, "type": f"a.b.{kind}"} for n, (kind, at) in enumerate(named)]
    write(directory / "modules.json", modules)
    write(directory / "config_sentence_transformers.json", {"model_type": "CrossEncoder", "prompts": {}})
    for n, (content, weights) in enumerate(zip(CONFIGS, WEIGHTS, strict=True)):
        write(directory / folder(n) / "config.json", content)
        write_tensors(directory / folder(n), {name: value.astype(np.float32) for name, value in weights.items()})
    return directory


def change(directory: Path, name: str, **values: object) -> None:
    write(directory / name, {**json.loads((directory / name).read_text()), **values})


def scores_of(reranker, extractor):
    return reranker(tiny.batch(extractor, tiny.examples(extractor))).scores.numpy()


def restated(pooled: np.ndarray) -> np.ndarray:
    inner = pooled @ WEIGHTS[0]["linear.weight"].T
    inner = inner / 2 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
    centred = inner - inner.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed = normed * WEIGHTS[1]["norm.weight"] + WEIGHTS[1]["norm.bias"]
    return (normed @ WEIGHTS[2]["linear.weight"].T + WEIGHTS[2]["linear.bias"])[:, 0]


def test_a_chain_scores_as_its_modules_say(chain):
    reranker, extractor, sections = load_reranker(chain)
    assert sections["reranker"]["name"] == "crossencoder"
    assert (sections["extractor"]["maxseqlen"], sections["extractor"]["maxqlen"]) == (24, None)
    layout = tiny.batch(extractor, tiny.examples(extractor)).fields["pair"].layout
    pooled = reranker.encoders["encoder"].pooled(layout, "mean").numpy()
    np.testing.assert_allclose(reranker.logits(layout, None), restated(pooled), atol=1e-5)
    pooling = {f"pooling_mode_{name}": name == "cls_token" for name in ("cls_token", "mean_tokens")}
    write(chain / "1_Pooling" / "config.json", pooling)
    first = reranker.encoders["encoder"].pooled(layout, "cls").numpy()
    np.testing.assert_allclose(load_reranker(chain)[0].logits(layout, None), restated(first), atol=1e-5)


def test_what_is_written_opens_again_with_and_without_our_file_to_the_same_scores(chain, tmp_path):
    reranker, extractor, sections = load_reranker(chain)
    tiny.shake(reranker)
    save_reranker(reranker, extractor, sections, tmp_path / "ours")
    expected = scores_of(reranker, extractor)
    np.testing.assert_array_equal(scores_of(*load_reranker(tmp_path / "ours")[:2]), expected)
    (tmp_path / "ours" / "rankcli.json").unlink()
    tensors = read_tensors(tmp_path / "ours")
    only = {name: value for name, value in tensors.items() if "Dense" not in name and "LayerNorm.norm" not in name}
    assert len(only) == len(tensors) - 5
    write_tensors(tmp_path / "ours", only)  # as other tools read it: the classifier in the folders of modules alone
    np.testing.assert_array_equal(scores_of(*load_reranker(tmp_path / "ours")[:2]), expected)


def test_modules_are_written_as_they_were_read(chain, tmp_path):
    reranker, extractor, sections = load_reranker(chain)
    save_reranker(reranker, extractor, sections, tmp_path / "ours")
    content = {name: json.loads((tmp_path / "ours" / name).read_text()) for name in ("modules.json", "config.json")}
    assert [module["path"] for module in content["modules.json"]] == ["", "1_Pooling", *map(folder, range(3))]
    assert content["config.json"]["architectures"] == ["BertModel"]
    for n, (expected, weights) in enumerate(zip(CONFIGS, WEIGHTS, strict=True)):
        found = json.loads((tmp_path / "ours" / folder(n) / "config.json").read_text())
        assert {key: found[key] for key in expected} == expected
        tensors = read_tensors(tmp_path / "ours" / folder(n))
        assert {name: value.tolist() for name, value in tensors.items()} == {
            name: value.astype(np.float32).tolist() for name, value in weights.items()
        }
    about = json.loads((tmp_path / "ours" / "config_sentence_transformers.json").read_text())
    assert (about["model_type"], about["activation_fn"]) == ("CrossEncoder", f"{TORCH}linear.Identity")
    assert found["module_output_name"] == "scores"


def test_two_outputs_rank_by_their_difference(chain, capsys):
    weight, bias = np.array([[1.0] * 6, [3.0] * 6], np.float32), np.array([0.5, 0.25], np.float32)
    write_tensors(chain / "4_Dense", {"linear.weight": weight, "linear.bias": bias})
    change(chain, "4_Dense/config.json", out_features=2)
    tensors = load_reranker(chain)[0].parameters["head"].tensors()
    assert tensors["4_Dense.linear.weight"].tolist() == [[2.0] * 6] and tensors["4_Dense.linear.bias"] == [-0.25]
    assert "a classifier of two labels" in capsys.readouterr().err


def test_its_weights_are_those_of_a_training_that_starts_from_them(chain):
    _, extractor = tiny.extractor_of("crossencoder")
    given = {"pretrained": Pretrained(chain)}
    reranker = CrossEncoder(pretrained=str(chain)).build(RerankerContext(extractor=extractor, models=given))
    found = reranker.converted(open_tensors(chain), str(chain))
    assert set(found) == set(reranker.tensors()) and "2_Dense.linear.weight" in found
    assert all(np.array_equal(value, found[name]) for name, value in reranker.tensors().items())


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("2_Dense/config.json", {"activation_function": "my.Act"}, "2_Dense/config.json: not supported are activation"),
        ("2_Dense/config.json", {"use_residual": True, "bias": None}, "not supported are use_residual; bias None"),
        ("4_Dense/config.json", {"module_input_name": "token_embeddings"}, "module_input_name 'token_embeddings'"),
        ("4_Dense/config.json", {"out_features": "1"}, "out_features '1'"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pooling by max; supported: mean, cls"),
    ],
)
def test_settings_that_are_not_computed_are_named(chain, file, values, said):
    change(chain, file, **values)
    with pytest.raises(MissingError, match=said):
        options_for(chain)


@pytest.mark.parametrize(
    "kinds",
    [
        ("Transformer", "LogitScore"),
        ("Transformer", "Pooling", "LayerNorm", "Dense"),
        ("Transformer", "Pooling", "Dense", "LayerNorm"),
        ("Transformer", "Pooling", "Dense", "LayerNorm", "LayerNorm", "Dense"),
        ("Transformer", "Pooling", "Dense", "Dropout", "Dense"),
    ],
)
def test_other_chains_are_refused_by_name(chain, kinds):
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense", "LayerNorm": "3_LayerNorm"}
    write(chain / "modules.json", [{"path": paths.get(kind, "x"), "type": f"a.{kind}"} for kind in kinds])
    with pytest.raises(MissingError, match=f"a cross-encoder of {', '.join(kinds)}; supported: Transformer, Pooling"):
        options_for(chain)


def test_weights_of_another_shape_are_refused(chain):
    write_tensors(chain / "2_Dense", {"linear.weight": np.ones((5, 8), np.float32)})
    with pytest.raises(Exception, match=r"2_Dense.linear.weight has shape \[5, 8\], not \[6, 8\]"):
        load_reranker(chain)


def test_the_files_of_its_modules_are_part_of_what_it_is(chain):
    names = [file.relative_to(chain).as_posix() for file in module_files(chain)]
    modules = [f"{folder(n)}/{name}" for n in range(3) for name in ("config.json", "model.safetensors")]
    assert names == ["modules.json", "1_Pooling/config.json", *modules]
    before = hash_of_files(chain, "config.json")
    change(chain, "2_Dense/config.json", activation_function=f"{TORCH}activation.ReLU")
    assert hash_of_files(chain, "config.json") != before
    (chain / "config_sentence_transformers.json").unlink()
    assert module_files(chain) == []
