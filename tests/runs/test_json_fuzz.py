"""The JSON files of a run directory with any one value changed: each reader works on, or one error says why not.

The checksums are made anew, as by somebody who edits on purpose: they alone must not keep a reader from crashing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankcli.cli import run
from rankcli.storage.sealed import with_checksum
from rankcli.training.checkpoint import _checksum
from tests.conftest import write_collection
from tests.mutated import mutants

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(FEW, max_examples=3_000)
CONFIG = (
    "data: {docs: docs.jsonl, queries: queries.jsonl, qrels: qrels.txt, folds: {k: 3, fold: 0}}\n"
    "reranker: TFKNRM\ntrainer: {niters: 1, itersize: 8, strategy: cpu}\n"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run in `runs/small`, and the working directory there."""
    folder = tmp_path_factory.mktemp("project")
    write_collection(folder)
    (folder / "small.yaml").write_text(CONFIG)
    before, cache = Path.cwd(), os.environ.get("RANKCLI_CACHE")
    os.environ["RANKCLI_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    assert run(["train", "small.yaml", "-q"]) == 0
    yield folder
    os.chdir(before)
    os.environ.pop("RANKCLI_CACHE")
    if cache is not None:
        os.environ["RANKCLI_CACHE"] = cache


def resealed(content: Any) -> Any:
    """The content with a new checksum, where it can have one."""
    try:
        return with_checksum(content)
    except (TypeError, ValueError):
        return content


def check(project: Path, data: st.DataObject) -> None:
    """Change one value of one file; the readers of run directories end with a documented code."""
    name = data.draw(st.sampled_from(["run.json", "result.json"]))
    place = project / "runs" / "small"
    content = json.loads((place / name).read_text())
    content.pop("checksum", None)
    changed = data.draw(mutants(content))
    shutil.copytree(place, project / "changed", dirs_exist_ok=True)
    (project / "changed" / name).write_text(json.dumps(resealed(changed)))
    for command in (["evaluate", "--model", "changed"], ["evaluate", "--model", "changed", "--json"]):
        assert run(command) in (0, 2, 3, 4, 6), (name, changed)
    assert run(["train", "small.yaml", "-o", "changed", "--dry-run", "-q"]) == 0


@FEW
@given(st.data())
def test_any_change_is_read_or_is_one_error(project: Path, data: st.DataObject) -> None:
    check(project, data)


@pytest.mark.slow
@MANY
@given(st.data())
def test_any_change_is_read_or_is_one_error_often(project: Path, data: st.DataObject) -> None:
    check(project, data)


def check_state(project: Path, state: Any) -> None:
    place = project / "resumed"
    shutil.copytree(project / "runs" / "small", place, dirs_exist_ok=True)
    (place / "result.json").unlink(missing_ok=True)
    (checkpoint,) = (place / "checkpoints").iterdir()
    text = json.dumps({**state, "sha256": _checksum(state)} if isinstance(state, dict) else state)
    (checkpoint / "state.json").write_text(text)
    assert run(["train", "small.yaml", "-o", "resumed", "-q"]) in (0, 6), state
    shutil.rmtree(place)


def state_of(project: Path) -> Any:
    (file,) = (project / "runs" / "small" / "checkpoints").glob("*/state.json")
    content = json.loads(file.read_text())
    del content["sha256"]
    return content


@settings(FEW, max_examples=3)
@given(st.data())
def test_any_state_resumes_or_is_one_error(project: Path, data: st.DataObject) -> None:
    check_state(project, data.draw(mutants(state_of(project))))


@pytest.mark.slow
@settings(FEW, max_examples=150)
@given(st.data())
def test_any_state_resumes_or_is_one_error_often(project: Path, data: st.DataObject) -> None:
    check_state(project, data.draw(mutants(state_of(project))))
