"""The names of TPUs, and what one replica has of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.chips.compile import Compiled, _figures
from rankcli.chips.figures import CHIPS, GIB, Slice
from rankcli.chips.lowering import Program
from rankcli.errors import ConfigError

V5E = CHIPS["v5e"]
SIZES = {"argument": 5, "temp": 7, "output": 3, "alias": 2, "generated_code": 1}


@pytest.mark.parametrize(
    ("name", "replicas"), [("v5e-8", 8), ("v6e-1", 1), ("v3-8", 8), ("v4-8", 8), ("v5p-8", 4), ("v5e-256", 256)]
)
def test_a_slice_has_a_replica_per_device(name: str, replicas: int) -> None:
    found = Slice.of(name)
    assert (found.name, found.replicas, found.chip.name) == (name, replicas, name.partition("-")[0])


@pytest.mark.parametrize("name", ["v5e", "v5e-0", "v5p-3", "v9-8", "h100", "v5e-8\n", ""])
def test_another_name_is_refused_with_one_that_is_known(name: str) -> None:
    with pytest.raises(ConfigError, match=r"use (one such as v3-8|v5p-8|v5e-8)"):
        Slice.of(name)


def test_memory_counts_what_is_written_in_place_once(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("ENTRY %main () -> f32[409500000000] {\n  ROOT %x = f32[409500000000]{0} iota()\n}\n")
    found = _figures(Program("step", "", 4), V5E, {"bytes": SIZES, "flops": 197e12, "text": str(text), "seconds": 1.0})
    assert found.memory == 5 + 7 + 3 - 2 + 1
    assert (found.computing, found.moving, found.least, found.handled, found.fits) == (1.0, 2.0, 2.0, 4, True)


def test_a_program_that_is_too_large_has_the_bytes_of_the_message() -> None:
    said = (
        "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (134.43G) exceeds available HBM (15.75G). HLO module: m.\nSee https://openxla.org."
    )
    found = _figures(Program("step", "", 1), V5E, {"error": said, "seconds": 44.6})
    assert (found.memory, found.fits, found.error) == (int(134.43 * GIB), False, "")


def test_another_error_is_the_result() -> None:
    found = _figures(Program("step", "", 1), V5E, {"error": "UNIMPLEMENTED: no\nmore", "seconds": 0.1})
    assert (found.error, found.fits) == ("UNIMPLEMENTED: no", False)


def test_what_just_fits_fits() -> None:
    assert Compiled("step", V5E, 1, 0.0, memory=V5E.memory).fits
    assert not Compiled("step", V5E, 1, 0.0, memory=V5E.memory + 1).fits
