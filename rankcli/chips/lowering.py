"""The programs of one replica as StableHLO, the text that a TPU's compiler takes.

The functions are those that a training and a prediction call on their devices (`Traced.function`), unchanged, and they
are traced as on a TPU: batches are laid out for fixed shapes, and a few operations have a form of their own there
(`on_tpu`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rankcli.backend import as_on_tpu, tf
from rankcli.extractors.base import Extractor, sequence_spec
from rankcli.records.largest import largest_layout
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Batch
from rankcli.training.encode import VectorScorer, scorer
from rankcli.training.gradients import Batches
from rankcli.training.learner import Learner
from rankcli.training.step import TrainingStep

_COPY = re.compile(r'\s*(%\w+) = "?mhlo\.copy"?\(?\s*(%\w+)')
_NAME = re.compile(r"%\w+")


class Program(NamedTuple):
    """A program of one of `replicas`: a module of StableHLO. A call handles so many steps, pairs or texts."""

    name: str
    text: str
    handled: int
    replicas: int = 1


def training_program(
    learner: Learner, batches: Sequence[Batches], executions: int, name: str, replicas: int = 1
) -> Program:
    """Return the program of `executions` optimizer steps on one replica's micro-batches of all of them.

    Gradients are summed over the replicas. Negatives that a loss takes from the batches of others are not there.
    """
    step: TrainingStep = learner.step
    traced = step.one if executions == 1 else step.loop
    text = stablehlo(traced.function, *learner.arguments(batches, 0, 1), replicas=replicas)
    return Program(name, text, executions, replicas)


def prediction_programs(strategy: Any, reranker: Reranker, extractor: Extractor, batch: Batch) -> list[Program]:
    """Return the programs that score pairs: one for a batch, or one for the texts of each field.

    Groups of more than one document are scored together. Of a reranker that encodes texts, only their number counts.
    """
    count = int(batch.labels.size)
    scoring = scorer(strategy, reranker, extractor, count, whole_groups=batch.labels.shape[1] > 1)
    if not isinstance(scoring, VectorScorer):
        return [Program("predict", stablehlo(scoring.step.function, batch), count)]
    layouts = {field: largest_layout(sequence_spec(extractor, field), count) for field in scoring.steps}
    return [
        Program(f"encode {field}", stablehlo(scoring.steps[field].function, layout), count)
        for field, layout in layouts.items()
    ]


def stablehlo(function: Callable[..., Any], *args: Any, replicas: int = 1) -> str:
    """Return the module of a function of nested tensors; its first arguments are these tensors, flattened.

    Variables that are read are further arguments, those that are assigned are also results.
    """
    leaves = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(args)]

    def of_leaves(*given: Any) -> Any:
        return function(*tf.nest.pack_sequence_as(args, given))

    compiled = tf.function(of_leaves, jit_compile=True, autograph=False)
    with as_on_tpu(replicas):
        return without_copies(compiled.experimental_get_compiler_ir(*leaves)(stage="stablehlo"))


def without_copies(text: str) -> str:
    """Put operands in the place of `mhlo.copy`, which TensorFlow has before results and which is not StableHLO."""
    copied: dict[str, str] = {}
    kept = []
    for line in text.splitlines():
        if found := _COPY.match(line):
            copied[found[1]] = copied.get(found[2], found[2])
        else:
            kept.append(line)
    return _NAME.sub(lambda found: copied.get(found[0], found[0]), "\n".join(kept))
