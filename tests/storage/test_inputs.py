"""Files and directories of a bucket as local copies."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from rankcli.errors import ConfigError, MissingError, StorageError
from rankcli.storage._gcs_meta import ABSENT, content_of
from rankcli.storage._gcs_objects import Bucket
from rankcli.storage.gcs import delete_uri, upload_uri
from rankcli.storage.inputs import exists, local_copy, local_tree, tree


def put(uri: str, text: str, folder: Path) -> None:
    (folder / "content").write_text(text)
    upload_uri(folder / "content", uri)


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def model(gcs: Any, tmp_path: Path) -> str:
    """A directory in a bucket."""
    for name, text in {"config.json": "1", "model.safetensors": "weights", "1_Pooling/config.json": "2"}.items():
        put(f"{gcs.uri}/models/m/{name}", text, tmp_path)
    put(f"{gcs.uri}/models/mini/config.json", "another model", tmp_path)
    return f"{gcs.uri}/models/m"


def test_local_paths_are_what_they_are(tmp_path: Path) -> None:
    assert local_copy("a/b.txt") == Path("a/b.txt") and local_copy(tmp_path) == tmp_path


def test_an_object_is_copied_with_the_content_that_it_has_now(gcs: Any, tmp_path: Path) -> None:
    for text in ("one", "two"):
        put(f"{gcs.uri}/a b/ü.txt", text, tmp_path)
        assert local_copy(f"{gcs.uri}/a b/ü.txt").read_text() == text
    assert exists(f"{gcs.uri}/a b/ü.txt") and not exists(f"{gcs.uri}/a b")


@pytest.mark.parametrize("uri", ["gs://", "gs:///x", "s3://bucket/x", "gs://bucket", "http://host/x"])
def test_what_is_no_object_is_a_usage_error(uri: str) -> None:
    with pytest.raises(ConfigError) as refused:
        local_copy(uri)
    assert refused.value.exit_code == 2 and uri in str(refused.value)


def test_a_missing_object_is_a_usage_error_and_so_is_an_empty_directory(gcs: Any) -> None:
    for found in (local_copy, local_tree):
        with pytest.raises(ConfigError, match="there is no such") as refused:
            found(f"{gcs.uri}/none")
        assert refused.value.where == f"{gcs.uri}/none"


def test_without_credentials_it_is_said_how_to_log_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(MissingError, match="gcloud auth application-default login") as missing:
        local_copy("gs://some-bucket/docs.jsonl")
    assert missing.value.exit_code == 4


def test_a_directory_is_copied_with_what_lies_below_it(model: str) -> None:
    assert contents(local_tree(model)) == {
        "config.json": "1",
        "model.safetensors": "weights",
        "1_Pooling/config.json": "2",
    }
    assert contents(local_tree(f"{model}/", ("*.json",))) == {"config.json": "1", "1_Pooling/config.json": "2"}


def test_only_what_has_changed_is_downloaded_again(model: str, gcs: Any, tmp_path: Path) -> None:
    first = local_tree(model)
    gcs.proxy.calls.clear()
    assert local_tree(model) == first and len(gcs.proxy.calls) == 1  # the listing
    put(f"{model}/config.json", "changed", tmp_path)
    delete_uri(f"{model}/1_Pooling/config.json")
    gcs.proxy.calls.clear()
    second = local_tree(model)
    assert contents(second) == {"config.json": "changed", "model.safetensors": "weights"}
    downloads = [call for call in gcs.proxy.calls if call.startswith("GET /download/")]
    assert len(downloads) == 1 and downloads[0].endswith("/models/m/config.json")
    assert contents(first)["config.json"] == "1"  # this process may still read it


def test_copies_that_nobody_reads_are_removed(model: str, gcs: Any, tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        local_tree(model)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    home = tmp_path / "cache" / "trees"
    before = sorted(path for path in home.glob("*/*") if path.is_dir())
    put(f"{model}/config.json", "changed", tmp_path)
    after = local_tree(model)
    assert len(before) == 1 and [path for path in home.glob("*/*") if path.is_dir()] == [after] != before


def test_a_damaged_copy_is_not_taken_over(model: str, tmp_path: Path) -> None:
    (local_tree(model) / "model.safetensors").write_text("weightz")
    put(f"{model}/config.json", "changed", tmp_path)
    assert contents(local_tree(model))["model.safetensors"] == "weights"


def test_what_consoles_make_for_folders_is_no_file(model: str, gcs: Any, tmp_path: Path) -> None:
    before = tree(model)
    Bucket(gcs.uri.removeprefix("gs://")).upload("models/m/1_Pooling/", content_of(io.BytesIO()), ABSENT)
    assert tree(model) == before and len(before) == 3


@pytest.mark.parametrize("name", ["../x", "a//b", "/a", "a/./b", ".."])
def test_an_object_whose_name_leads_elsewhere_is_refused(name: str, model: str, gcs: Any) -> None:
    Bucket(gcs.uri.removeprefix("gs://")).upload(f"models/m/{name}", content_of(io.BytesIO(b"x")), ABSENT)
    with pytest.raises(StorageError, match="cannot be a file") as refused:
        local_tree(model)
    assert repr(name) in str(refused.value)


def test_a_directory_that_changes_all_the_time_is_given_up(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download, times = Bucket.download, []

    def changing(bucket: Bucket, name: str, meta: Any, file: Any) -> None:
        times.append(name)
        put(f"{model}/config.json", f"changed {len(times)}", tmp_path)
        download(bucket, name, meta, file)

    monkeypatch.setattr(Bucket, "download", changing)
    with pytest.raises(StorageError, match="change while they are read"):
        local_tree(model, ("config.json",))
    assert len(times) == 5
