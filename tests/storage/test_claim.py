"""A directory that one process has: what a killed one was writing in it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.storage.claim import LOCK, claimed
from rankcli.storage.scratch import replacing_directory

HALF = "tmp.4711.0123456789abcdef0123456789abcdef"


def test_what_was_half_written_anywhere_goes_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    kept = ["run.json", "best/map/model.safetensors", "notes.tmp.1.ab", "tmp.txt", "x.tmp.1.0123"]
    gone = [f"run.json.{HALF}", f"best/dev.run.{HALF}", f"best/map.{HALF}/lock", f"best/map.{HALF}/built/model"]
    for name in [*kept, *gone]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("four")
    with claimed(tmp_path, "run"):
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept, LOCK}
    said = capsys.readouterr().err
    assert f"removed what an interrupted run had left: run.json.{HALF}, 4 bytes\n" in said
    assert said.count("removed") == 3


def test_what_lies_in_another_ones_directory_or_behind_a_link_or_is_being_built_stays(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run / "fold-0", elsewhere):
        folder.mkdir(parents=True)
        (folder / f"a.run.{HALF}").write_text("half")
    (run / "fold-0" / LOCK).touch()
    (run / "link").symlink_to(elsewhere)
    with replacing_directory(run / "best") as building, claimed(run, "run"):
        (building / "model").write_text("whole")
    assert (run / "best" / "model").read_text() == "whole"
    assert (run / "fold-0" / f"a.run.{HALF}").exists() and (elsewhere / f"a.run.{HALF}").exists()
    with claimed(run / "fold-0", "fold"):
        assert [path.name for path in (run / "fold-0").iterdir()] == [LOCK]
