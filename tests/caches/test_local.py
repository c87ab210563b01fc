"""Local copies of buckets are listed, and removed by `rankcli cache prune`, but not while somebody needs them."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rankcli.caches.local import local_work, remove_work
from rankcli.cli import run
from rankcli.storage import inputs
from rankcli.storage.inputs import local_tree
from rankcli.storage.mark import mark_of
from rankcli.storage.mirror import Mirror
from rankcli.storage.open import open_storage
from tests.caches.caches import json_of
from tests.storage.children import child_in, kill


@pytest.fixture
def copies(gcs: Any, tmp_path: Path) -> dict[str, Path]:
    """A run directory in a bucket that was worked in here, and a directory of it that was read; nobody does so now."""
    mirror = Mirror(f"{gcs.uri}/runs/a", tmp_path / "cache")
    with mirror.claimed():
        (mirror.path / "run.json").write_text("{}")
        mirror.push()
    open_storage(gcs.uri).write_bytes("model/config.json", b"12345")
    tree = local_tree(f"{gcs.uri}/model")
    inputs._in_use.close()
    return {"run": mirror.path, "tree": tree.parent}


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return {each["path"]: each for each in json_of(capsys, "cache", "ls")["work"]}


def test_copies_are_listed_with_their_kind_and_size(
    copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listed(capsys)
    run_copy, tree = found[str(copies["run"])], found[str(copies["tree"])]
    assert (run_copy["kind"], run_copy["bytes"], run_copy["in_use"]) == ("copies of run directories", 2, False)
    assert (tree["kind"], tree["bytes"], tree["in_use"]) == ("copies of directories", 5, False)
    assert run(["cache", "ls"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    for line, path, kind in (
        (0, copies["run"], "copies of run directories"),
        (2, copies["tree"], "copies of directories"),
    ):
        assert lines[line].startswith(path.name) and f" {kind} " in lines[line] and lines[line].endswith(" s")
        assert lines[line + 1].strip() == mark_of(path).read_text() and lines[line + 1].strip().startswith("gs://")
    assert lines[4] == f"{tmp_path}/cache: 2 things made of inputs or downloaded, 7 bytes"


def test_what_nobody_reads_goes_and_is_fetched_again(
    gcs: Any, copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json_of(capsys, "cache", "prune", "--older-than", "1h")["removed"] == []
    done = json_of(capsys, "cache", "prune", "--unused")
    assert {each["path"]: each["why"] for each in done["removed"]} == dict.fromkeys(
        map(str, copies.values()), "nobody reads it now; it is made or fetched again when it is needed"
    )
    assert done["bytes_freed"] == 7 and not copies["run"].exists() and not copies["tree"].exists()
    assert (local_tree(f"{gcs.uri}/model") / "config.json").read_bytes() == b"12345"
    with Mirror(f"{gcs.uri}/runs/a", tmp_path / "cache").claimed():
        assert (copies["run"] / "run.json").read_text() == "{}"


@pytest.mark.faults
def test_what_a_process_works_in_or_reads_stays_until_it_ends(
    gcs: Any, copies: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def reading():  # type: ignore[no-untyped-def]
        local_tree(f"{gcs.uri}/model")
        yield

    for key, busy in (("run", Mirror(f"{gcs.uri}/runs/a", tmp_path / "cache").claimed()), ("tree", reading())):
        with child_in(busy) as child:
            assert listed(capsys)[str(copies[key])]["in_use"]
            done = json_of(capsys, "cache", "prune", "--max-bytes", "0")
            assert [(each["path"], each["why"]) for each in done["kept"]] == [(str(copies[key]), "in use")]
            assert copies[key].is_dir()
            kill(child)
            assert [each["path"] for each in json_of(capsys, "cache", "prune", "--max-bytes", "0")["removed"]] == [
                str(copies[key])
            ]


@pytest.mark.faults
def test_who_begins_after_it_was_listed_keeps_it(gcs: Any, copies: dict[str, Path], tmp_path: Path) -> None:
    @contextmanager
    def reading():  # type: ignore[no-untyped-def]
        local_tree(f"{gcs.uri}/model")
        yield

    idle = local_work(tmp_path / "cache")
    assert [(work.path, work.in_use) for work in idle] == [(copies["run"], False), (copies["tree"], False)]
    with child_in(Mirror(f"{gcs.uri}/runs/a", tmp_path / "cache").claimed()), child_in(reading()):
        assert [remove_work(work) for work in idle] == [False, False]
    assert (copies["run"] / "run.json").exists() and list(copies["tree"].glob("*/config.json"))
    assert [remove_work(work) for work in idle] == [True, True]
    assert local_work(tmp_path / "cache") == []
