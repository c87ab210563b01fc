"""Vectors in files: any order, no memory, full disks."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.errors import StorageError
from rankcli.records.vectors import Vectors, temporary_vectors


def test_rows_come_back_whatever_the_order_they_were_written_in(tmp_path: Path) -> None:
    draw = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    with (tmp_path / "vectors").open("w+b") as file:
        vectors = Vectors(file, tmp_path)
        vectors.put([7, 0, 3], draw[[7, 0, 3]])
        assert vectors.get([3, 7, 3]).tolist() == draw[[3, 7, 3]].tolist()
        vectors.put([1, 2], draw[[1, 2]])
        assert vectors.get(np.array([2, 0, 1])).tolist() == draw[[2, 0, 1]].tolist()
        with pytest.raises(IndexError):
            vectors.get([8])
    assert (tmp_path / "vectors").stat().st_size == 8 * 5 * 4
    with (tmp_path / "vectors").open("r+b") as file:
        assert Vectors(file, tmp_path, 5).get([7]).tolist() == draw[[7]].tolist()


def test_a_file_without_rows_has_none(tmp_path: Path) -> None:
    with (tmp_path / "vectors").open("w+b") as file, pytest.raises(IndexError):
        Vectors(file, tmp_path, 4).get([0])


def test_temporary_vectors_have_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    with temporary_vectors(("query", "doc")) as vectors:
        vectors["doc"].put([0], np.ones((1, 3), np.float32))
        assert vectors["doc"].get([0]).tolist() == [[1, 1, 1]] and not list((tmp_path / "cache").iterdir())


def test_a_full_disk_is_an_error_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device: 24 bytes were to be written"):
        Vectors(Full(), tmp_path).put([0], np.ones((1, 6), np.float32))  # type: ignore[arg-type]
