"""The memory that a training needs on this machine, foretold from its model and the lengths of a few groups."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from rankcli.backend import tf
from rankcli.log import warn
from rankcli.records.extract import examples_of
from rankcli.records.texts import InMemory
from rankcli.rerankers.base import Reranker
from rankcli.runs.estimate import HERE
from rankcli.runs.sets import TRAIN, RankedSet, RecordSet
from rankcli.shapes import SequenceSpec
from rankcli.training.groups import groups_for, trained
from rankcli.training.predict import EVALBATCH, IN_FLIGHT

GROUPS = 8  # groups of each task whose lengths are looked at
# Measured on a CPU with `scripts/bench memory`.
PROGRAM = 750_000_000  # TensorFlow, its graphs and the rest, without a model
END = 450_000_000  # the graphs of the test, and what the system does not take back at once
TOWERS = 550_000_000  # more of the same where queries and documents are encoded apart
FULL = 90_000_000  # bytes of weights from which on these two are needed in full: those of MiniLM
KEPT = (12, 3, 3)  # in a step, for each token and layer: times its state, inner state and attention weights
PASSING = (4, 2, 2)  # the same of the one layer that a prediction is in
PARTS = {"bfloat16": 0.6, "float16": 0.6}  # of what is computed in these types: some of it stays in float32


class Need(NamedTuple):
    """The bytes of each part at the moment when most are needed."""

    program: int
    weights: int
    optimizer: int
    gradients: int
    activations: int
    test: int

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self)

    def line(self) -> str:
        """Return it as a line for people."""
        parts = ", ".join(f"{name} {size / 1e9:.1f}" for name, size in self._asdict().items())
        return f"memory: about {self.total / 1e9:.1f} GB at most ({parts})"


class Lengths(NamedTuple):
    """The numbers of tokens of the sequences of some groups."""

    groups: int
    tokens: tuple[int, ...]

    def numbers(self, encoder: Any, groups: float, factors: tuple[int, int, int]) -> float:
        """Return the numbers that one layer of an encoder holds for `groups` groups.

        `factors` are those of its states, inner states and attention weights.
        """
        states, inner, attended = factors
        config = encoder.config
        of_token = states * config.hidden_size + inner * config.intermediate_size
        found = sum(length * (of_token + attended * config.heads * length) for length in self.tokens)
        return float(found * groups / max(self.groups, 1))


def need_of(model: Reranker, trainer: Any, sets: Mapping[str, RecordSet]) -> Need | None:
    """Return what a training of `model` on the sets of a run needs. None where it runs on other devices."""
    if trainer.strategy not in HERE or tf.config.list_physical_devices("GPU"):
        return None
    paths = {path for group in trained(groups_for(model.variables, trainer)) for path in group.variables}
    gradients = _bytes(model, paths)
    lengths = {each.key: lengths_of(each) for each in sets.values() if each.split == TRAIN}
    most = max(each.pairs for each in sets.values() if isinstance(each, RankedSet))
    step = sum(_kept(model, each, trainer.batches[task] / trainer.accumulate, paths) for task, each in lengths.items())
    passing = _passing(model, next(iter(lengths.values())), min((trainer.evalbatch or EVALBATCH) * IN_FLIGHT, most))
    factor = 4 * PARTS.get(trainer.dtype, 1.0)
    return Need(
        program=PROGRAM,
        weights=_bytes(model),
        optimizer=gradients * len(trainer.optimizer.build({}).slots),
        gradients=gradients * (1 if trainer.accumulate == 1 else 2),
        activations=int(factor * max(step, passing - gradients / factor)),
        test=_at_end(model),
    )


def _bytes(model: Reranker, paths: Collection[str] | None = None) -> int:
    """Return the bytes of the variables at some paths, by default of all."""
    found = [variable.shape for path, variable in model.variables.items() if paths is None or path in paths]
    return int(4 * sum(math.prod(shape) for shape in found))


def _at_end(model: Reranker) -> int:
    """Return the bytes of the test: those of the best weights, and of all that comes with a second model."""
    size = _bytes(model)
    return size + int((END + (TOWERS if model.towers else 0)) * min(size / FULL, 1.0))


def _kept(model: Reranker, lengths: Lengths, groups: float, paths: Collection[str]) -> float:
    """Return the numbers that a step keeps for the gradients: those of the layers from the lowest trained one on."""
    found = [0.0]
    for encoder in model.encoders.values():
        own = [path for path in encoder.parameters.variables if path in paths]
        below = [int(match[1]) if (match := re.search(r"layer_(\d+)/", path)) else 0 for path in own]
        layers = encoder.config.layers - min(below, default=encoder.config.layers)
        found.append(layers * lengths.numbers(encoder, groups, KEPT))
    return max(found)


def _passing(model: Reranker, lengths: Lengths, documents: int) -> float:
    """Return the numbers that a prediction of so many documents holds in one layer."""
    groups = documents * lengths.groups / max(len(lengths.tokens), 1)
    return max((lengths.numbers(encoder, groups, PASSING) for encoder in model.encoders.values()), default=0.0)


def lengths_of(each: RecordSet) -> Lengths:
    """Return the lengths of the first groups of a training set."""
    samples = [each.sampler(n) for n in range(min(GROUPS, each.samples))]
    examples = list(
        examples_of(
            samples, each.extractor, InMemory(each.dataset.queries), each.texts, each.features, each.drawn_columns
        )
    )
    fields = [name for name, spec in each.extractor.fields.items() if isinstance(spec, SequenceSpec)]
    made = [each.extractor.extract(example) for example in examples]
    return Lengths(len(examples), tuple(len(one.ids) for of in made for name in fields for one in of[name]))


def warn_of_memory(need: Need | None) -> None:
    """Warn if the machine does not have what a training needs."""
    free = available()
    if need is None or free is None or need.total <= free + _held():
        return
    warn(
        f"the training needs about {need.total / 1e9:.1f} GB of memory, and {(free + _held()) / 1e9:.1f} GB are there: "
        "the system may end it. A larger trainer.accumulate, a smaller trainer.batch or evalbatch, or shorter "
        "sequences need less"
    )


def _held() -> int:
    """Return the bytes that this process holds already."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return 0


def available() -> int | None:
    """Return the bytes that the machine has left for this process; None where the system does not tell."""
    found = [*_of_machine(), *_of_group()]
    return min(found, default=None)


def _of_machine(path: Path = Path("/proc/meminfo")) -> Iterator[int]:
    with suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])


def _of_group(folder: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Yield what a container's limit leaves, if there is one; files that are kept in memory do not count as used."""
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: there is no limit
            limit = int((folder / most).read_text())
            stat = (folder / most).with_name("memory.stat").read_text().split()
            files = int(stat[stat.index("inactive_file") + 1])
            yield limit - int((folder / used).read_text()) + files
