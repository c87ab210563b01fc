"""TPUs by their names, with the figures of what one replica has of a chip.

Peak bfloat16 compute, HBM and bandwidth per chip are those of Cloud TPU's documentation (its pages on v3, v4, v5e, v5p
and v6e). The memory that a program may use is what the compiler (libtpu 0.0.52) tells about one that is too large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rankcli.errors import ConfigError


@dataclass(frozen=True)
class Chip:
    """A generation of chips: bfloat16 FLOP/s, bytes/s of HBM and bytes of HBM of one device, which is one replica.

    The devices are those of the compiler's `topology`, which has `TOGETHER` of them: a core of a v3 or v4, two cores of
    a v5p, the only core of a v5e or v6e. `cores` are the cores of a device, which the names of slices count where chips
    have two.
    """

    name: str
    flops: float
    bandwidth: float
    memory: int
    topology: str
    cores: int = 1


GIB = 1 << 30
TOGETHER = 8
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v3", 123e12 / 2, 900e9 / 2, int(15.48 * GIB), "v3:2x2"),
        Chip("v4", 275e12 / 2, 1228e9 / 2, int(15.25 * GIB), "v4:2x2x1"),
        Chip("v5e", 197e12, 819e9, int(15.75 * GIB), "v5e:2x4"),
        Chip("v5p", 459e12, 2765e9, int(95.73 * GIB), "v5p:2x2x2", cores=2),
        Chip("v6e", 918e12, 1640e9, int(31.24 * GIB), "v6e:2x4"),
    )
}
_SLICE = re.compile(r"(v\d[a-z]*)-(\d{1,5})")


@dataclass(frozen=True)
class Slice:
    """A TPU as it is rented: a chip, and the number of replicas."""

    name: str
    chip: Chip
    replicas: int

    @classmethod
    def of(cls, name: str) -> Slice:
        """Return the TPU called `name`, such as `v5e-8`; ConfigError for another name."""
        found = _SLICE.fullmatch(name)
        chip = CHIPS.get(found[1]) if found else None
        if not found or chip is None:
            known = ", ".join(f"{chip}-8" for chip in CHIPS)
            raise ConfigError(f"{name!r} is no TPU that is known here", where="--for", fix=f"use one such as {known}")
        replicas, left = divmod(int(found[2]), chip.cores)
        if left or not replicas:
            raise ConfigError(
                f"a {chip.name} is counted in cores, {chip.cores} to a chip", where="--for", fix=f"use {chip.name}-8"
            )
        return cls(name, chip, replicas)
