"""Steps of eight replicas: gradients are summed once, in one piece, and nothing else is."""

from __future__ import annotations

import math
import re

import pytest

from rankcli.chips.compile import check_compiler, compiled
from rankcli.chips.figures import CHIPS, TOGETHER
from rankcli.chips.traffic import summed
from rankcli.errors import MissingError
from tests.chips.tiny_steps import learner_of, step_program

SUM = re.compile(r'"stablehlo\.all_reduce".*?\}\) : \(tensor<([\dx]*)x?f32>\)', re.DOTALL)


def trained() -> int:
    learner, _ = learner_of("crossencoder")
    return sum(math.prod(variable.shape) for _, variable in learner.trained_variables())


def test_every_gradient_is_summed_once_over_all_replicas() -> None:
    text = step_program("step", "crossencoder", replicas=8).text
    sizes = [math.prod(int(n) for n in shape.split("x") if n) for shape in SUM.findall(text)]
    assert sum(sizes) == trained() + 2, "and the loss, minimised and of its only term"
    assert text.count("replica_groups = dense<[[0, 1, 2, 3, 4, 5, 6, 7]]>") == len(sizes)


def test_one_replica_sums_nothing() -> None:
    assert "all_reduce" not in step_program("step", "crossencoder").text


def test_the_bytes_of_all_sums_count() -> None:
    text = (
        "ENTRY %main (a: f32[10]) -> f32[10] {\n"
        "  %s = (f32[10]{0:S(1)}, f32[2,3]{1,0}) all-reduce(%a, %b), replica_groups={{0,1}}\n"
        "  ROOT %t = f32[] all-reduce(%c), replica_groups={{0,1}}\n}\n"
    )
    assert summed(text) == 40 + 24 + 4


@pytest.mark.tpu_compiler
@pytest.mark.parametrize("chip", CHIPS)
def test_a_step_of_eight_replicas_compiles_on_every_chip(chip: str) -> None:
    try:
        check_compiler()
    except MissingError as error:
        pytest.skip(error.what)
    (found,) = compiled([step_program("step", "crossencoder", replicas=TOGETHER)], [CHIPS[chip]])
    assert found.fits and found.summed == 4 * (trained() + 2)
