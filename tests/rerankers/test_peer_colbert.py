"""The same scores from a directory of the authors' form in sentence-transformers, as `MultiVectorEncoder` opens it."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
import tiny_models as tiny
from test_colbert import SIGNED, as_published, with_signs

pytestmark = pytest.mark.peers

SCRIPT = """
import json, sys, numpy
from sentence_transformers import MultiVectorEncoder
folder, query, *docs = sys.argv[1:]
model = MultiVectorEncoder(folder, device="cpu")
(query,), docs = model.encode_query([query]), model.encode_document(docs)
print(json.dumps([float((numpy.array(query) @ numpy.array(doc).T).max(1).sum()) for doc in docs]))
"""


@pytest.mark.parametrize("options", [{}, {"attendmask": True}, {"punctuation": True}])
def test_scores_are_those_of_sentence_transformers(tmp_path, options):
    if not (python := os.environ.get("RANKCLI_PEERS_PYTHON")):
        pytest.skip("RANKCLI_PEERS_PYTHON names no Python that has sentence-transformers: scripts/test-peers")
    model = with_signs(**options)
    as_published(model, tmp_path / "model", mask_punctuation=not model.options[1].punctuation)
    group = tiny.example(model.extractor, "cat mat", SIGNED)
    own = model.reranker(tiny.batch(model.extractor, [group])).scores.numpy()[0]
    command = [python, "-c", SCRIPT, str(tmp_path / "model"), "cat mat", *SIGNED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), own, atol=1e-4)
