"""Model directories as users had them: opened as their own tools do, or refused with the reason."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.errors import MissingError, StorageError
from rankcli.rerankers.foreign import options_for
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.text.weights import read_tensors, write_tensors


def foreign(name, directory):
    """A directory as another tool would have saved it."""
    model = tiny.built(name)
    save_reranker(model.reranker, model.extractor, sections_of(*model.options), directory)
    (directory / "rankcli.json").unlink()
    return directory


def change_weights(directory, change):
    tensors = dict(read_tensors(directory))
    for file in directory.glob("*.safetensors"):
        file.unlink()
    write_tensors(directory, change(tensors))


def change_json(directory, name, **values):
    file = directory / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **values}))


def labels(count):
    def change(tensors):
        rest = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
        made = {"classifier.weight": np.ones((count, 16), np.float32), "classifier.bias": np.ones(count, np.float32)}
        return {**rest, **(made if count else {})}

    return change


@pytest.mark.parametrize(("count", "said"), [(3, "it has 3 labels"), (0, "they hold none")])
def test_nothing_reranks_with_a_random_head(count, said, tmp_path):
    directory = foreign("crossencoder", tmp_path / "model")
    change_weights(directory, labels(count))
    with pytest.raises(MissingError, match=rf"no classifier of one or two labels among the weights \({said}\)"):
        load_reranker(directory)


def test_nothing_reranks_with_a_random_pooler(tmp_path):
    directory = foreign("crossencoder", tmp_path / "model")
    change_weights(directory, lambda tensors: {n: v for n, v in tensors.items() if "pooler" not in n})
    with pytest.raises(MissingError, match="no pooler among the weights"):
        load_reranker(directory)


def test_an_encoder_with_one_segment_reads_pairs(tmp_path):
    directory = foreign("crossencoder", tmp_path / "model")
    name = "bert.embeddings.token_type_embeddings.weight"
    alike = foreign("crossencoder", tmp_path / "alike")
    change_weights(alike, lambda tensors: {**tensors, name: np.repeat(tensors[name][:1], 2, axis=0)})
    change_weights(directory, lambda tensors: {**tensors, name: tensors[name][:1]})
    change_json(directory, "config.json", type_vocab_size=1)
    found = []
    for each in (directory, alike):
        reranker, extractor, _ = load_reranker(each)
        found.append(reranker(tiny.batch(extractor, tiny.examples(extractor))).scores.numpy())
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("modules.json", {"a": 1}, "modules.json is not a list of modules"),
        ("modules.json", [1], "modules.json is not a list of modules"),
        ("tokenizer_config.json", [], "tokenizer_config.json is not a JSON object"),
        ("tokenizer_config.json", {"model_max_length": "long"}, "model_max_length is 'long', not a number of tokens"),
        ("sentence_bert_config.json", {"max_seq_length": -5}, "max_seq_length is -5, not a number of tokens"),
    ],
)
def test_json_of_another_shape_is_named(name, content, said, tmp_path):
    directory = foreign("crossencoder", tmp_path / "model")
    (directory / name).write_text(json.dumps(content))
    with pytest.raises(MissingError, match=said):
        options_for(directory)


def test_a_length_that_is_written_as_text_is_read(tmp_path):
    directory = foreign("crossencoder", tmp_path / "model")
    change_json(directory, "tokenizer_config.json", model_max_length="20")
    assert options_for(directory).extractor.maxseqlen == 20


def test_an_older_layout_is_named(tmp_path):
    directory = foreign("biencoder", tmp_path / "model")
    modules = json.loads((directory / "modules.json").read_text())
    (directory / "modules.json").write_text(json.dumps([{**modules[0], "path": "0_Transformer"}, *modules[1:]]))
    with pytest.raises(MissingError, match="its transformer lies in 0_Transformer") as caught:
        options_for(directory)
    assert "copy the files of 0_Transformer" in caught.value.fix


def test_weights_of_a_wrapper_are_named(tmp_path, capsys):
    directory = foreign("crossencoder", tmp_path / "model")
    change_weights(directory, lambda tensors: {f"module.{name}": value for name, value in tensors.items()})
    with pytest.raises(StorageError, match=r"0 tensors are of this encoder; the first names are module\.bert"):
        load_reranker(directory)
    assert "random" not in capsys.readouterr().err


def test_texts_are_lower_cased_where_sentence_transformers_does_it(tmp_path):
    directory = foreign("biencoder", tmp_path / "model")
    change_json(directory, "tokenizer_config.json", do_lower_case=False)
    cased = load_reranker(directory)[1].tokenizer
    assert cased.encode(["CAT"])[0].tolist() != cased.encode(["cat"])[0].tolist()
    change_json(directory, "sentence_bert_config.json", do_lower_case=True)
    lowered = load_reranker(directory)[1].tokenizer
    assert lowered.encode(["CAT"])[0].tolist() == cased.encode(["cat"])[0].tolist()
    shutil.rmtree(directory)
    directory.mkdir()
    lowered.save(directory)
    again = type(lowered).open(directory)
    assert again.encode(["CAT"])[0].tolist() == cased.encode(["cat"])[0].tolist()
