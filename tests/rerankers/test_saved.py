"""Model directories: what is in them, that nothing is lost, and that other tools' open too."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models as tiny

from rankcli.config.registry import RERANKERS
from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.rerankers.foreign import options_for
from rankcli.rerankers.saved import load_reranker, save_reranker, sections_of
from rankcli.text import _safetensors
from tests.checked import forge

every = pytest.mark.parametrize("name", tiny.NAMES)
GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"}
FILES = {
    **dict.fromkeys(("dnn", "gam", "listattention"), {"features.json"}),
    "crossencoder": {"config.json", *TOKENIZER},
    "TFBERTMaxP": {"config.json", *TOKENIZER},
    "TFCEDRKNRM": {"config.json", *TOKENIZER},
    "parade": {"config.json", *TOKENIZER},
    "colbert": {"config.json", "artifact.metadata", *TOKENIZER},
    "duobert": {"config.json", *TOKENIZER},
    "rankt5": {"config.json", *TOKENIZER},
    "setencoder": {"config.json", *TOKENIZER},
    "biencoder": {
        "config.json",
        "modules.json",
        "1_Pooling",
        "2_Normalize",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        *TOKENIZER,
    },
}


def saved(name, directory, **changed):
    model = tiny.built(name, **changed)
    save_reranker(model.reranker, model.extractor, {**sections_of(*model.options), "metric": "map"}, directory)
    return model


def scores_of(reranker, extractor):
    return reranker(tiny.batch(extractor, tiny.examples(extractor))).scores.numpy()


@every
def test_defect_10_all_that_is_trained_is_saved_scores_are_equal_to_the_bit(name, tmp_path):
    model = saved(name, tmp_path / "model")
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    np.testing.assert_array_equal(scores_of(reranker, extractor), scores_of(model.reranker, model.extractor))
    assert sections == {**sections_of(*model.options), "metric": "map"}
    assert {path: v.shape for path, v in reranker.variables.items()} == {
        path: v.shape for path, v in model.reranker.variables.items()
    }


@every
def test_the_directory_holds_the_files_of_its_kind_and_nothing_else_is_left(name, tmp_path):
    saved(name, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES.get(name, {"vocabulary.json"}) | {
        "model.safetensors",
        "rankcli.json",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    content = json.loads((tmp_path / "model" / "rankcli.json").read_text())
    assert content["schema_version"] == 1
    assert content["reranker"]["name"] == name


def test_saving_again_replaces_the_whole_directory(tmp_path):
    saved("TFKNRM", tmp_path / "model")
    (tmp_path / "model" / "stray").write_text("of before")
    model = saved("TFKNRM", tmp_path / "model", seed=3)
    reranker, extractor, _ = load_reranker(tmp_path / "model")
    np.testing.assert_array_equal(scores_of(reranker, extractor), scores_of(model.reranker, model.extractor))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (tmp_path / "model" / "stray").exists()


def test_a_failure_while_saving_leaves_the_directory_as_it_was(tmp_path, monkeypatch):
    model = saved("TFKNRM", tmp_path / "model")
    monkeypatch.setattr(type(model.reranker), "tensors", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    monkeypatch.undo()
    load_reranker(tmp_path / "model")


@pytest.mark.faults
def test_what_a_killed_save_left_is_gone_after_the_next_one(tmp_path, capsys):
    if not (child := os.fork()):  # TensorFlow does not work in a forked process: the stand-in for a reranker is killed
        save_reranker(SimpleNamespace(save_config=lambda _: os.kill(os.getpid(), 9)), None, {}, tmp_path / "model")
    os.waitpid(child, 0)
    assert [path.name.startswith("model.tmp.") for path in tmp_path.iterdir()] == [True]
    saved("TFKNRM", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert "removed what an interrupted run had left" in capsys.readouterr().err


def test_options_not_at_their_defaults_are_kept(tmp_path):
    saved("TFKNRM", tmp_path / "knrm", gradkernels=False, idf=True)
    saved("biencoder", tmp_path / "bi", similarity="dot", scale=2.5)
    assert load_reranker(tmp_path / "knrm")[2]["reranker"]["idf"] is True
    reranker, extractor, sections = load_reranker(tmp_path / "bi")
    assert sections["reranker"]["scale"] == 2.5
    model = tiny.built("biencoder", similarity="dot", scale=2.5)
    np.testing.assert_array_equal(scores_of(reranker, extractor), scores_of(model.reranker, model.extractor))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda content: content.update(schema_version=2),
            MissingError,
            "format 2; this version of rankcli reads format 1",
        ),
        (lambda content: content.pop("extractor"), StorageError, "its entry 'extractor' is missing"),
        (lambda content: content["reranker"].update(dim="6"), ConfigError, "dim"),
        (lambda content: content["reranker"].update(dim=2**20), StorageError, "of which the weights hold only a part"),
        (lambda content: content["reranker"].update(dim=7), StorageError, r"shape \[\d+, 6\], not \[\d+, 7\]"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change, error, message, tmp_path):
    saved("TFKNRM", tmp_path / "model")
    forge(tmp_path / "model" / "rankcli.json", change)
    with pytest.raises(error, match=message):
        load_reranker(tmp_path / "model")


def test_a_plain_classifier_opens_as_a_cross_encoder(tmp_path):
    model = saved("crossencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    reranker, extractor, sections = load_reranker(tmp_path / "model")
    assert sections["reranker"]["name"] == "crossencoder"
    assert (sections["extractor"]["maxseqlen"], sections["extractor"]["maxqlen"]) == (24, None)
    groups = tiny.examples(model.extractor)  # short enough not to be cut by either
    np.testing.assert_array_equal(
        reranker(tiny.batch(extractor, groups[1:])).scores.numpy(),
        model.reranker(tiny.batch(model.extractor, groups[1:])).scores.numpy(),
    )


def test_lengths_are_those_of_the_model_not_cut_to_512(tmp_path):
    long = dataclasses.replace(tiny.TINY, max_positions=900)
    saved("crossencoder", tmp_path / "model", encoder=long)
    (tmp_path / "model" / "rankcli.json").unlink()
    settings = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    for said, read in ((10**30, 900), (700, 700)):
        content = json.dumps({**settings, "model_max_length": said})
        (tmp_path / "model" / "tokenizer_config.json").write_text(content)
        assert load_reranker(tmp_path / "model")[2]["extractor"]["maxseqlen"] == read


def test_every_kind_of_reranker_is_asked_and_the_first_that_opens_a_directory_is_taken(tmp_path, monkeypatch):
    saved("biencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    asked = []

    def opens(name, answer):
        monkeypatch.setattr(RERANKERS.get(name), "opens", lambda directory: (asked.append(name), answer(directory))[1])

    given = {name: RERANKERS.get(name).opens for name in tiny.NAMES}
    for name in tiny.NAMES:
        opens(name, given[name])
    assert options_for(tmp_path / "model").reranker == given["biencoder"](tmp_path / "model").reranker
    assert asked == tiny.NAMES[: tiny.NAMES.index("biencoder") + 1]

    def refused(directory):
        raise MissingError("pooling by max")

    opens("biencoder", refused)
    with pytest.raises(MissingError, match="pooling by max"):
        options_for(tmp_path / "model")
    opens("crossencoder", lambda _: "taken")  # asked later, but nobody else does
    assert options_for(tmp_path / "model") == "taken"


def test_a_plain_sentence_transformer_opens_as_a_bi_encoder(tmp_path):
    model = saved("biencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    reranker, extractor, _ = load_reranker(tmp_path / "model")
    np.testing.assert_array_equal(scores_of(reranker, extractor), scores_of(model.reranker, model.extractor))


def test_the_newer_way_of_naming_a_pooling_is_read(tmp_path):
    saved("biencoder", tmp_path / "model", pooling="cls")
    (tmp_path / "model" / "rankcli.json").unlink()
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text('{"embedding_dimension": 8, "pooling_mode": "cls"}')
    assert load_reranker(tmp_path / "model")[2]["reranker"]["pooling"] == "cls"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "pooling by max"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, "pooling by "),
        ("config_sentence_transformers.json", {"similarity_fn_name": "manhattan"}, "similarity 'manhattan'"),
        (
            "modules.json",
            [{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "2"}],
            "Transformer, Dense",
        ),
    ],
)
def test_sentence_transformers_that_compute_more_are_refused(file, content, message, tmp_path):
    saved("biencoder", tmp_path / "model")
    (tmp_path / "model" / "rankcli.json").unlink()
    (tmp_path / "model" / file).write_text(json.dumps(content))
    with pytest.raises(MissingError, match=message):
        load_reranker(tmp_path / "model")


@pytest.mark.parametrize("kind", ["bert", "nothing"])
def test_other_directories_are_refused(kind, tmp_path):
    directory = tmp_path / "model"
    if kind == "bert":
        shutil.copytree(GOLDEN / "bert", directory)
    else:
        directory.mkdir()
    with pytest.raises(MissingError, match="neither a classifier nor"):
        load_reranker(directory)


@every
def test_every_tensor_is_read_once_when_a_saved_model_is_opened(name, tmp_path, monkeypatch):
    saved(name, tmp_path / "model")
    read = []
    monkeypatch.setattr(
        _safetensors,
        "_read_tensor",
        lambda *args, given=_safetensors._read_tensor: (read.append(args[2]), given(*args))[1],
    )
    reranker, _, _ = load_reranker(tmp_path / "model")
    assert len(read) == len(reranker.tensors())


@pytest.mark.parametrize(
    ("name", "file", "changed"),
    [
        ("crossencoder", "config.json", {"hidden_size": 2**30, "num_attention_heads": 2}),
        ("crossencoder", "config.json", {"num_hidden_layers": 2**62}),
        ("biencoder", "config.json", {"vocab_size": 2**40}),
        ("crossencoder", "config.json", None),
    ],
)
def test_sizes_that_a_description_claims_are_compared_with_the_weights_before_memory_is_taken(
    name, file, changed, tmp_path
):
    saved(name, tmp_path / "model")
    path = tmp_path / "model" / file
    forge(tmp_path / "model" / "rankcli.json")
    if changed is None:  # the sizes would be those of rankcli.json
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises((StorageError, MissingError), match="weights do not fit|layers, but|no config.json"):
        load_reranker(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: None, ""),
        (lambda content: content["versions"].update(reranker=1), "saved with version 1 of TFKNRM, which is version 2"),
        (lambda content: content.pop("versions"), "saved with version 1 of TFKNRM, which is version 2 here"),
        (
            lambda content: content["versions"].update(extractor=9),
            "saved with version 9 of embedtext, which is version",
        ),
    ],
)
def test_a_model_whose_component_computes_otherwise_by_now_is_a_warning(change, said, tmp_path, capsys):
    saved("TFKNRM", tmp_path / "model")
    forge(tmp_path / "model" / "rankcli.json", change)
    capsys.readouterr()
    load_reranker(tmp_path / "model")
    err = capsys.readouterr().err
    assert said in err and ("warning" in err) == bool(said)
