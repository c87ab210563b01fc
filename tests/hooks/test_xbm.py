"""The memory across batches: its rows, its loss, on two replicas, killed and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.registry import HOOKS, LOSSES
from rankcli.errors import ConfigError
from rankcli.hooks.base import Hook, HookContext
from rankcli.hooks.xbm import CrossBatchMemory
from rankcli.runs.prepare import prepare
from rankcli.shapes import Memory, StepContext
from tests.hooks.test_state import python
from tests.losses.cases import Case, batch_of, computed, drawn, keys_of, outputs_of, padded

OPTIONS = {"temperature": 1.0}


def made(**options: Any) -> Hook:
    loss = LOSSES.get("infonce")(**OPTIONS)
    return CrossBatchMemory(loss=loss, **options).build(HookContext({}, {}, 100, lambda name: 3))


def learn(hook: Hook, case: Case, number: int = 0) -> None:
    """One step: `after`, and its values set."""
    outputs = outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
    for name, value in hook.after(batch_of(case), outputs, StepContext(number=tf.constant(number))).items():
        getattr(hook.state, name).assign(value)


def rows(case: Case) -> list[tuple[Any, int, int]]:
    """The documents to be kept: vector, key, key of the pair."""
    docs, queries = keys_of(case.docs), keys_of(case.queries)
    return [
        (case.docs[g, k], docs[g, k], docs[g, k] + queries[g] if case.labels[g, k] > 0 else 0)
        for g, k in np.argwhere(case.mask)
    ]


@pytest.mark.parametrize("size", [3, 7, 12, 40])
def test_quaterion_09_the_latest_documents_are_kept_whatever_the_size_of_batches(size: int) -> None:
    """Batches of 12, 2 and 6 documents, padding among them; of more than `size` the last are kept."""
    hook, kept = made(size=size), list[Any]()
    for seed, shape in enumerate([(3, 4), (2, 1), (2, 3), (3, 4)]):
        case = padded(drawn(*shape, seed=seed), docs=1)
        learn(hook, case)
        kept += rows(case)
        state, places = hook.state, [n % size for n in range(len(kept))][-size:]
        assert int(state.kept) == len(kept)
        for place, (vector, doc, pair) in zip(places, kept[-size:], strict=True):
            assert (int(state.doc[place]), int(state.pair[place])) == (doc, pair)
            assert state.vectors[place].numpy().tolist() == vector.tolist()


def test_nothing_is_kept_before_the_start_and_until_then_the_loss_is_0() -> None:
    hook, case = made(size=20, start=2), drawn(3, 4)
    outputs = outputs_of(*(tf.constant(part) for part in (case.scores, case.queries, case.docs)))
    for number, kept in [(0, 0), (1, 0), (2, 12), (3, 24)]:
        learn(hook, case, number)
        assert int(hook.state.kept) == kept
        assert bool(np.any(hook.loss(batch_of(case), outputs, StepContext()))) is (kept > 0)


def memory_of(case: Case) -> Memory:
    vectors, doc, pair = zip(*rows(case), strict=True)
    real = tf.constant([True] * len(doc) + [False])  # a row that is not filled yet, full of junk
    keys = [tf.constant([*of, 5], tf.int64) for of in (doc, pair)]
    return Memory(tf.concat([np.array(vectors), tf.fill([1, 3], 9.0)], axis=0), *keys, real)


@pytest.mark.parametrize(
    ("name", "options"), [("infonce", OPTIONS), ("triplet_margin", {}), ("triplet_margin", {"mining": "hard"})]
)
def test_quaterion_09_a_memory_of_the_other_groups_gives_values_and_gradients_of_one_large_batch(
    name: str, options: Any
) -> None:
    """Of two of its five groups, whose queries and documents get no gradient through the others but as constants."""
    case = drawn(5, 4)
    case.queries[3], case.docs[4, 1] = case.queries[0], case.docs[0, 0]  # what is relevant is no negative
    mine, others = case.taken(slice(0, 2)), case.taken(slice(2, 5))
    value, gradients = computed(name, options, mine, StepContext(memory=memory_of(others)))
    case.weight[2:] = 0  # their losses
    whole, wanted = computed(name, options, case)
    np.testing.assert_allclose(value, whole[:2], rtol=1e-5)
    assert not np.allclose(value, computed(name, options, mine)[0], rtol=1e-3)
    for one, other in zip(gradients[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(one, other[:2], rtol=1e-4, atol=1e-6)


def test_a_hook_adds_the_loss_of_its_memory_without_a_gradient_for_it() -> None:
    hook, first, second = made(size=50), drawn(3, 4, seed=1), drawn(2, 4, seed=2)
    learn(hook, first)
    outputs = outputs_of(*(tf.constant(part) for part in (second.scores, second.queries, second.docs)))
    with tf.GradientTape() as tape:
        found = hook.loss(batch_of(second), outputs, StepContext())
    np.testing.assert_allclose(
        found, computed("infonce", OPTIONS, second, StepContext(memory=memory_of(first)))[0], rtol=1e-5
    )
    assert tape.gradient(found, hook.state.vectors) is None


@pytest.mark.parametrize(
    ("reranker", "hook", "said"),
    [
        ("crossencoder", "xbm", "'infonce' reads the vectors doc, query, which reranker 'crossencoder' does not give"),
        ("biencoder", "{name: xbm, loss: lce}", "compares with no documents of other groups, nor with a memory"),
    ],
)
def test_a_memory_needs_vectors_and_a_loss_that_compares_with_it(tiny, reranker: str, hook: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny(reranker, f"trainer.hooks=[{hook}]")
    assert said in str(refused.value) and "trainer.hooks" in str(refused.value)


def test_a_start_that_no_step_comes_after_is_refused(tiny) -> None:
    asked = tiny("biencoder", "trainer.hooks=[{name: xbm, start: 11}]")
    prepared = prepare(asked)
    with pytest.raises(ConfigError, match="leaves no step that uses the memory: the training has 12"):
        prepared.start.check(prepared.dataset, prepared.trainer)
    assert HOOKS.name_of(asked.trainer.hooks[0]) == "xbm"


TRAINED = """
import json, signal, sys
from pathlib import Path
import numpy as np
import pytest
from rankcli.backend import tf
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
from rankcli.config.load import load_config
from rankcli.errors import Interrupted
from rankcli.listeners.watch import Watch
from rankcli.verbs.train import train
from tests.clocked import metrics
folder = Path(sys.argv[1])
options = ["trainer.loss={name: infonce, symmetric: true}", "trainer.hooks=[{name: xbm, size: 20, start: 1}]",
           "reranker.encoder.dropout=0", "trainer.batch=4", "trainer.itersize=12", "trainer.niters=2"]
asked = {name: load_config([folder / "biencoder.yaml"], [*options, f"trainer.strategy={name}"])[0]
         for name in ("cpu", "mirrored")}
train(asked["cpu"], out=folder / "one")
train(asked["mirrored"], out=folder / "whole")
def stop(self, now, done):
    if now.step == 4:
        signal.raise_signal(signal.SIGTERM)
Watch.end_step = stop
with pytest.raises(Interrupted):
    train(asked["mirrored"], out=folder / "parts")
del Watch.end_step
train(asked["mirrored"], out=folder / "parts")
found = {}
for name in ("one", "whole", "parts"):
    reader = tf.train.load_checkpoint(str(folder / name / "checkpoints/iter-00002/ckpt"))
    keys = [key for key in reader.get_variable_to_shape_map() if key != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    values = {key: np.asarray(reader.get_tensor(key)).tolist() for key in keys}
    found[name] = [values, metrics((folder / name / "metrics.jsonl").read_bytes())]
print(json.dumps(found))
"""


def test_quaterion_09_two_replicas_are_one_and_killed_and_resumed_the_memory_is_the_same_to_the_bit(
    tiny, tmp_path: Path
) -> None:
    tiny("biencoder")
    found = python(TRAINED, str(tmp_path))
    assert found["whole"] == found["parts"]
    (one, entries), (two, others) = found["one"], found["whole"]
    kept = {key.split("/")[2]: value for key, value in two.items() if key.startswith("hooks/xbm/")}
    assert kept["kept"] == 5 * 16 and np.all(kept["doc"]) and np.count_nonzero(kept["pair"]) == 5
    assert set(one) == set(two)
    for key, value in two.items():
        np.testing.assert_allclose(value, one[key], rtol=2e-3, atol=2e-5, err_msg=key)
    losses = [[each["losses"] for each in run if "loss" in each] for run in (entries, others)]
    assert losses[0][1]["xbm"] > losses[0][1]["infonce"] > 0
    for mine, its in zip(*losses, strict=True):
        assert mine == pytest.approx(its, rel=1e-4)
