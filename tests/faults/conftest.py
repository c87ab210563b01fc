"""Fault tests: kills, damage, full disks and races, against real processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.project import Project, write_collection
from tests.faults.training import Trainings, zygote

sys.path.insert(0, str(Path(__file__).parents[1] / "records"))


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents, queries, judgments and `config.yaml`."""
    folder = tmp_path_factory.mktemp("collection")
    write_collection(folder)
    return folder


@pytest.fixture
def project(collection: Path, tmp_path: Path) -> Iterator[Project]:
    """The collection with an empty cache; processes that a test has left end with it."""
    made = Project(collection, tmp_path / "cache")
    yield made
    made.end()


@pytest.fixture(scope="session")
def whole(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The collection, converted without interruption."""
    made = Project(collection, tmp_path_factory.mktemp("whole") / "cache")
    done = made.run("convert", "--split", "train")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="session")
def trainings(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainings]:
    """Trainings on the collection, in processes that start at once."""
    folder = tmp_path_factory.mktemp("trainings")
    with zygote(folder / "cache") as parent:
        yield Trainings(parent, collection / "config.yaml", folder)
