"""Dropout keys and masks."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.dropout import Dropout


def dropped(key: Dropout, rate: float = 0.5, shape: tuple[int, ...] = (40, 25), dtype: str = "float32") -> np.ndarray:
    return tf.cast(key.apply(tf.ones(shape, dtype), rate), tf.float32).numpy()


def test_the_same_key_gives_the_same_mask():
    np.testing.assert_array_equal(dropped(Dropout.of(7, 3, 1, 2).fold(4)), dropped(Dropout.of(7, 3, 1, 2).fold(4)))


@pytest.mark.parametrize(
    "other",
    [
        lambda: Dropout.of(8, 3, 1, 2).fold(4),
        lambda: Dropout.of(7, 4, 1, 2).fold(4),
        lambda: Dropout.of(7, 3, 0, 2).fold(4),
        lambda: Dropout.of(7, 3, 1, 1).fold(4),
        lambda: Dropout.of(7, 3, 1, 2).fold(5),
        lambda: Dropout.of(7, 1, 3, 2).fold(4),
    ],
    ids=["seed", "step", "replica", "micro-batch", "layer", "step and replica swapped"],
)
def test_any_other_part_of_the_key_gives_an_independent_mask(other):
    here, there = dropped(Dropout.of(7, 3, 1, 2).fold(4)) > 0, dropped(other()) > 0
    assert (here == there).mean() == pytest.approx(0.5, abs=0.08)  # 1000 fair coins, five deviations


def test_whole_seeds_count_beyond_32_bits_and_below_zero():
    keys = [tuple(Dropout.of(seed, 0).seed.numpy()) for seed in (5, 5 + 2**32, -5, 2**63 - 1)]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("rate", "share"), [(0.1, 26 / 256), (0.5, 0.5), (0.9, 230 / 256), (0.01, 655 / 65536), (0.99, 64881 / 65536)]
)
def test_the_share_kept_and_its_scale_keep_the_mean(rate, share, dtype):
    """Drawn from 8 bits where the share is within a fiftieth of what is asked for, else from 16."""
    values = dropped(Dropout.of(1, 0), rate, (500, 401), dtype)
    assert (values > 0).mean() == pytest.approx(1 - share, abs=5 * (share * (1 - share) / 200_500) ** 0.5)
    assert set(np.unique(values)) == {0, np.unique(values).max()}
    assert values.max() == pytest.approx(1 / (1 - share), rel=1e-6 if dtype == "float32" else 4e-3)


def test_rate_zero_returns_the_input_itself():
    x = tf.ones([3])
    assert Dropout.of(1, 0).apply(x, 0.0) is x


def test_gradient_passes_where_values_were_kept():
    x, key = tf.ones([200]), Dropout.of(1, 0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = key.apply(x, 0.25)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_compiled_and_dynamic_shapes_draw_the_same_mask():
    def run(x, step):
        return Dropout.of(3, step).apply(x, 0.3)

    x, step = tf.ones([7, 5]), tf.constant(11, tf.int64)
    dynamic = tf.function(run, input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([], tf.int64)])
    np.testing.assert_array_equal(dynamic(x, step), run(x, 11))
    np.testing.assert_array_equal(tf.function(run, jit_compile=True)(x, step), run(x, 11))


def test_masks_are_pinned_so_that_a_resume_on_another_day_repeats_them():
    kept = dropped(Dropout.of(42, 1), 0.5, (16,)) > 0
    assert "".join("x" if k else "." for k in kept) == ".xx...xx....x..."


def test_importing_the_module_does_not_import_tensorflow():
    code = (
        "import sys, rankcli.encoders.dropout, rankcli.encoders.config, rankcli.encoders.build;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
