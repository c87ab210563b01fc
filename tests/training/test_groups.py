"""Optimizer groups claim by path, nothing is left over, and each trains as it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.config.identity import component_identity
from rankcli.config.registry import OPTIMIZERS, TRAINERS
from rankcli.config.render import section
from rankcli.config.validate import component_from
from rankcli.errors import ConfigError
from rankcli.rerankers.base import RerankerContext
from rankcli.runs.prepare import prepare
from rankcli.trainers.tensorflow import TensorflowTrainer
from rankcli.training.groups import Group, GroupOptions, groups_for, trained
from rankcli.training.loop import Loop
from rankcli.training.step import TrainingStep
from rankcli.verbs.train import train

NO_SHORTHAND = ("trainer.bertlr=2e-5", "trainer.lr=1e-3")  # their defaults: the tiny config sets others


def variables() -> dict[str, Any]:
    return {
        "encoder/layer_0/kernel": tf.Variable([[1.0, 2.0]]),
        "encoder/frozen": tf.Variable([1.0], trainable=False),
        "classifier/kernel": tf.Variable([1.0, 2.0, 3.0]),
        "classifier/bias": tf.Variable([1.0]),
    }


def options(**given: Any) -> TensorflowTrainer:
    made = {"optimizer": OPTIMIZERS.get("adam")(), **given}
    return TensorflowTrainer(**made)


def claims(*groups: GroupOptions, of: dict[str, Any] | None = None) -> list[Group]:
    return groups_for(variables() if of is None else of, options(groups=groups))


def named(paths: list[str]) -> dict[str, Any]:
    return {path: tf.Variable([0.0]) for path in paths}


def test_encoder_and_head_have_rates_and_parameter_counts_of_their_own() -> None:
    groups = groups_for(variables(), options(bertlr=2e-5, lr=1e-3))
    assert [(group.name, group.lr, group.parameters) for group in groups] == [("bertlr", 2e-5, 2), ("lr", 1e-3, 4)]
    assert list(groups[1].variables) == ["classifier/kernel", "classifier/bias"]


def test_defect_09_groups_go_by_path_whatever_the_model_is_called() -> None:
    names = ["encoder/mpnet/layer_0/kernel", "encoder/funnel/kernel", "classifier/albert_like/kernel"]
    groups = groups_for(named(names), options(bertlr=1.0, lr=2.0))
    assert [list(group.variables) for group in groups] == [names[:2], names[2:]]


def test_the_first_match_wins_and_what_is_excluded_is_left_to_later_groups() -> None:
    groups = claims(
        GroupOptions(pattern="bias$", lr=1.0),
        GroupOptions(pattern="", exclude="^encoder", lr=2.0),
        GroupOptions(pattern="", lr=3.0),
    )
    assert [(group.name, list(group.variables)) for group in groups] == [
        ("bias$", ["classifier/bias"]),
        ("", ["classifier/kernel"]),
        (" (2)", ["encoder/layer_0/kernel"]),
    ]


def test_unclaimed_variables_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="claims classifier/kernel, classifier/bias"):
        claims(GroupOptions(pattern="^encoder", lr=1.0))


def test_groups_that_claim_nothing_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"'\^decoder', 'kernel\$'"):
        claims(
            GroupOptions(pattern="^decoder", lr=1.0),
            GroupOptions(pattern="", lr=1.0),
            GroupOptions(pattern="kernel$", lr=1.0),
        )


def test_a_model_that_is_frozen_as_a_whole_is_refused() -> None:
    with pytest.raises(ConfigError, match="every variable is frozen"):
        claims(GroupOptions(pattern="", freeze=True))


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"pattern": "("}, "is not a regular expression"),
        ({"pattern": "x", "exclude": "[", "lr": 1.0}, "exclude"),
        ({"pattern": "x"}, "lr is needed"),
        ({"pattern": "x", "freeze": True, "lr": 1.0}, "leaves nothing"),
        ({"pattern": "x", "freeze": True, "unfreeze_at": 1}, "leaves nothing"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        GroupOptions(**given)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("trainer.groups=[{pattern: '', lr: 1e-3}]", "either `groups` or `bertlr` and `lr`"),
        ("trainer.groups=[{patern: '', lr: 1e-3}]", "did you mean 'pattern'"),
        ("trainer.groups=[{pattern: '', lr: -1}]", "trainer.groups.0.lr: expected a number of at least 0"),
        ("trainer.layerdecay=0", "above 0 of at most 1"),
        ("trainer.layerdecay=1.5", "above 0 of at most 1"),
        ("trainer.weight_decay=-0.1", "of at least 0"),
        ("trainer.accumulate=0", "above 0"),
        ("trainer.accumulate=3", "batch = 2 cannot be divided into accumulate = 3"),
        ("trainer.optimizer=adamm", "did you mean 'adam'"),
        ("trainer.optimizer={name: adam, beta2: 1.0}", "below 1"),
        ("trainer.schedule={name: step, step_size: 0}", "above 0"),
        ("trainer.schedule={name: step, step_size: 1, gamma: 1.0}", "below 1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(tiny, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny("crossencoder", override)
    assert complaint in str(refused.value) and refused.value.exit_code == 2


def test_a_group_that_would_never_be_unfrozen_is_refused(tiny) -> None:
    group = "trainer.groups=[{pattern: '', lr: 1e-3, unfreeze_at: 4}]"
    with pytest.raises(ConfigError, match="not below niters = 4"):
        tiny("crossencoder", group, *NO_SHORTHAND)


def test_layer_decay_by_hand() -> None:
    """Three layers, decay 0.5: the top layer and all above it 1, then halved per layer, the embeddings lowest."""
    wanted = {
        "encoder/embeddings/word_embeddings": 0.125,
        "encoder/embeddings/layer_norm/gamma": 0.125,
        "encoder/embeddings_project/kernel": 0.125,
        "encoder/layer_0/output/kernel": 0.25,
        "encoder/layer_1/attention/qkv/bias": 0.5,
        "encoder/layer_2/output/kernel": 1.0,
        "encoder/pooler/kernel": 1.0,
        "classifier/kernel": 1.0,
    }
    groups = groups_for(named(list(wanted)), options(layerdecay=0.5))
    assert {path: member.scale for group in groups for path, member in group.members.items()} == wanted


def test_layer_decay_of_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ConfigError, match="no encoder of layers") as refused:
        groups_for(named(["encoder/word_embeddings", "output/kernel"]), options(layerdecay=0.9))
    assert "trainer.layerdecay" in str(refused.value)


def test_biases_and_norms_are_not_decayed(tiny) -> None:
    prepared = prepare(tiny("crossencoder", "trainer.weight_decay=0.1"))
    model = prepared.start.reranker.build(RerankerContext(prepared.start.extractor))
    groups = groups_for(model.variables, prepared.trainer)
    decays = {path: member.weight_decay for group in groups for path, member in group.members.items()}
    assert set(decays) == set(model.variables) and set(decays.values()) == {0.0, 0.1}
    embeddings = {f"encoder/embeddings/{name}_embeddings" for name in ("word", "position", "token_type")}
    parts = ("attention/qkv", "attention/output", "intermediate", "output")
    kernels = {f"encoder/layer_0/{part}/kernel" for part in parts} | {"encoder/pooler/kernel", "classifier/kernel"}
    assert {path for path, decay in decays.items() if decay} == embeddings | kernels


@pytest.mark.parametrize(
    ("optimizer", "weight_decay", "decays"),
    [
        ("adam", None, (0.0, 0.3, 0.2)),
        ("adamw", None, (0.01, 0.3, 0.2)),
        ("adamw", 0.5, (0.5, 0.3, 0.2)),
        ("adamw", 0.0, (0.0, 0.3, 0.2)),
    ],
)
def test_a_groups_own_weight_decay_goes_before_the_trainers_and_that_before_the_optimizers(
    optimizer: str, weight_decay: float | None, decays: tuple[float, ...]
) -> None:
    groups = (
        GroupOptions(pattern="^encoder/", exclude="bias", lr=1.0),
        GroupOptions(pattern="kernel$", lr=1.0, weight_decay=0.3),
        GroupOptions(pattern="bias$", lr=1.0, weight_decay=0.2),  # nothing but biases: it is meant
    )
    paths = ["encoder/layer_0/kernel", "classifier/kernel", "classifier/bias"]
    chosen = options(optimizer=OPTIMIZERS.get(optimizer)(), weight_decay=weight_decay, groups=groups)
    members = {path: m for group in groups_for(named(paths), chosen) for path, m in group.members.items()}
    assert tuple(members[path].weight_decay for path in paths) == decays


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, bytes]]:
    """The weights before the first iteration and after each."""
    found: list[dict[str, bytes]] = []
    end: Callable[..., None] = Loop._end_of_iteration

    def watched(self: Loop, *args: Any, **named: Any) -> None:
        found.append({path: variable.numpy().tobytes() for path, variable in self.learner.reranker.variables.items()})
        end(self, *args, **named)

    monkeypatch.setattr(Loop, "_end_of_iteration", watched)
    return found


GROUPS = (
    "trainer.groups=[{pattern: embeddings, freeze: true}, {pattern: '^encoder/', lr: 1e-2, unfreeze_at: 2,"
    " schedule: {name: step, step_size: 5, gamma: 0.5}}, {pattern: '', lr: 1e-1, schedule: cosine}]"
)


def test_frozen_variables_keep_every_bit_and_late_ones_until_their_iteration(tiny, tmp_path, seen) -> None:
    train(
        tiny("crossencoder", GROUPS, "trainer.optimizer=adamw", "trainer.validatefreq=4", *NO_SHORTHAND),
        out=tmp_path / "run",
    )
    start, one, two, three, four = seen
    # Left out: the bias of all scores, which changes no softmax over them; rounding alone may move it.
    paths = start.keys() - {"classifier/bias"}
    moved = [{path for path in paths if start[path] != after[path]} for after in (one, two, three, four)]
    head = {"classifier/kernel"}
    late = {path for path in start if path.startswith("encoder/") and "embeddings" not in path}
    assert late and moved == [head, head, head | late, head | late]
    names = tf.train.load_checkpoint(str(tmp_path / "run/checkpoints/iter-00004/ckpt")).get_variable_to_shape_map()
    assert not any("embeddings" in name for name in names if name.startswith("optimizers/"))


def test_every_groups_rate_is_that_of_its_own_schedule_at_every_step(tiny, tmp_path, monkeypatch) -> None:
    """As the step is given it, and as it is logged; warm-up is that of the whole training."""
    used: list[list[float]] = []
    take = TrainingStep.__call__

    def noted(self: TrainingStep, batches: Any, inputs: Any) -> dict[str, Any]:
        used.append([*inputs.rates.numpy().tolist(), *inputs.active.numpy().tolist()])
        return take(self, batches, inputs)

    monkeypatch.setattr(TrainingStep, "__call__", noted)
    train(
        tiny("crossencoder", GROUPS, "trainer.warmupiters=1", "trainer.validatefreq=4", *NO_SHORTHAND),
        out=tmp_path / "run",
    )
    step = [(s + 1) / 3 if s < 3 else 0.5 ** ((s - 3) // 5) for s in range(12)]
    cosine = [(s + 1) / 3 if s < 3 else (1 + np.cos(np.pi * (s - 3) / 9)) / 2 for s in range(12)]
    wanted = [[1e-2 * step[s] if s >= 6 else 0.0, 1e-1 * cosine[s], s >= 6, True] for s in range(12)]
    np.testing.assert_allclose(used, wanted, rtol=1e-6)
    entries = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    logged = [entry["lr"] for entry in entries if "lr" in entry]
    np.testing.assert_allclose([entry["^encoder/"] for entry in logged], [w[0] for w in wanted[2::3]])
    np.testing.assert_allclose([entry[""] for entry in logged], [w[1] for w in wanted[2::3]])


def test_a_dry_run_lists_every_group(tiny, tmp_path) -> None:
    plan = train(
        tiny("crossencoder", GROUPS, "trainer.layerdecay=0.5", "trainer.weight_decay=0.1", *NO_SHORTHAND),
        out=tmp_path / "run",
        dry_run=True,
    )
    frozen, encoder, head = plan["result"]["groups"]
    assert frozen["frozen"] and not encoder["frozen"]
    assert {**encoder, "parameters": 0} == {
        "name": "^encoder/",
        "pattern": "^encoder/",
        "lr": 1e-2,
        "layers": [1.0],
        "weight_decay": 0.1,
        "schedule": "step",
        "frozen": False,
        "unfreeze_at": 2,
        "parameters": 0,
    }
    assert head["parameters"] == 17 and head["schedule"] == "cosine"
    assert "group '^encoder/': learning rate 0.01, step, from iteration 3 on, weight decay 0.1, " in plan["text"]
    assert "group 'embeddings': frozen, " in plan["text"]


def test_options_of_groups_are_in_the_run_id_and_their_defaults_are_not(tiny) -> None:
    def run_id(*overrides: str) -> str:
        return prepare(tiny("crossencoder", *overrides, *NO_SHORTHAND)).identity.run_id

    group = "trainer.groups=[{pattern: '', lr: 1e-3%s}]"
    ids = [
        run_id(),
        run_id(group % ""),
        run_id(group % ", schedule: cosine"),
        run_id(group % ", schedule: linear"),
        run_id(group % ", schedule: {name: cosine, floor: 0.1}"),
        run_id(group % ", weight_decay: 0"),
        run_id(group % ", unfreeze_at: 1"),
        run_id("trainer.weight_decay=0"),
        run_id("trainer.layerdecay=0.9"),
        run_id("trainer.optimizer=adamw"),
        run_id("trainer.optimizer={name: adam, beta1: 0.8}"),
        run_id("trainer.accumulate=2"),
        run_id("trainer.amp=fp16"),
        run_id("trainer.amp=bf16"),
    ]
    assert len(set(ids)) == len(ids)
    assert run_id(group % ", freeze: false, exclude: null") == ids[1]
    same = ("trainer.optimizer=adam", "trainer.layerdecay=1.0", "trainer.accumulate=1", "trainer.amp=none")
    assert run_id(*same) == run_id("trainer.groups=[]") == ids[0]


def test_what_a_trainer_is_identified_by_leaves_out_defaults_in_groups_too() -> None:
    assert component_identity(TRAINERS, component_from(TRAINERS, "tensorflow")) == {"name": "tensorflow", "version": 1}
    group = {"pattern": "x", "lr": 0.5, "freeze": False, "schedule": {"name": "step", "step_size": 2, "gamma": 0.1}}
    made = component_from(TRAINERS, {"name": "tensorflow", "groups": [group], "layerdecay": 0.5})
    assert component_identity(TRAINERS, made) == {
        "name": "tensorflow",
        "version": 1,
        "groups": [{"pattern": "x", "lr": 0.5, "schedule": {"name": "step", "version": 1, "step_size": 2}}],
        "layerdecay": 0.5,
    }
    assert component_from(TRAINERS, section(TRAINERS, made)) == made


def test_only_groups_that_are_not_frozen_are_trained() -> None:
    groups = claims(GroupOptions(pattern="^encoder", freeze=True), GroupOptions(pattern="", lr=1.0))
    assert [group.pattern for group in trained(groups)] == [""]
