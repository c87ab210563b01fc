"""Model names to directories, with the hub stood in for."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from rankcli.encoders.build import find_model_directory
from rankcli.errors import ConfigError, MissingError
from rankcli.text.hub import resolve

GOLDEN = Path(__file__).resolve().parents[1] / "golden/encoders"


def test_a_directory_is_itself(tmp_path, capsys):
    assert resolve(str(tmp_path)) == tmp_path
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["/no/such/model", "./model", "a/b/c", "../up", "", "org/mo del"])
def test_a_path_that_does_not_exist_is_a_usage_error(name):
    with pytest.raises(ConfigError, match="no such model directory"):
        resolve(name)


def test_a_file_is_no_model_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").touch()
    with pytest.raises(ConfigError, match="no such model directory"):
        resolve("model")


def hub(monkeypatch, directory, files):
    """Stand in for the hub's one model, which has `files`; returns the file names of each download."""
    downloads = []

    def snapshot_download(name, allow_patterns):
        wanted = [file for file in files if any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns)]
        downloads.append(wanted)
        for file in wanted:
            (directory / file).touch()
        return str(directory)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return downloads


def test_safetensors_are_preferred_and_nothing_else_is_downloaded(tmp_path, monkeypatch, capsys):
    files = ["config.json", "vocab.txt", "model.safetensors", "tf_model.h5", "pytorch_model.bin", "rust_model.ot"]
    downloads = hub(monkeypatch, tmp_path, files)
    assert resolve("org/model") == tmp_path
    small = ["config.json", "vocab.txt"]
    assert downloads == [small, [*small, "model.safetensors"]]
    assert capsys.readouterr().err == "org/model: no such directory; downloading it from the Hugging Face Hub\n"


def test_tf_model_h5_is_taken_where_there_are_no_safetensors(tmp_path, monkeypatch):
    downloads = hub(monkeypatch, tmp_path, ["config.json", "tf_model.h5", "pytorch_model.bin"])
    assert resolve("model") == tmp_path
    assert downloads == [["config.json"], ["config.json"], ["config.json", "tf_model.h5"]]


def test_what_to_do_without_network_or_with_a_wrong_id_is_said(monkeypatch):
    def offline(name, allow_patterns):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot reach the hub\nlong story")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(MissingError, match="cannot reach the hub") as caught:
        resolve("org/model")
    assert caught.value.exit_code == 4
    assert all(word in caught.value.fix for word in ("HF_HOME", "HF_HUB_OFFLINE", "directory"))
    assert "long story" not in str(caught.value)


def info(monkeypatch, sizes):
    """Stand in for what the hub tells of its one model's files."""
    siblings = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
    model = SimpleNamespace(siblings=siblings)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, files_metadata: model)


def test_what_a_model_is_is_told_before_its_weights_are_downloaded(tmp_path, monkeypatch, capsys):
    downloads = hub(monkeypatch, tmp_path, ["vocab.txt", "model.safetensors"])
    info(monkeypatch, {"model.safetensors": 90_900_000, "pytorch_model.bin": 91_000_000, "vocab.txt": 9})
    shutil.copy(GOLDEN / "bert-classifier/config.json", tmp_path)
    assert find_model_directory("org/model") == tmp_path
    said = capsys.readouterr().err
    told = "org/model: BertForSequenceClassification, 2 layers of 16, up to 24 tokens, 91 MB of weights\n"
    assert said.endswith(told) and downloads[0] == ["vocab.txt"]


def test_a_model_that_does_not_open_is_not_downloaded(tmp_path, monkeypatch):
    downloads = hub(monkeypatch, tmp_path, ["vocab.txt", "model.safetensors"])
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(ConfigError, match="'qwen3', a decoder"):
        find_model_directory("org/model")
    assert downloads == [["vocab.txt"]]


def test_without_the_hub_s_word_the_size_is_left_out(tmp_path, monkeypatch, capsys):
    def offline(self, name, files_metadata):
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    hub(monkeypatch, tmp_path, ["vocab.txt", "model.safetensors"])
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", offline)
    shutil.copy(GOLDEN / "bert-classifier/config.json", tmp_path)
    find_model_directory("org/model")
    assert capsys.readouterr().err.endswith("up to 24 tokens\n")
