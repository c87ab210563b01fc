"""The programs of a replica: those of the training, with nothing in them that a TPU does not take."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.chips.lowering import stablehlo, without_copies
from rankcli.config.registry import RERANKERS
from rankcli.extractors.base import sequence_spec
from rankcli.records.largest import largest_batch
from rankcli.records.reader import Shape
from tests.chips.tiny_steps import DOCS, GROUPS, learner_of, predictions, step_program
from tests.rerankers.tiny_models import ON_TEXTS, extractor_of

OF_THE_HOST = re.compile(r"infeed|outfeed|stablehlo\.send|stablehlo\.recv|custom_call|!tf_type|<\?|x\?|\?x|mhlo\.copy")


@pytest.mark.parametrize("name", sorted(RERANKERS.builtins()))
def test_steps_and_predictions_have_fixed_shapes_and_do_not_call_the_host(name: str) -> None:
    for program in (step_program("step", name), *predictions(name)):
        assert "func.func @main(" in program.text
        assert OF_THE_HOST.findall(program.text) == []


def test_the_step_is_the_one_that_a_training_calls() -> None:
    learner, settings = learner_of("biencoder", loss="lce")
    assert learner.step.one.function == learner.step._on_all
    several, one = (step_program("step", "biencoder", steps_per_execution=n) for n in (2, 1))
    assert "stablehlo.while" in several.text and "stablehlo.while" not in one.text
    assert (several.handled, one.handled) == (2, 1)


def test_variables_are_arguments_and_the_trained_ones_are_results() -> None:
    program = step_program("step", "TFKNRM")
    learner, _ = learner_of("TFKNRM")
    trained = sum(1 for _ in learner.trained_variables())
    signature = re.search(r"func\.func @main\((.*?)\) -> \((.*?)\) \{", program.text, re.DOTALL)
    assert signature is not None
    results = signature[2].count("tensor<") - 5  # loss, losses, finite, grad_norm; and the step of the optimizer
    assert results >= trained
    assert signature[1].count("tensor<") > len(learner.reranker.variables)


def test_the_text_computes_the_function() -> None:
    text = stablehlo(lambda pair: {"sum": pair[0] + pair[1]}, (np.float32([1, 2]), np.float32([3, 4])))
    assert re.search(r"stablehlo\.add %\w+, %\w+ : tensor<2xf32>", text)


def test_a_copy_gives_way_to_what_it_copies() -> None:
    text = '  %1 = stablehlo.abs %0 : t\n  %2 = mhlo.copy %1 : t\n  %3 = "mhlo.copy"(%2) : t\n  return %3, %12 : t'
    assert without_copies(text) == "  %1 = stablehlo.abs %0 : t\n  return %1, %12 : t"


@pytest.mark.parametrize("name", sorted(RERANKERS.builtins()))
def test_the_largest_batch_is_full(name: str) -> None:
    _, extractor = extractor_of(name)
    batch = largest_batch(extractor, {"weight": (), "features": (3,)}, Shape(GROUPS, DOCS, static=True, keyed=True))
    assert batch.labels.shape == batch.keys.doc.shape == (GROUPS, DOCS) and batch.doc_mask.all()
    assert batch.columns["features"].shape == (GROUPS, DOCS, 3)
    for field, given in batch.fields.items():
        if name not in ON_TEXTS:
            assert given.shape == (GROUPS, DOCS, 3)
            continue
        spec = sequence_spec(extractor, field)
        count = GROUPS if spec.level == "query" else GROUPS * DOCS * spec.most
        assert (given.layout.sequence >= 0).sum() == count * spec.max_length
        assert (tf.reduce_max(given.owner) + 1).numpy() == (GROUPS if spec.level == "query" else GROUPS * DOCS)
