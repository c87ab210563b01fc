"""Training steps and predictions of tiny models, built for fixed shapes as a run on a TPU builds them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from rankcli.backend import tf
from rankcli.chips.lowering import Program, prediction_programs, training_program
from rankcli.config.registry import LOSSES, RERANKERS, TRAINERS
from rankcli.config.validate import component_from
from rankcli.records.largest import largest_batch
from rankcli.records.reader import Shape
from rankcli.training.base import TRAIN, TrainerContext
from rankcli.training.hooks import compares_groups
from rankcli.training.learner import Learner
from tests.encoders.golden_families import MODELS, written
from tests.rerankers.tiny_models import extractor_of

FAMILIES = sorted(MODELS)
ENCODING = sorted(name for name in RERANKERS.builtins() if hasattr(RERANKERS.get(name), "pretrained"))
ON_VECTORS = sorted(name for name in LOSSES.builtins() if "scores" not in LOSSES.get(name).reads)
GROUPS, DOCS = 2, 4


@functools.cache
def directory_of(family: str) -> Path:
    """A directory with a tiny model of the family."""
    return written(family, Path(tempfile.mkdtemp()) / family)


def learner_of(reranker: str, family: str | None = None, **trainer: Any) -> tuple[Learner, Any]:
    """A learner on one device, and its trainer's options."""
    kind, (_, extractor) = RERANKERS.get(reranker), extractor_of(reranker)
    options = kind(**(kind.tiny if family is None else {}))
    models = {"pretrained": directory_of(family)} if family else {}
    settings = component_from(TRAINERS, {"name": "tensorflow", "niters": 1, "itersize": 64, **trainer})
    context = TrainerContext(options, extractor, models, {}, {}, {}, Path(), "", judged=None)
    return Learner(settings, context, tf.distribute.OneDeviceStrategy("/cpu:0")), settings


def step_program(name: str, reranker: str, family: str | None = None, replicas: int = 1, **trainer: Any) -> Program:
    """The program of a training step."""
    learner, settings = learner_of(reranker, family, **trainer)
    losses = settings.losses()
    columns = {column: () for loss in losses.values() for column in (*loss.columns, "weight")}
    shape = Shape(GROUPS, DOCS, static=True, keyed=compares_groups(losses, settings.hooks))
    batch = largest_batch(extractor_of(reranker)[1], columns, shape)
    count = settings.accumulate * settings.steps_per_execution
    return training_program(learner, [{TRAIN: batch}] * count, settings.steps_per_execution, name, replicas)


def predictions(reranker: str, family: str | None = None) -> list[Program]:
    """The programs of prediction."""
    learner, _ = learner_of(reranker, family)
    extractor = extractor_of(reranker)[1]
    docs = DOCS if RERANKERS.get(reranker).listwise else 1
    batch = largest_batch(extractor, {}, Shape(GROUPS, docs, static=True))
    return prediction_programs(tf.distribute.OneDeviceStrategy("/cpu:0"), learner.reranker, extractor, batch)
