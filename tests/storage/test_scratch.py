"""The unfinished files of killed processes are removed from a directory, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.storage.scratch import replacing_directory, sweep_files, sweep_tree

HALF = "tmp.4711.0123456789abcdef0123456789abcdef"
KEPT = ["run.json", "best/map/model.safetensors", "notes.tmp.1.ab", "tmp.txt", "x.tmp.1.0123"]
FILES = [f"run.json.{HALF}", f"best/dev.run.{HALF}"]
BUILT = [f"best/map.{HALF}/lock", f"best/map.{HALF}/built/model"]


def names(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in [*KEPT, *FILES, *BUILT]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("four")
    return tmp_path


def test_what_was_half_written_anywhere_goes_and_nothing_else(directory: Path, capsys: pytest.CaptureFixture) -> None:
    sweep_tree(directory, spared="mine")
    assert names(directory) == set(KEPT)
    said = capsys.readouterr().err
    assert f"removed what an interrupted run had left: run.json.{HALF}, 4 bytes\n" in said
    assert said.count("removed") == 3


def test_files_of_one_directory_alone(directory: Path) -> None:
    sweep_files(directory)
    assert names(directory) == {*KEPT, *FILES[1:], *BUILT}


def test_what_is_another_one_s_or_behind_a_link_or_being_built_stays(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for folder in (run / "fold-0", elsewhere):
        folder.mkdir(parents=True)
        (folder / f"a.run.{HALF}").write_text("half")
    (run / "fold-0" / "mine").touch()
    (run / "link").symlink_to(elsewhere)
    with replacing_directory(run / "best") as building:
        sweep_tree(run, spared="mine")
        (building / "model").write_text("whole")
    assert names(run) >= {"best/model", f"fold-0/a.run.{HALF}"}
    assert names(elsewhere) == {f"a.run.{HALF}"}
