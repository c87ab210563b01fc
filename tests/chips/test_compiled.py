"""Steps compiled by the TPU's own compiler; skipped without it (the extra `tpu-compiler`, or scripts/tpu-compile)."""

from __future__ import annotations

from typing import Any

import pytest

from rankcli.backend import tf
from rankcli.chips.compile import check_compiler, compiled
from rankcli.chips.figures import CHIPS
from rankcli.chips.lowering import Program, stablehlo
from rankcli.config.registry import LOSSES, OPTIMIZERS, RERANKERS
from rankcli.encoders.fused import attended
from rankcli.errors import MissingError
from tests.chips.tiny_steps import ENCODING, FAMILIES, ON_VECTORS, predictions, step_program

pytestmark = pytest.mark.tpu_compiler
PRECISIONS = ("none", "bf16")
NAMES = sorted(RERANKERS.builtins())


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    try:
        check_compiler()
    except MissingError as error:
        pytest.skip(error.what)


def check(programs: list[Program], chips: list[str] | None = None) -> None:
    """Every program compiles for every chip, and its figures are there."""
    found = list(compiled(programs, [CHIPS[name] for name in chips or CHIPS]))
    assert len(found) == len(programs) * len(chips or CHIPS)
    assert [(each.name, each.chip.name, each.error) for each in found if not each.fits or not each.moved] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_reranker(name: str) -> None:
    check([step_program(name, name, amp="bf16"), *predictions(name)], ["v5e"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("amp", [*PRECISIONS, "fp16"])
def test_every_reranker_in_every_precision_on_every_chip(name: str, amp: str) -> None:
    check([step_program(name, name, amp=amp), *predictions(name)])


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ENCODING)
@pytest.mark.parametrize("amp", PRECISIONS)
def test_every_reranker_on_every_family_of_encoders(name: str, family: str, amp: str) -> None:
    check([step_program(f"{name} {family}", name, family, amp=amp), *predictions(name, family)])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOSSES.builtins()))
def test_every_loss(name: str) -> None:
    if not LOSSES.get(name).xla:
        pytest.skip("a configuration with this loss is refused on a TPU")
    loss = {"name": name, **({"key": "softmax_loss"} if name == "tfr" else {})}
    check([step_program(name, "biencoder" if name in ON_VECTORS else "crossencoder", loss=loss)])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS.builtins()))
def test_every_optimizer(name: str) -> None:
    check([step_program(name, "crossencoder", optimizer=name)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"accumulate": 2}, {"steps_per_execution": 2}, {"hooks": [{"name": "clipnorm", "max_norm": 1.0}, "gradnorm"]}],
    ids=str,
)
def test_every_form_of_a_step(options: dict[str, object]) -> None:
    check([step_program("step", "crossencoder", **options)])


def test_what_is_recomputed_is_computed_again() -> None:
    """XLA takes what it computed before, wherever it finds that it is the same."""
    programs = [step_program("step", "crossencoder", "mpnet", recompute=again) for again in (False, True)]
    kept, again = compiled(programs, [CHIPS["v5e"]])
    assert again.flops > 1.05 * kept.flops


def test_attention_keeps_nothing_of_the_size_of_its_weights() -> None:
    """Only the greatest logit and the sum of each query."""
    length, heads, texts = 512, 12, 24

    def step(query: Any, keys: Any, values: Any, bias: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(query)
            found = query
            for n in range(4):
                found = attended(found, keys, values, bias + float(n), lambda x: x)
        return tape.gradient(found, query)

    heads_of = [tf.zeros([texts, heads, length, 32], tf.bfloat16)] * 3
    program = Program("attention", stablehlo(step, *heads_of, tf.zeros([texts, 1, 1, length])), 1)
    (found,) = compiled([program], [CHIPS["v5e"]])
    weights = 2 * texts * heads * length * length
    assert found.memory < 2.5 * weights  # four layers would keep four times as much
