"""Encoders of every family, of two layers and random weights: they learn, go on to the bit, and compute in bf16."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import LOSSES, OPTIMIZERS
from rankcli.encoders.build import Pretrained
from rankcli.encoders.family import ENCODERS, family_in
from rankcli.encoders.parameters import Parameters
from rankcli.optimizers.base import Member
from rankcli.records.layout import flat
from rankcli.rerankers.base import Reranker, RerankerContext
from rankcli.rerankers.crossencoder import CrossEncoder
from rankcli.shapes import Batch, Field, SequenceSpec, StreamSpec, TokenSequence
from rankcli.training.base import TRAIN, StepInputs
from rankcli.training.gradients import Objective
from rankcli.training.step import TrainingStep
from rankcli.training.strategy import make_strategy, per_replica

SHAPES = json.loads((Path(__file__).resolve().parents[1] / "golden/models.json").read_text())["shapes"]
SHAPES |= {"camembert": {**SHAPES["roberta"], "model_type": "camembert"}}
SHAPES |= {"albert": {**SHAPES["bert"], "model_type": "albert", "embedding_size": 8}}
READ = {SHAPES[name]["model_type"]: SHAPES[name] for name in reversed(SHAPES)}  # of several shapes the first
KINDS = {kind: READ[kind] for kind in ENCODERS.builtins()}
OWN = ("bert", "modernbert", "deberta-v2", "t5")  # layers of their own; the others' are those of BERT
QUERIES, LENGTH = 20, 9
SPEC = SequenceSpec("doc", "doc", LENGTH)
EXTRACTOR: Any = SimpleNamespace(streams={"doc": StreamSpec("doc", 60)}, fields={"pair": SPEC})


def random_model(kind: str, folder: Path, dropout: float | None = None, width: int = 16) -> Pretrained:
    """A directory's configuration, and random weights. No sequence is long enough for attention in blocks."""
    content = dict(KINDS[kind])
    content |= {name: width for name in ("hidden_size", "dim", "d_model") if name in content}
    content |= {"max_position_embeddings": 512} if content.get("max_position_embeddings", 0) > 512 else {}
    if dropout is not None:
        names = "hidden_dropout_prob attention_probs_dropout_prob dropout attention_dropout dropout_rate"
        content |= dict.fromkeys(names.split(), dropout)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    family = family_in(content)
    weights = family.weights(family.read(content, ""), pooler=False)
    return Pretrained(folder, tensors(Parameters(weights, seed=3, scale=0.1).tensors()))


def tensors(values: dict[str, np.ndarray]) -> Any:
    from rankcli.text.weights import Tensors

    return Tensors({name: value.shape for name, value in values.items()}, values.__getitem__)


def build(given: Pretrained, dtype: str = "float32", dropout: float = 0.1) -> Reranker:
    context = RerankerContext(extractor=EXTRACTOR, models={"pretrained": given}, dtype=dtype)
    return CrossEncoder(pretrained="given", dropout=dropout).build(context)


def batch(groups: int, seed: int, docs: int = 2) -> Batch:
    """Random tokens; the first document of each group is the relevant one."""
    rows = np.random.default_rng(seed).integers(5, 60, (groups * docs, LENGTH)).astype(np.int32)
    zeros = np.zeros(LENGTH, np.int32)
    (layout,) = flat([[TokenSequence(ids, zeros, zeros + 1, n) for n, ids in enumerate(rows)]], len(rows), 0)
    labels = np.zeros((groups, docs), np.float32)
    labels[:, 0] = 1
    return Batch(labels, labels >= 0, {}, {"pair": Field(layout, np.arange(len(rows), dtype=np.int32))})


class Learning:
    """Optimizer steps on batches, with all that they change."""

    def __init__(self, strategy: Any, given: Pretrained, dropout: float = 0.1) -> None:
        self.strategy = strategy
        with strategy.scope():
            self.model = model = build(given, dropout=dropout)
            members = {path: Member(v, 1.0, 0.0) for path, v in model.variables.items() if v.trainable}
            self.optimizer = OPTIMIZERS.get("adam")().build(members)
        objective = Objective({TRAIN: ("lce", LOSSES.get("lce")().build())})
        self.step = TrainingStep(strategy, model, objective, {"all": self.optimizer}, 1)

    def steps(self, batches: list[Batch], numbers: range, groups: int = QUERIES) -> list[float]:
        """Make the steps with these numbers on one batch per replica; their losses."""
        given = per_replica(self.strategy, [{TRAIN: each} for each in batches])
        rate = [np.float32(1e-2)]
        inputs = (StepInputs(tf.constant(n), {TRAIN: np.float32(groups)}, [1.0], rate, [True]) for n in numbers)
        return [float(self.step(given, each)["loss"]) for each in inputs]

    @property
    def variables(self) -> list[Any]:
        """The model's variables and the optimizer's slots."""
        return [*self.model.variables.values(), *self.optimizer.state.variables]


@pytest.mark.parametrize(
    "kind", [kind if kind in OWN else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_a_family_learns_and_goes_on_to_the_bit(tmp_path, kind):
    given = random_model(kind, tmp_path)
    learning, data = Learning(make_strategy("cpu"), given), batch(QUERIES, seed=1)
    learning.steps([data], range(20))
    kept = [variable.numpy() for variable in learning.variables]
    losses = learning.steps([data], range(20, 60))
    ended = [variable.numpy() for variable in learning.variables]
    scores = learning.model(tf.nest.map_structure(tf.constant, data)).scores.numpy()
    assert (scores[:, 0] > scores[:, 1]).mean() == 1.0
    for variable, value in zip(learning.variables, kept, strict=True):  # as if it was stopped there, and resumed
        variable.assign(value)
    assert learning.steps([data], range(20, 60)) == losses
    assert all(np.array_equal(v, value) for v, value in zip(learning.variables, ended, strict=True))


@pytest.mark.parametrize("kind", ENCODERS.builtins())
def test_scores_in_bfloat16_rank_500_pairs_as_those_in_float32(tmp_path, kind):
    given = random_model(kind, tmp_path, width=64)
    model, other = build(given), build(given, "bfloat16")
    other.assign(model.tensors())
    pairs = tf.nest.map_structure(tf.constant, batch(250, seed=2))
    ranks = [np.argsort(np.argsort(each(pairs).scores.numpy().ravel())) for each in (model, other)]
    assert np.corrcoef(*ranks)[0, 1] > 0.999


TWO = """
import sys
sys.path[:0] = [sys.argv[1]]
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
import tests.training.test_every_family as family
family.compare_devices(sys.argv[3], family.Path(sys.argv[2]))
"""


def compare_devices(kind: str, folder: Path) -> None:
    """Compare three steps on one device with those on two, each of which has half of the groups; without dropout."""
    given, halves = random_model(kind, folder, dropout=0.0), [batch(4, seed=n) for n in (1, 2)]
    found = []
    whole = batch_of(halves)
    for name, parts in (("cpu", [whole]), ("mirrored", halves)):
        strategy = make_strategy(name)
        learning = Learning(strategy, given, dropout=0.0)
        losses = learning.steps(parts, range(3), groups=8)
        found.append((losses, {path: v.numpy() for path, v in learning.model.variables.items()}))
    (losses, one), (others, two) = found
    np.testing.assert_allclose(others, losses, rtol=1e-4)
    # the gradients of some biases are rounding, of which Adam makes steps
    for path in (path for path in one if not path.endswith("bias")):
        np.testing.assert_allclose(two[path], one[path], atol=5e-4, err_msg=f"{kind} {path}")


def batch_of(halves: list[Batch]) -> Batch:
    """Two batches as one."""
    rows = [np.random.default_rng(n).integers(5, 60, (8, LENGTH)).astype(np.int32) for n in (1, 2)]
    zeros = np.zeros(LENGTH, np.int32)
    parts = [TokenSequence(ids, zeros, zeros + 1, n) for n, ids in enumerate(np.concatenate(rows))]
    (layout,) = flat([parts], len(parts), 0)
    labels, mask = (np.concatenate([half[n] for half in halves]) for n in (0, 1))
    return Batch(labels, mask, {}, {"pair": Field(layout, np.arange(len(parts), dtype=np.int32))})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENCODERS.builtins())
def test_a_family_trains_on_two_devices_as_on_one(tmp_path, kind):
    """Each in a process of its own: collectives of several models in one process are mixed up."""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", TWO, str(root), str(tmp_path), kind], check=True, cwd=root)
