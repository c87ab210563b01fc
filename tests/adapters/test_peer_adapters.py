"""Adapters score alike in rankcli and in `peft`, whichever of them saved the directory."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import golden_families as golden
import numpy as np
import pytest
from adapted_families import FAMILIES, shaken

from rankcli.adapters.lora import Lora
from rankcli.shapes import TokenSequence
from rankcli.text.hub import resolve

pytestmark = pytest.mark.peers


def logits(reranker):
    zeros = [np.zeros(len(ids), np.int32) for ids in golden.GOLDEN["ids"]]
    rows = [np.array(ids, np.int32) for ids in golden.GOLDEN["ids"]]
    parts = [TokenSequence(ids, of, of + 1, n) for n, (ids, of) in enumerate(zip(rows, zeros, strict=True))]
    return reranker.logits(golden.laid_out(parts), None).numpy()


def test_peft_opens_what_is_kept_and_what_it_saves_opens_here(build, directories, tmp_path, monkeypatch):
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has peft: scripts/test-peers")
    (tmp_path / "ids.json").write_text(json.dumps(golden.GOLDEN["ids"]))
    ours, words = {}, []
    for name in FAMILIES:
        adapted = shaken(build(name, Lora(rank=2, alpha=3, keep=True)))
        (tmp_path / f"ours-{name}").mkdir()
        adapted.adapter.save(tmp_path / f"ours-{name}", adapted.parameters)
        ours[name] = logits(adapted)
        words.append(f"{name}={directories[name]}={tmp_path / f'ours-{name}' / 'adapter'}")
    side = str(Path(__file__).with_name("peer_adapters.py"))
    subprocess.run([python, side, str(tmp_path), str(tmp_path / "ids.json"), *words], check=True, timeout=300)
    found = json.loads((tmp_path / "scores.json").read_text())
    for name in FAMILIES:
        np.testing.assert_allclose(ours[name], found[name]["ours"], atol=1e-4, err_msg=name)
        directories[name] = resolve(str(tmp_path / name))
        np.testing.assert_allclose(logits(build(name)), found[name]["theirs"], atol=1e-4, err_msg=name)
    assert len(found) == len(FAMILIES)
