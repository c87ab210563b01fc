"""A run directory in a bucket: what its readers see at any moment, and what another machine goes on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rankcli.errors import ConfigError, StorageError
from rankcli.storage import _gcs_lease
from rankcli.storage._gcs_objects import Bucket as Objects
from rankcli.storage.gcs import fetch_uri, list_uri, upload_uri
from rankcli.storage.inputs import local_tree
from rankcli.storage.mirror import Mirror

Contents = dict[str, str]


class Change(NamedTuple):
    kind: str
    name: str


class Writer:
    """Notes what is uploaded and deleted, by names below `run/`; the k-th change from now on can be made to fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.changes: list[Change] = []
        self.fail_at = -1
        upload, remove = Objects.upload, Objects.remove
        patch.setattr(Objects, "upload", lambda *args: self._noted("upload", upload, *args))
        patch.setattr(Objects, "remove", lambda *args: self._noted("delete", remove, *args))

    def _noted(self, kind: str, call: Any, bucket: Objects, name: str, *more: Any) -> Any:
        if name.endswith(".tmp.lock"):
            return call(bucket, name, *more)
        if len(self.changes) == self.fail_at:
            self.fail_at = -1
            raise StorageError("cut off")
        self.changes.append(Change(kind, name.removeprefix("run/")))
        return call(bucket, name, *more)


@pytest.fixture
def writer(gcs: Any, monkeypatch: pytest.MonkeyPatch) -> Writer:
    return Writer(monkeypatch)


def write(mirror: Mirror, contents: Contents) -> None:
    """Make the local folder hold exactly these files, each of them new."""
    for path in [path for path in mirror.path.rglob("*") if path.is_file()]:
        path.unlink()
    for name, text in contents.items():
        path = mirror.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def change(mirror: Mirror, before: Contents, after: Contents) -> None:
    """Change what differs between the two, and nothing else."""
    for name in before.keys() - after.keys():
        (mirror.path / name).unlink()
    for name, text in after.items():
        if before.get(name) != text:
            (mirror.path / name).parent.mkdir(parents=True, exist_ok=True)
            (mirror.path / name).write_text(text)


def local(mirror: Mirror) -> Contents:
    files = [path for path in mirror.path.rglob("*") if path.is_file()]
    return {path.relative_to(mirror.path).as_posix(): path.read_text() for path in files}


def remote(uri: str) -> Contents:
    return {name: fetch_uri(f"{uri}/{name}").read_text() for name in list_uri(uri)}


def checkpoint(name: str, text: str) -> Contents:
    folder = f"checkpoints/{name}"
    return {f"{folder}/ckpt.index": text, f"{folder}/ckpt.data": text, f"{folder}/state.json": text}


def weights(text: str) -> Contents:
    return {f"best/RR@10/{name}": text for name in ("config.json", "model.safetensors", "rankcli.json")}


EARLY = {"run.json": "id", "config.yaml": "c", "metrics.jsonl": "1\n", "dev.run": "old"}
SECOND = {**EARLY, **checkpoint("iter-00001", "one"), **checkpoint("iter-00002", "two"), **weights("old")}
THIRD = {
    **EARLY,
    "metrics.jsonl": "1\n2\n",
    "dev.run": "new",
    **checkpoint("iter-00002", "two"),
    **checkpoint("iter-00003", "three"),
    **weights("new"),
}
FINISHED = {**THIRD, "test.run": "t", "result.json": "{}"}


@pytest.fixture
def mirror(gcs: Any, tmp_path: Path) -> Mirror:
    """A mirror whose bucket and folder hold `SECOND`."""
    made = Mirror(f"{gcs.uri}/run", tmp_path / "cache")
    write(made, SECOND)
    made.push()
    return made


def test_a_local_directory_is_its_own_mirror(tmp_path: Path) -> None:
    made = Mirror(tmp_path / "out", tmp_path / "cache")
    with made.claimed():
        (made.path / "a").write_text("x")
        made.pull()
        made.push()
    assert made.path == tmp_path / "out" and local(made) == {"a": "x"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_what_is_pushed_is_pulled_on_another_machine(mirror: Mirror, gcs: Any, tmp_path: Path) -> None:
    assert remote(f"{gcs.uri}/run") == SECOND
    other = Mirror(f"{gcs.uri}/run", tmp_path / "other")
    with other.claimed():
        assert other.path != mirror.path and {**local(other), ".tmp.lock": ""} == {**SECOND, ".tmp.lock": ""}
        change(other, SECOND, FINISHED)
        (other.path / "checkpoints" / "iter-00004.tmp.1.ab").mkdir()
        (other.path / "checkpoints" / "iter-00004.tmp.1.ab" / "ckpt.data").write_text("half")
        other.push()
        assert remote(f"{gcs.uri}/run").keys() - FINISHED.keys() == {".tmp.lock"}
    assert remote(f"{gcs.uri}/run") == FINISHED


def test_a_pull_makes_the_folder_equal_to_the_bucket_and_keeps_equal_files(mirror: Mirror, tmp_path: Path) -> None:
    kept = (mirror.path / "config.yaml").stat()
    change(mirror, SECOND, {**SECOND, "metrics.jsonl": "9\n", "more/left.txt": "x"})
    (mirror.path / "dev.run").unlink()
    again = Mirror(mirror.uri, tmp_path / "cache")
    again.pull()
    assert local(again) == SECOND and not (again.path / "more").exists()
    assert (again.path / "config.yaml").stat().st_ino == kept.st_ino


def test_a_push_without_a_change_asks_nothing_of_the_bucket(mirror: Mirror, gcs: Any) -> None:
    gcs.proxy.calls.clear()
    mirror.push()
    assert gcs.proxy.calls == []
    mirror.pull()
    gcs.proxy.calls.clear()
    mirror.push()
    assert gcs.proxy.calls == []


def test_markers_are_deleted_first_and_uploaded_last(mirror: Mirror, writer: Writer) -> None:
    change(mirror, SECOND, FINISHED)
    mirror.push()
    assert writer.changes[0] == ("delete", "best/RR@10/rankcli.json")
    uploads = [name for kind, name in writer.changes if kind == "upload"]
    assert uploads[-3:] == ["best/RR@10/rankcli.json", "checkpoints/iter-00003/state.json", "result.json"]
    assert set(uploads) == {name for name, text in FINISHED.items() if SECOND.get(name) != text}
    assert writer.changes[1 + len(uploads) :] == [
        ("delete", "checkpoints/iter-00001/state.json"),
        ("delete", "checkpoints/iter-00001/ckpt.data"),
        ("delete", "checkpoints/iter-00001/ckpt.index"),
    ]


def test_the_result_goes_before_anything_of_a_finished_run_is_changed(mirror: Mirror, writer: Writer) -> None:
    change(mirror, SECOND, FINISHED)
    mirror.push()
    writer.changes.clear()
    change(mirror, FINISHED, {name: text for name, text in FINISHED.items() if name != "result.json"})
    (mirror.path / "run.json").write_text("anew")
    mirror.push()
    assert writer.changes == [("delete", "result.json"), ("upload", "run.json")]


def test_a_first_push_begins_with_what_says_whose_directory_it_is(gcs: Any, writer: Writer, tmp_path: Path) -> None:
    made = Mirror(f"{gcs.uri}/run", tmp_path / "cache")
    write(made, {"config.yaml": "c", "run.json": "id"})
    made.push()
    assert writer.changes == [("upload", "run.json"), ("upload", "config.yaml")]


CHANGES = 14  # of the push from SECOND to FINISHED: a marker goes, 10 uploads, 3 deletions


@pytest.mark.faults
@pytest.mark.parametrize("k", range(CHANGES))
def test_a_push_cut_off_anywhere_leaves_nothing_that_looks_complete_and_is_mixed(
    k: int, mirror: Mirror, writer: Writer, gcs: Any, tmp_path: Path
) -> None:
    change(mirror, SECOND, FINISHED)
    writer.fail_at = k
    with pytest.raises(StorageError, match="cut off"):
        mirror.push()
    assert len(writer.changes) == k
    assert_whole(remote(f"{gcs.uri}/run"))
    other = Mirror(f"{gcs.uri}/run", tmp_path / "other")
    other.pull()
    found = local(other)
    assert_whole(found)
    for folder, marker in FOLDERS.items():  # what has no marker is not there
        assert not any(name.startswith(f"{folder}/") for name in found) or f"{folder}/{marker}" in found
    write(other, FINISHED)  # another machine goes on, and brings it to its end
    other.push()
    assert remote(f"{gcs.uri}/run") == FINISHED


FOLDERS = {
    "best/RR@10": "rankcli.json",
    "checkpoints/iter-00001": "state.json",
    "checkpoints/iter-00002": "state.json",
    "checkpoints/iter-00003": "state.json",
}


def assert_whole(found: Contents) -> None:
    """Checkpoints with their marker are all old or all new, and one has it; a result is there last of all."""
    marked = [folder for folder, marker in FOLDERS.items() if f"{folder}/{marker}" in found]
    assert "checkpoints/iter-00002" in marked
    for folder in marked:
        parts = {name: text for name, text in found.items() if name.startswith(f"{folder}/")}
        assert len(parts) == 3 and len(set(parts.values())) == 1
    if "result.json" in found:
        assert {name: text for name, text in found.items() if "iter-00001" not in name} == FINISHED


def test_there_are_no_more_places_to_cut_than_that(mirror: Mirror, writer: Writer) -> None:
    change(mirror, SECOND, FINISHED)
    mirror.push()
    assert len(writer.changes) == CHANGES


def test_a_directory_is_set_aside_whole(mirror: Mirror, gcs: Any, writer: Writer) -> None:
    upload_uri(mirror.path / "run.json", f"{gcs.uri}/run.old-1/run.json")
    assert Mirror(mirror.uri, mirror.root).set_aside() == f"{gcs.uri}/run.old-2"
    assert remote(f"{gcs.uri}/run.old-2") == SECOND and remote(f"{gcs.uri}/run") == {}
    deleted = [name for kind, name in writer.changes if kind == "delete"]
    assert set(deleted[:3]) == {name for name in SECOND if name.endswith(("state.json", "rankcli.json"))}
    assert deleted[-1] == "run.json"
    assert sorted(mirror.path.parent.iterdir()) == [] or local(mirror) == {}


def test_somebody_else_who_writes_into_the_directory_is_noticed_and_not_overwritten(mirror: Mirror, gcs: Any) -> None:
    foreign = mirror.path.parent / "foreign"
    foreign.write_text("theirs")
    upload_uri(foreign, f"{gcs.uri}/run/dev.run")
    change(mirror, SECOND, THIRD)
    with pytest.raises(StorageError, match=r"run/dev.run: another process has written this object"):
        mirror.push()
    assert fetch_uri(f"{gcs.uri}/run/dev.run").read_text() == "theirs"


def test_one_process_at_a_time_has_a_directory(gcs: Any, tmp_path: Path) -> None:
    for where in (tmp_path / "out", f"{gcs.uri}/run"):
        with (
            Mirror(where, tmp_path / "cache").claimed(),
            pytest.raises(ConfigError, match=r"process \d+ of .* is training there") as refused,
            Mirror(where, tmp_path / "cache").claimed(),
        ):
            pass
        assert refused.value.where == str(where) and refused.value.exit_code == 2
        with Mirror(where, tmp_path / "cache").claimed():
            pass
    assert list((tmp_path / "out").iterdir()) == [] and list_uri(f"{gcs.uri}/run") == []


def test_what_a_dead_machine_had_is_taken_over_and_its_lock_is_no_content(
    mirror: Mirror, gcs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gcs_lease, "HEARTBEAT_S", 0.2)
    (tmp_path / "lock").write_text("process 1 of a machine that lost its power\n")
    for name in ("run", "new"):
        upload_uri(tmp_path / "lock", f"{gcs.uri}/{name}/.tmp.lock")
    assert not Mirror(f"{gcs.uri}/new", tmp_path / "other").exists()
    other = Mirror(f"{gcs.uri}/run", tmp_path / "other")
    with other.claimed():
        assert {**local(other), ".tmp.lock": ""} == {**SECOND, ".tmp.lock": ""}
    assert ".tmp.lock" not in list_uri(f"{gcs.uri}/run")


def test_a_file_is_no_directory_to_train_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, what in (("file", "this is a file"), ("file/run", "cannot be made: Not a directory")):
        with pytest.raises(ConfigError, match=what), Mirror(tmp_path / name, tmp_path).claimed():
            pass


def test_a_tree_of_a_directory_that_is_being_replaced_is_old_or_new(
    mirror: Mirror, gcs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing and the first download the weights are replaced: the copy begins again."""
    download, times = Objects.download, []

    def replaced(bucket: Objects, name: str, meta: Any, file: Any) -> None:
        if not times:
            times.append(name)
            change(mirror, SECOND, THIRD)
            mirror.push()
        download(bucket, name, meta, file)

    monkeypatch.setattr(Objects, "download", replaced)
    copy = local_tree(f"{gcs.uri}/run/best/RR@10")
    assert {path.name: path.read_text() for path in copy.iterdir()} == {
        "config.json": "new",
        "model.safetensors": "new",
        "rankcli.json": "new",
    }
