"""Run directories that use a cache are noted, and keep it from being pruned while they exist."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from rankcli.runs.uses import CachePruned, using
from tests.caches.caches import Caches, removed


def test_prune_of_unused_keeps_what_an_existing_run_used(anywhere: Caches) -> None:
    (anywhere.folder / "kept").mkdir()
    for split, name in (("train", "kept"), ("dev", "lost")):
        with using(anywhere.storage, anywhere.manifest(split), str(anywhere.folder / name), "ab12"):
            pass
    code, text, _ = anywhere.cache("prune", "--unused")
    assert code == 0 and text.count("used by no run directory that exists") == 2
    assert list(anywhere.listed()) == [anywhere.at["train"]]
    assert anywhere.cache("verify")[0] == 0
    assert anywhere.storage.list(anywhere.at["dev"]) == anywhere.storage.list(anywhere.at["test"]) == []
    (anywhere.folder / "kept").rmdir()
    done = anywhere.json("cache", "prune", "--older-than", "1d", "--unused", "--storage", anywhere.uri)
    assert (done["bytes_freed"], done["bytes_left"]) == (anywhere.bytes["train"], 0)


def test_a_run_directory_of_another_machine_may_exist(caches: Caches) -> None:
    with using(caches.storage, caches.manifest(), str(caches.folder / "lost"), "ab12"):
        pass
    (note,) = caches.path(name="runs").iterdir()
    note.write_text(note.read_text().replace(json.dumps(socket.gethostname()), '"far-away"'))
    assert f"used by {caches.folder / 'lost'} of far-away, " in caches.cache("ls")[1]
    assert sorted(removed(caches.cache("prune", "--unused")[1])) == sorted(map(str, map(caches.path, ("dev", "test"))))


def test_who_comes_after_a_prune_is_told_to_convert_again(caches: Caches) -> None:
    manifest = caches.manifest()
    assert caches.cache("prune", "--unused")[0] == 0
    with pytest.raises(CachePruned), using(caches.storage, manifest, "run", None):
        raise AssertionError("it is gone")
    assert caches.listed() == {}


def test_a_use_is_noted_once_per_run_directory_with_its_last_time(
    caches: Caches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(caches.folder)
    for _ in range(2):
        with using(caches.storage, caches.manifest(), "runs/a", "ab12"):
            assert caches.storage.held(caches.at["train"])
            (note,) = caches.path(name="runs").iterdir()
            os.utime(note, (0, 0))
        assert time.time() - note.stat().st_mtime < 60 and not caches.storage.held(caches.at["train"])
    content = json.loads(note.read_text())
    assert {key: content[key] for key in ("schema_version", "run_dir", "run_id", "host")} == {
        "schema_version": 1,
        "run_dir": str(caches.folder / "runs" / "a"),
        "run_id": "ab12",
        "host": socket.gethostname(),
    }


@pytest.mark.faults
def test_notes_that_are_no_notes_are_passed_over(caches: Caches) -> None:
    runs = caches.path(name="runs")
    runs.mkdir()
    (runs / "a.json").write_text("[]")
    (runs / "b.json").symlink_to("/etc/passwd")
    os.mkfifo(runs / "c.json")
    (runs / "d.json").write_text(json.dumps({"run_dir": "/a\x1b[2Jb", "run_id": None, "host": "h"}))
    code, text, err = caches.cache("ls")
    assert code == 0 and err.count("passed over") == 3 and "\x1b" not in text
    assert "used by '/a\\x1b[2Jb of h', " in text
