"""`rankcli cache prune`: nothing in use goes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rankcli.errors import StorageError
from rankcli.runs.uses import using
from rankcli.storage.local import LocalStorage
from tests.caches.caches import DAY, ROOT, Caches, another_process, but_sources, removed


def test_prune_removes_what_was_last_used_longer_ago(caches: Caches) -> None:
    for split, days in (("train", 40), ("dev", 29.9), ("test", 40)):
        caches.age(split, days)
    with using(caches.storage, caches.manifest("test"), str(caches.folder), None):
        pass
    before = caches.tree()
    code, text, _ = caches.cache("prune", "--older-than", "30d", "--dry-run")
    freed, rest = caches.bytes["train"], caches.bytes["dev"] + caches.bytes["test"]
    assert code == 0 and caches.tree() == before
    assert text == (
        f"would remove {caches.path()}, {freed:,} bytes: last used 40 d ago\n"
        f"{freed:,} bytes would be freed, {rest:,} bytes are left\n"
    )
    done = caches.json("cache", "prune", "--older-than", "30d", "--storage", caches.uri)
    assert done == {
        "schema_version": 1,
        "storage": caches.storage.uri,
        "dry_run": False,
        "removed": [{"path": str(caches.path()), "bytes": freed, "why": "last used 40 d ago"}],
        "kept": [],
        "failed": [],
        "bytes_freed": freed,
        "bytes_left": rest,
    }
    assert caches.tree() == {name: data for name, data in before.items() if not name.startswith(caches.at["train"])}
    assert set(caches.listed()) == {caches.at["dev"], caches.at["test"]}


def test_prune_to_a_size_removes_what_was_used_longest_ago(caches: Caches) -> None:
    for split, days in (("train", 2), ("dev", 3), ("test", 1)):
        caches.age(split, days)
    total = sum(caches.bytes.values())
    assert removed(caches.cache("prune", "--max-bytes", str(total))[1]) == []
    assert removed(caches.cache("prune", "--max-bytes", str(total - 1))[1]) == [str(caches.path("dev"))]
    code, text, _ = caches.cache("prune", "--max-bytes", "1K")
    assert (code, removed(text)) == (0, [str(caches.path("train")), str(caches.path("test"))])
    assert "more than 1,000 bytes in all" in text and caches.listed() == {}


@pytest.mark.faults
@pytest.mark.parametrize("how", ["s.hold({!r})", "s.lock({!r}.split('/')[0])"])
def test_what_another_process_uses_or_converts_survives(how: str, caches: Caches) -> None:
    before = caches.tree()
    with another_process(f"{caches.storage.uri}|{how.format(caches.at['train'])}"):
        code, text, _ = caches.cache("prune", "--older-than", "0h", "--unused", "--max-bytes", "0")
        kept = {name: data for name, data in before.items() if name.startswith(caches.at["train"])}
        assert code == 0 and caches.tree() == kept
        assert f"kept {caches.path()}, {caches.bytes['train']:,} bytes: in use\n" in text
    assert caches.cache("prune", "--older-than", "0h")[0] == 0 and caches.tree() == {}


def test_what_is_held_survives(anywhere: Caches) -> None:
    with anywhere.storage.hold(anywhere.at["dev"]):
        done = anywhere.json("cache", "prune", "--max-bytes", "0", "--storage", anywhere.uri)
    kept = {"path": f"{anywhere.uri}/records/{anywhere.at['dev']}", "bytes": anywhere.bytes["dev"], "why": "in use"}
    assert (done["kept"], done["bytes_left"]) == ([kept], anywhere.bytes["dev"])
    assert list(anywhere.listed()) == [anywhere.at["dev"]] and anywhere.cache("verify")[0] == 0


@pytest.mark.faults
def test_who_begins_to_read_while_it_goes_keeps_it(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    before, delete = caches.tree(), LocalStorage.delete
    with ExitStack() as stack:

        def delete_and_hold(self: LocalStorage, name: str) -> None:
            delete(self, name)
            if name == f"{caches.at['train']}/manifest.json":
                stack.enter_context(self.hold(caches.at["train"]))

        monkeypatch.setattr(LocalStorage, "delete", delete_and_hold)
        code, text, _ = caches.cache("prune", "--max-bytes", "0")
    assert code == 0 and "bytes: in use\n" in text
    assert caches.tree() == {name: data for name, data in before.items() if name.startswith(caches.at["train"])}


@pytest.mark.faults
def test_a_foreign_file_that_arrives_while_prune_waits_for_the_lock_stays(
    caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, manifest = LocalStorage.lock, caches.manifest()
    notes = Path(caches.storage.uri, caches.at["train"], "my notes.txt")

    @contextmanager
    def write_first(self: LocalStorage, name: str) -> Iterator[None]:
        if name == manifest.cache_id:
            notes.write_text("mine")
        with lock(self, name):
            yield

    monkeypatch.setattr(LocalStorage, "lock", write_first)
    code, text, _ = caches.cache("prune", "--unused")
    assert code == 0 and notes.read_text() == "mine"
    assert f"kept {caches.path()}, {caches.bytes['train']:,} bytes: it holds 'my notes.txt', which is not ours" in text


@pytest.mark.faults
def test_who_used_it_while_prune_waited_for_the_lock_keeps_it(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, manifest = LocalStorage.lock, caches.manifest()

    @contextmanager
    def use_first(self: LocalStorage, name: str) -> Iterator[None]:
        if name == manifest.cache_id:
            with using(self, manifest, str(caches.folder), None):
                pass
        with lock(self, name):
            yield

    monkeypatch.setattr(LocalStorage, "lock", use_first)
    code, text, _ = caches.cache("prune", "--unused")
    assert code == 0 and f"kept {caches.path()}, {caches.bytes['train']:,} bytes: used meanwhile\n" in text
    assert list(caches.listed()) == [caches.at["train"]] and caches.cache("verify")[0] == 0


@pytest.mark.faults
def test_what_cannot_be_removed_is_said_and_the_rest_goes(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = LocalStorage.delete

    def refuse(self: LocalStorage, name: str) -> None:
        if name == caches.at["dev"]:
            raise StorageError("Permission denied", where=name)
        delete(self, name)

    monkeypatch.setattr(LocalStorage, "delete", refuse)
    code, text, err = caches.cache("prune", "--max-bytes", "0")
    assert code == 6 and f"\nerror: {caches.storage.uri}: 1 could not be removed\n" in err
    place = f"{caches.path('dev')}, {caches.bytes['dev']:,} bytes"
    assert f"not removed {place}: {caches.at['dev']}: Permission denied\n" in text
    assert list(caches.listed()) == [caches.at["dev"]]


def test_a_cache_that_other_machines_extend_is_kept(caches: Caches) -> None:
    caches.age("train", 40)
    receipt = caches.path(name="parts") / "shard-00-00000003-00000005.tfrecord.json"
    receipt.parent.mkdir()
    receipt.touch()
    now = time.time()
    os.utime(receipt, (now, now - 3000))
    code, text, _ = caches.cache("prune", "--older-than", "0h", "--unused")
    assert code == 0 and f"kept {caches.path()}, {caches.bytes['train']:,} bytes: its conversion may go on\n" in text
    os.utime(receipt, (now, now - 4000))
    assert removed(caches.cache("prune", "--older-than", "1h")[1]) == [str(caches.path())]


KILLED = """
import os, sys
from rankcli.cli import run
from rankcli.storage.local import LocalStorage
delete = LocalStorage.delete
def die(self, name):
    if not name.endswith("manifest.json"):
        os._exit(9)
    delete(self, name)
LocalStorage.delete = die
run(["cache", "prune", "--older-than", "30d"])
"""


@pytest.mark.faults
def test_a_prune_that_is_killed_leaves_no_cache_but_what_a_conversion_goes_on_with(caches: Caches) -> None:
    before = caches.tree()
    caches.age("train", 31)
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    manifest = f"{caches.at['train']}/manifest.json"
    assert caches.tree() == {name: data for name, data in before.items() if name != manifest}
    assert caches.listed()[caches.at["train"]]["state"] == "interrupted"
    code, _, _ = caches.run("convert", "--config", str(caches.folder / "crossencoder.yaml"))
    assert code == 0 and caches.listed()[caches.at["train"]]["state"] == "complete"
    assert but_sources(caches.tree()) == but_sources(before)


def test_what_interrupted_conversions_left_goes_by_age(caches: Caches) -> None:
    caches.path("train", "manifest.json").unlink()
    work = caches.folder / "cache" / "work"
    dead, alive = "0" * 16 + "-" + "d" * 16, "0" * 16 + "-" + "a" * 16
    for name in (dead, alive):
        (work / name).mkdir(parents=True)
        (work / name / "texts").write_bytes(b"12345")
        (work / name / "lock").touch()
    found = caches.json("cache", "ls", "--storage", caches.uri)
    assert (found["work_bytes"], [Path(each["path"]).name for each in found["work"]]) == (10, [alive, dead])
    made = f"\n{caches.folder}/cache: 2 things made of inputs or downloaded, 10 bytes\n"
    assert caches.cache("ls")[1].endswith(made)
    text = caches.cache("prune", "--older-than", "0h", "--dry-run")[1]
    assert f"kept {caches.path()}, {caches.bytes['train']:,} bytes: its conversion may go on\n" in text
    caches.age("train", 31)
    for name in (dead, alive):
        for path in (work / name).iterdir():
            os.utime(path, (0, time.time() - 31 * DAY))
    assert removed(caches.cache("prune", "--unused", "--dry-run")[1]) == []
    assert str(caches.path()) not in caches.cache("prune", "--unused", "--dry-run")[1]
    with another_process(f"{work}|s.lock('{alive}')"):
        os.utime(work / alive / "lock", (0, 0))
        code, text, _ = caches.cache("prune", "--older-than", "30d")
    assert code == 0 and sorted(removed(text)) == sorted([str(caches.path()), str(work / dead)])
    assert re.search(rf"^kept {work / alive}, \d+ bytes: in use$", text, re.MULTILINE)
    assert f"{caches.bytes['train'] + 5:,} bytes freed" in text
    assert os.listdir(work) == [alive] and len(caches.listed()) == 2


def test_nothing_goes_that_is_not_proved_to_be_ours(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache folder is a project's folder, with a run directory and files of people in every folder that we use."""
    tiny("crossencoder")
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path))
    caches = Caches(tmp_path, str(tmp_path), capsys)
    for path in (*tmp_path.glob("docs-*"), *tmp_path.glob("first-stage-*")):
        path.unlink()  # ours, and not of this test
    foreign = [
        *("runs/small/best/map/model.safetensors", "runs/small/run.json", "trees/oak/lock", f"trees/{'a' * 16}/lock"),
        *("work/thesis/lock", f"work/{'a' * 16}-{'b' * 16}/thesis.doc", f"work/{'c' * 16}-{'d' * 16}/lock.doc"),
        *("records/my-thesis/1/thesis.doc", f"records/{'a' * 16}/1/thesis.doc", f"runs/{'f' * 32}/run.json"),
        *(
            f"records/{caches.at['dev']}/my notes.txt",
            f"records/{caches.at['test']}/parts/shard.json",
            "docs-my.sqlite",
        ),
    ]
    for name in foreign:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (0, 0))
    for criterion in (["--unused"], ["--older-than", "0h"], ["--max-bytes", "0"]):
        code, text, err = caches.cache("prune", *criterion)
        assert code == 0 and [(tmp_path / name).read_text() for name in foreign] == foreign
        assert (
            f"kept {caches.path('dev')}, {caches.bytes['dev']:,} bytes: it holds 'my notes.txt', which is not ours"
            in text
        )
        if criterion == ["--unused"]:
            assert (
                err
                == f"removing {caches.path()}, {caches.bytes['train']:,} bytes: used by no run directory that exists\n"
            )
    assert set(caches.listed()) == {caches.at["dev"], caches.at["test"], f"{'a' * 16}/1"}
