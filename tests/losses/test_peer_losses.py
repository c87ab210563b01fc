"""Losses have the values and gradients of sentence-transformers' where both mean the same.

A group at a time: over a batch, theirs is the mean over all documents or pairs, ours over groups.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.losses.cases import Case, computed

pytestmark = pytest.mark.peers

SCORED = ["bce", "mse", "margin_mse", "listnet", "listmle", "plistmle", "ranknet", "adr_mse"]
LAMBDAS = ["lambdarank", "ndcgloss2", "ndcgloss2pp"]
VECTORS = ["infonce", "contrastive"]
CASES = ["graded", "binary", "far apart"]


def case(seed: int, labels: list[float], scale: float = 1.0) -> Case:
    """Draw a group with given labels; vectors have length 1."""
    draw, count = np.random.default_rng(seed), len(labels)
    scores, teacher = (draw.normal(size=(1, count)).astype(np.float32) * scale for _ in range(2))
    query, docs = draw.normal(size=(1, 4)), draw.normal(size=(1, count, 4))
    unit = [(each / np.linalg.norm(each, axis=-1, keepdims=True)).astype(np.float32) for each in (query, docs)]
    given = np.array([labels], np.float32)
    return Case(given, np.ones_like(given, bool), scores, teacher, np.ones_like(given), *unit)


@pytest.fixture(scope="module")
def groups() -> dict[str, Case]:
    """One relevant document first, grades without ties, and scores that are far apart."""
    return {
        "graded": case(1, [4, 3, 2, 1, 0]),
        "binary": case(2, [1, 0, 0, 0]),
        "far apart": case(3, [3, 2, 1, 0], 30.0),
    }


@pytest.fixture(scope="module")
def theirs(groups: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has sentence-transformers: scripts/test-peers")
    path, names = tmp_path_factory.mktemp("peers") / "cases.json", {"queries": "query"}
    content = {
        key: {
            names.get(part, part): getattr(group, part)[0].tolist()
            for part in ("scores", "labels", "teacher", "queries", "docs")
        }
        for key, group in groups.items()
    }
    path.write_text(json.dumps(content))
    side = str(Path(__file__).with_name("peer_losses.py"))
    done = subprocess.run([python, side, str(path)], capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout.splitlines()[-1])


def ours(name: str, group: Case, options: dict[str, Any] | None = None) -> tuple[float, list[np.ndarray]]:
    value, gradients = computed(name, options or {}, group, weighted=False)
    return float(value[0]), [gradient[0] for gradient in gradients]


def alike(found: tuple[float, Any], wanted: tuple[float, Any], factor: float = 1.0) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, np.multiply(other, factor), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("name", SCORED)
def test_losses_of_scores(name: str, key: str, groups: dict[str, Case], theirs: Any) -> None:
    group = groups[key]
    if name in ("bce", "mse", "margin_mse"):
        group = group._replace(labels=group.labels.clip(0, 1))
    if name == "margin_mse":  # theirs has one relevant document
        group = group._replace(labels=np.eye(1, group.labels.shape[1], dtype=np.float32))
    if key == "binary" and name in ("listmle", "plistmle"):
        pytest.skip("theirs orders equal labels as sorting happens to")
    value, gradients = ours(name, group)
    alike((value, gradients[0]), theirs[key][name])


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("name", LAMBDAS)
def test_lambda_losses_are_sums_over_the_pairs_and_theirs_means(
    name: str, key: str, groups: dict[str, Case], theirs: Any
) -> None:
    labels = groups[key].labels[0]
    pairs = int((labels[:, None] > labels).sum())
    value, gradients = ours(name, groups[key])
    alike((value, gradients[0]), theirs[key][name], pairs)


@pytest.mark.parametrize("key", CASES)
@pytest.mark.parametrize("name", VECTORS)
def test_losses_of_vectors(name: str, key: str, groups: dict[str, Case], theirs: Any) -> None:
    """The first document is the relevant one of `infonce`."""
    labels = groups[key].labels.clip(0, 1) if name == "contrastive" else np.eye(1, len(groups[key].labels[0]))
    value, gradients = ours(name, groups[key]._replace(labels=labels.astype(np.float32)))
    if name == "infonce":  # ours has dot products: with vectors of length 1 the values are equal, gradients are not
        assert value == pytest.approx(theirs[key][name][0], rel=1e-5)
    else:
        alike((value, gradients[2]), theirs[key][name])


@pytest.mark.parametrize("key", CASES)
def test_divergence_of_a_teacher(key: str, groups: dict[str, Case], theirs: Any) -> None:
    group = groups[key]
    products = np.einsum("bd,bkd->bk", group.queries, group.docs)
    value, gradients = ours("kl", group._replace(scores=products), {"temperature": 2.0})
    expected = gradients[0][:, None] * group.queries[0]
    alike((value, expected), theirs[key]["kl"])
