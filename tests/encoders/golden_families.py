"""The tiny models of `families.json` (scripts/make-golden-families): their weights, sequences, and as directories."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rankcli.backend import tf
from rankcli.encoders.family import ENCODERS
from rankcli.records.layout import flat, packed
from rankcli.rerankers.base import Reranker
from rankcli.shapes import Layout, TokenSequence
from rankcli.text.weights import write_tensors

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "encoders"
GOLDEN = json.loads((FOLDER / "families.json").read_text())
MODELS: dict[str, dict[str, Any]] = {
    name: model for name, model in GOLDEN["models"].items() if model["config"]["model_type"] in ENCODERS.builtins()
}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of a weight: 32 bits of its name and of the place in it, mixed."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(15)
    value = (x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)
    if len(shape) == 1 and name.endswith("weight"):
        value = 1 + value / 4
    return value.reshape(shape)


def written(name: str, directory: Path) -> Path:
    """A directory with the model."""
    directory.mkdir(parents=True, exist_ok=True)
    config = {**MODELS[name]["config"], "architectures": ["AForSequenceClassification"]}
    (directory / "config.json").write_text(json.dumps(config))
    write_tensors(directory, {key: weight(key, tuple(shape)) for key, shape in MODELS[name]["weights"].items()})
    return directory


def sequences(name: str) -> list[TokenSequence]:
    """The sequences of the golden values; the second half of each is segment 1 where the model reads segments.

    Where it does not, every token is in segment 1, as some tokenizers have it.
    """
    return [
        _sequence(n, np.array(ids, np.int32), MODELS[name].get("token_types")) for n, ids in enumerate(GOLDEN["ids"])
    ]


def laid_out(parts: Sequence[TokenSequence], form: str = "flat") -> Layout:
    """The sequences as one batch, `flat` or `packed`."""
    (layout,) = (
        flat([parts], len(parts), 0) if form == "flat" else packed([parts], len(parts), max(GOLDEN["lengths"]), 0)
    )
    return tf.nest.map_structure(tf.constant, layout)


def check_gradients(reranker: Reranker, gradients: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare gradients by variable with the products with probes, and the norms, that are expected of each weight."""
    found: dict[str, np.ndarray] = {}
    for one in reranker.weights:
        found |= one.stored(tf.convert_to_tensor(gradients[one.path]).numpy().astype(np.float64))
    assert found.keys() == expected.keys()
    for name, (along, norm) in expected.items():
        probe = weight(f"{name}.probe", found[name].shape)
        assert np.sum(found[name] * probe) == pytest.approx(along, abs=1e-4 * norm + 1e-6), name
        assert np.linalg.norm(found[name]) == pytest.approx(norm, rel=1e-4, abs=1e-6), name


def _sequence(n: int, ids: np.ndarray, reads_segments: bool | None) -> TokenSequence:
    segments = np.arange(len(ids)) >= (len(ids) + 1) // 2 if reads_segments else np.ones(len(ids))
    return TokenSequence(ids, segments.astype(np.int32), np.ones_like(ids), n)
