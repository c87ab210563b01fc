"""Files of arrays: what was written comes back, and what has changed is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankcli.errors import StorageError
from rankcli.records.flat import Flat, Joined, intact, write_flat

ARRAYS = st.lists(st.lists(st.integers(0, 255), max_size=5), max_size=6)


@given(arrays=ARRAYS, dtype=st.sampled_from(["uint8", "uint16", "float32", "int64"]))
def test_arrays_come_back(tmp_path_factory: pytest.TempPathFactory, arrays: list[list[int]], dtype: str) -> None:
    path = tmp_path_factory.mktemp("flat") / "file"
    write_flat(path, Joined.of([np.array(values, dtype) for values in arrays]), dtype)
    flat = Flat(path, dtype)
    assert [flat[n].tolist() for n in range(len(flat))] == arrays and intact(path)
    assert all(flat[n].dtype == dtype for n in range(len(flat)))


@pytest.mark.faults
def test_every_cut_and_every_flipped_bit_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_flat(path, Joined.of([np.arange(3), np.arange(0), np.arange(4)]), np.uint16)
    content = path.read_bytes()
    assert len(content) == 8 + 3 * 8 + 7 * 2 + 4 and intact(path)
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert not intact(path)
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert not intact(path)
    assert not intact(tmp_path / "missing") and not intact(tmp_path)


def test_a_missing_file_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        Flat(tmp_path / "missing", np.uint8)
