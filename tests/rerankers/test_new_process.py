"""A new process that opens saved rerankers computes the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tiny_models as tiny
import words

from rankcli.rerankers.saved import save_reranker, sections_of

ROOT = Path(__file__).parents[2]
SCORES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import tiny_models, words
from rankcli.rerankers.saved import load_reranker
for directory in sys.argv[2:]:
    reranker, extractor, _ = load_reranker(Path(directory))
    print(reranker(tiny_models.batch(extractor, words.groups(extractor))).scores.numpy().tobytes().hex())
"""


def test_every_reranker_is_opened_in_a_new_process_to_the_bit(tmp_path):
    """One process for all, as it starts slowly."""
    expected = []
    for name in tiny.NAMES:
        model = tiny.built(name)
        save_reranker(model.reranker, model.extractor, sections_of(*model.options), tmp_path / name)
        scores = model.reranker(tiny.batch(model.extractor, words.groups(model.extractor))).scores
        expected.append(scores.numpy().tobytes().hex())
    command = [sys.executable, "-c", SCORES, str(Path(__file__).parent), *(str(tmp_path / name) for name in tiny.NAMES)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.split() == expected
