"""The bytes that a compiled program moves between HBM and the chip, from its text.

The compiler's own `bytes accessed` also has what stays in the chip's fast memory (128 MiB on a v5e), which costs almost
nothing: no bound of time follows from it. The text tells the memory of each array: `S(1)` and above are on the chip.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_HEADER = re.compile(r"(?:ENTRY )?%([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)")
_ARRAY = re.compile(r"([a-z]+)(\d*)\w*\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.-]+)")
_CALLED = re.compile(r"(?:calls|body|condition|to_apply)=%([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_FREE = frozenset(
    ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "optimization-barrier")
)
_ROWS = frozenset(("dynamic-slice", "gather", "slice"))  # they read as much as they return


class _Instruction(NamedTuple):
    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    line: str
    root: bool


_Program = Mapping[str, Mapping[str, _Instruction]]


def moved(text: str) -> float:
    """Return the bytes that a run of an optimised module reads from and writes to HBM.

    Each operation reads its operands and writes its results once. Of a look-up, the rows that it returns count; of an
    update in place, those that it writes. Of branches, the one that moves most counts. A loop of unknown length counts
    once.
    """
    program: dict[str, dict[str, _Instruction]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = header[1]
            program[current] = {}
            entry = current if line.startswith("ENTRY") else entry
        elif found := _INSTRUCTION.match(line):
            root, name, kind, opcode, rest = found.groups()
            operands = tuple(_NAME.findall(rest.partition(")")[0]))
            program[current][name] = _Instruction(name, kind, opcode, operands, line, bool(root))
    return _all_of(program, entry)


def summed(text: str) -> float:
    """Return the bytes that an optimised module sums over replicas, loops once."""
    found = (each for each in map(_INSTRUCTION.match, text.splitlines()) if each)
    return sum(_size(each[3]) for each in found if each[4] == "all-reduce")


def _all_of(program: _Program, name: str) -> float:
    return sum(_of(program, program[name], each) for each in program[name].values())


def _of(program: _Program, around: Mapping[str, _Instruction], each: _Instruction) -> float:
    if each.opcode in _FREE or each.opcode.endswith(("-update", "-done")) or "ConcatBitcast" in each.line:
        return 0.0
    if each.opcode in ("while", "call", "async-start"):
        trips = _TRIPS.search(each.line)
        return (int(trips[1]) if trips else 1) * sum(_all_of(program, name) for name in _CALLED.findall(each.line))
    if each.opcode == "conditional" and (branches := _BRANCHES.search(each.line)):
        return max(_all_of(program, name) for name in _NAME.findall(branches[1]))
    if each.opcode.endswith("-start"):  # a copy of an array, or of a part of it, while the chip computes
        (here, inside), (there, outside) = [_sizes(kind)[:2] for kind in list(_arrays(each.type))[:2]]
        return min(here + inside, there + outside) * ((here > 0) + (there > 0))
    inner = _inner(program, around, each)
    read = sum(_read(around[name].type, inner, n) for n, name in enumerate(each.operands) if name in around)
    return read + _written(each.type, inner)


def _inner(program: _Program, around: Mapping[str, _Instruction], each: _Instruction) -> Mapping[str, _Instruction]:
    """Return the operations of a fusion; those of another instruction are itself, with parameters."""
    called = _CALLED.search(each.line)
    if each.opcode == "fusion" and called:
        return program[called[1]]
    given = {
        f"{n}": _Instruction(
            f"{n}", around[name].type if name in around else "", "parameter", (), f"parameter({n})", False
        )
        for n, name in enumerate(each.operands)
    }
    return {**given, each.name: each._replace(operands=tuple(given), root=True)}


def _read(kind: str, inner: Mapping[str, _Instruction], place: int) -> float:
    """Return the bytes that are read of an operand of this type, the parameter number `place`."""
    whole = _bytes(kind)
    names = {each.name for each in inner.values() if each.opcode == "parameter" and f"parameter({place})" in each.line}
    users = [each for each in inner.values() if names & set(each.operands)]
    if whole and users and all(_is_row(each, names) for each in users):
        return min(whole, sum(_part(each) for each in users))
    return whole


def _is_row(each: _Instruction, names: set[str]) -> bool:
    first = each.operands[0] in names and not names & set(each.operands[1:])
    return first and each.opcode in (*_ROWS, "dynamic-update-slice")


def _part(each: _Instruction) -> float:
    return 0.0 if each.opcode == "dynamic-update-slice" else _size(each.type)


def _written(kind: str, inner: Mapping[str, _Instruction]) -> float:
    root = next(each for each in inner.values() if each.root)
    if root.opcode == "dynamic-update-slice":
        return min(_bytes(kind), _size(inner[root.operands[1]].type))
    return _bytes(kind)


def _size(kind: str) -> float:
    """Return the bytes of arrays, wherever they are: within a fusion, an array may have no place."""
    return sum(sum(_sizes(each)) for each in _arrays(kind))


def _bytes(kind: str) -> float:
    return sum(_sizes(each)[0] for each in _arrays(kind))


def _arrays(kind: str) -> Iterator[str]:
    return (found[0] for found in _ARRAY.finditer(kind))


def _sizes(array: str) -> tuple[float, float]:
    """Return the bytes of an array in HBM, and on the chip."""
    found = _ARRAY.fullmatch(array)
    assert found
    bits = int(found[2] or 8)  # `pred` has no number, and a byte
    size = math.prod(int(n) for n in found[3].split(",") if n) * bits / 8
    return (0.0, size) if "S(" in (found[4] or "") else (size, 0.0)
