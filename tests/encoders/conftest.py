"""Layouts made from arrays, and the golden directories; lets tests import `golden_families`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.config import EncoderConfig
from rankcli.shapes import Layout

sys.path.insert(0, str(Path(__file__).parent))
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "encoders"


def padded_layout(ids: np.ndarray, segments: np.ndarray, mask: np.ndarray) -> Layout:
    rows, length = ids.shape
    positions = np.broadcast_to(np.arange(length), ids.shape)
    sequence = np.where(mask > 0, np.arange(rows)[:, None], -1)
    places = np.where(mask > 0, np.arange(ids.size).reshape(ids.shape), -1)
    return Layout(*(tf.constant(part, tf.int32) for part in (ids, positions, segments, sequence, places, segments)))


@pytest.fixture
def golden() -> Callable[[str], tuple[Path, dict[str, np.ndarray], Layout]]:
    """The directory, stored arrays and input layout of a golden checkpoint."""

    def load(name: str) -> tuple[Path, dict[str, np.ndarray], Layout]:
        stored = dict(np.load(GOLDEN / name / "golden.npz"))
        inputs = padded_layout(stored["input_ids"], stored["token_type_ids"], stored["attention_mask"])
        return GOLDEN / name, stored, inputs

    return load


@pytest.fixture
def lay_out() -> Callable[..., Layout]:
    """Sequences of token ids as a padded layout `width` wide; the second half of each is segment 1."""

    def make(sequences: Sequence[Sequence[int]], width: int = 0) -> Layout:
        width = width or max(map(len, sequences))
        ids, segments, mask = (np.zeros((len(sequences), width), np.int32) for _ in range(3))
        for n, tokens in enumerate(sequences):
            ids[n, : len(tokens)] = tokens
            segments[n, (len(tokens) + 1) // 2 : len(tokens)] = 1
            mask[n, : len(tokens)] = 1
        return padded_layout(ids, segments, mask)

    return make


@pytest.fixture
def small() -> EncoderConfig:
    sizes = {"hidden_size": 12, "layers": 2, "heads": 3, "intermediate_size": 20, "embedding_size": 12}
    return EncoderConfig(kind="bert", vocab_size=40, max_positions=16, **sizes)
