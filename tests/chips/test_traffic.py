"""Bytes to and from HBM, counted in the text of compiled programs."""

from __future__ import annotations

from typing import Any

import pytest

from rankcli.backend import tf
from rankcli.chips.compile import check_compiler, compiled
from rankcli.chips.figures import CHIPS
from rankcli.chips.lowering import Program, stablehlo
from rankcli.chips.traffic import moved
from rankcli.errors import MissingError

ROWS = """HloModule rows
%fused (p: f32[1000,8], i: s32[5]) -> f32[5,8] {
  %p.1 = f32[1000,8]{1,0:T(8,128)} parameter(0)
  %i.1 = s32[5]{0:T(128)} parameter(1)
  ROOT %g = f32[5,8]{1,0:T(8,128)} gather(%p.1, %i.1), offset_dims={1}
}
"""
UPDATE = """%put (a: f32[1000,8], b: f32[5,8], n: s32[]) -> f32[1000,8] {
  %a.1 = f32[1000,8]{1,0} parameter(0)
  %b.1 = f32[5,8]{1,0} parameter(1)
  %n.1 = s32[] parameter(2)
  ROOT %u = f32[1000,8]{1,0} dynamic-update-slice(%a.1, %b.1, %n.1)
}
"""
LOOP = """%body (s: (s32[], f32[100])) -> (s32[], f32[100]) {
  %s = (s32[], f32[100]{0}) parameter(0)
  %x = f32[100]{0} get-tuple-element(%s), index=1
  %y = f32[100]{0} negate(%x)
  ROOT %t = (s32[], f32[100]{0}) tuple(%s, %y)
}
%until (s: (s32[], f32[100])) -> pred[] {
  %s.1 = (s32[], f32[100]{0}) parameter(0)
  ROOT %c = pred[] constant(true)
}
"""


def main(*lines: str) -> str:
    arguments = ["%w = f32[1000,8]{1,0:T(8,128)} parameter(0)", "%i = s32[5]{0} parameter(1)"]
    arguments += ["%b = f32[5,8]{1,0} parameter(2)", "%n = s32[] parameter(3)", "%v = f32[100]{0} parameter(4)"]
    return "ENTRY %main (w: f32[1000,8]) -> f32[] {\n" + "".join(f"  {line}\n" for line in (*arguments, *lines)) + "}\n"


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        (main("ROOT %r = f32[1000,8]{1,0} add(%w, %w)"), 3 * 32_000),
        (main("ROOT %r = bf16[1000,8]{1,0:T(8,128)(2,1)S(1)} convert(%w)"), 32_000),  # written on the chip
        (main("%r = pred[100]{0} compare(%v, %v), direction=EQ", "ROOT %z = f32[50]{0} slice(%v)"), 900 + 400),
        (main("ROOT %r = (f32[100]{0}, bf16[100]{0}) custom-call(%v), custom_call_target=x"), 400 + 400 + 200),
        (main("ROOT %r = f32[50,2]{1,0} bitcast(%v)"), 0),
        (main("%s = (f32[100]{0:S(1)}, f32[100]{0}, u32[]{:S(2)}) copy-start(%v)"), 400),
        (main("%s = (f32[100]{0:S(1)}, f32[100]{0}, u32[]) copy-start(%v)", "%d = f32[100]{0} copy-done(%s)"), 400),
        (main("%s = ((f32[100]{0}), f32[25]{0:S(1)}, s32[]{:S(2)}) slice-start(%v), slice={[0:25]}"), 100),
        (main("%s = (f32[100]{0}, f32[100]{0}, u32[]{:S(2)}) copy-start(%v)"), 800),
        (ROWS + main("ROOT %r = f32[5,8]{1,0:S(1)} fusion(%w, %i), kind=kCustom, calls=%fused"), 160 + 20),
        (main("ROOT %r = f32[5,8]{1,0} gather(%w, %i), offset_dims={1}"), 160 + 20 + 160),
        (
            main("ROOT %u = ((f32[1000,8]{1,0}), f32[1000,8]{1,0}) async-update(%s, %w, %w)"),
            0,
        ),  # counted where it starts
        (UPDATE + main("ROOT %r = f32[1000,8]{1,0} fusion(%w, %b, %n), kind=kLoop, calls=%put"), 160 + 4 + 160),
        (main("ROOT %r = f32[1000,8]{1,0} dynamic-update-slice(%w, %b, %n)"), 160 + 4 + 160),
    ],
)
def test_each_operation_reads_its_operands_and_writes_its_results(text: str, bytes_: int) -> None:
    assert moved(text) == bytes_


@pytest.mark.parametrize(("known", "times"), [(', backend_config={"known_trip_count":{"n":"7"}}', 7), ("", 1)])
def test_a_loop_counts_as_often_as_it_runs(known: str, times: int) -> None:
    loop = "ROOT %l = (s32[], f32[100]{0}) while(%v), condition=%until, body=%body"
    assert moved(LOOP + main(loop + known)) == times * 800


def test_the_dearest_branch_counts() -> None:
    text = LOOP + main("ROOT %c = pred[] conditional(%n, %v, %v), branch_computations={%body, %until}")
    assert moved(text) == 800


@pytest.fixture(scope="module")
def compiler() -> None:
    try:
        check_compiler()
    except MissingError as error:
        pytest.skip(error.what)


@pytest.mark.tpu_compiler
@pytest.mark.usefixtures("compiler")
def test_a_sum_of_more_than_the_chip_holds_moves_three_arrays() -> None:
    kind = "tensor<16384x8192xf32>"
    text = (
        f"module @sum {{\n  func.func @main(%a: {kind}, %b: {kind}) -> {kind} {{\n"
        f"    %0 = stablehlo.add %a, %b : {kind}\n    return %0 : {kind}\n  }}\n}}\n"
    )
    (found,) = compiled([Program("sum", text, 1)], [CHIPS["v5e"]])
    assert found.moved == 3 * 16384 * 8192 * 4 and found.fits


@pytest.mark.tpu_compiler
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("chip", ["v5p", "v6e"])
def test_the_text_of_a_program_for_the_sparse_core_is_read(chip: str) -> None:
    """The library cannot make it of the executable; the compiler writes it."""

    def step(values: Any, owners: Any) -> Any:
        return 2 * tf.math.unsorted_segment_sum(values, owners, 8)

    text = stablehlo(step, tf.zeros([8]), tf.zeros([8], tf.int32))
    (found,) = compiled([Program("sum", text, 1)], [CHIPS[chip]])
    assert found.error == "" and 3 * 32 <= found.moved < 10_000
