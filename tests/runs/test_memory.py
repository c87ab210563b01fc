"""Trainings of several folds in one process: what one has traced is freed before the next begins."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import graphs_let_go, tf
from rankcli.encoders.layouts import moved
from rankcli.runs import folds
from rankcli.verbs.train import train


def traced() -> Any:
    """A function that holds a constant and a gradient of ours, called once, and its graph."""
    index = tf.constant([1, 0])

    @tf.function
    def product(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(moved(x, index, index) * tf.constant([[3.0], [5.0]]))
        return tape.gradient(y, x)

    return product, product.get_concrete_function(tf.TensorSpec([2, 1])).graph


def test_graphs_go_at_the_end_of_the_block_and_those_of_before_still_work() -> None:
    earlier, _ = traced()
    with graphs_let_go():
        gone = weakref.ref(traced()[1])
        gc.collect()
        assert gone() is not None
    assert gone() is None
    assert earlier(tf.constant([[1.0], [1.0]])).numpy().tolist() == [[5], [3]]
    np.testing.assert_array_equal(traced()[0](tf.constant([[1.0], [1.0]])), [[5], [3]])


def test_a_fold_leaves_no_graph(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, once = list[int](), folds.run_once

    def counted(*given: Any) -> Any:
        graphs.append(sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects()))
        return once(*given)

    monkeypatch.setattr(folds, "run_once", counted)
    config = tiny("biencoder", "data.folds.fold=all", "trainer.niters=1", "trainer.itersize=2", "metrics.report=[map]")
    gc.collect()
    train(config, out=tmp_path / "run")
    assert len(graphs) == 3 and graphs[0] >= graphs[1] == graphs[2]
