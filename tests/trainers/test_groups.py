"""Optimizer groups claim by path, and nothing is left over."""

from __future__ import annotations

import pytest

from rankcli.backend import tf
from rankcli.errors import ConfigError
from rankcli.trainers._groups import assign_groups, groups_for


def variables() -> dict:
    return {
        "encoder/layer_0/kernel": tf.Variable([[1.0, 2.0]]),
        "encoder/frozen": tf.Variable([1.0], trainable=False),
        "classifier/kernel": tf.Variable([1.0, 2.0, 3.0]),
        "classifier/bias": tf.Variable([1.0]),
    }


def test_encoder_and_head_have_rates_and_parameter_counts_of_their_own() -> None:
    groups = groups_for(variables(), bertlr=2e-5, lr=1e-3)
    assert [(group.name, group.lr, group.parameters) for group in groups] == [("bertlr", 2e-5, 2), ("lr", 1e-3, 4)]
    assert list(groups[1].variables) == ["classifier/kernel", "classifier/bias"]


def test_defect_09_groups_go_by_path_whatever_the_model_is_called() -> None:
    names = ["encoder/mpnet/layer_0/kernel", "encoder/funnel/kernel", "classifier/albert_like/kernel"]
    groups = groups_for({name: tf.Variable([0.0]) for name in names}, 1.0, 2.0)
    assert [list(group.variables) for group in groups] == [names[:2], names[2:]]


def test_the_first_match_wins() -> None:
    groups = assign_groups(variables(), [("bias", "bias$", 1.0), ("encoder", "^encoder", 2.0), ("rest", "", 3.0)])
    assert {group.name: list(group.variables) for group in groups} == {
        "bias": ["classifier/bias"],
        "encoder": ["encoder/layer_0/kernel"],
        "rest": ["classifier/kernel"],
    }


def test_an_unclaimed_variable_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="classifier/kernel"):
        assign_groups(variables(), [("encoder", "^encoder", 1.0)])


def test_a_group_that_claims_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="decoder"):
        assign_groups(variables(), [("decoder", "^decoder", 1.0), ("rest", "", 1.0)])
