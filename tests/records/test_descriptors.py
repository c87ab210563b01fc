"""Descriptors and maps of a conversion: a few, however many documents it needs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONVERT = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]) / "tests/records")]
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from record_fakes import WordExtractor, job
from rankcli.records import tokens
from rankcli.records.convert import convert
from rankcli.shapes import Record, Sample

class Many:
    def records(self, ids): return self.records_at(self.ordinals(ids))
    def ordinals(self, ids): return np.array([int(name[1:]) for name in ids], np.int64)
    def ids_at(self, ordinals): return [f"d{n}" for n in ordinals]
    def records_at(self, ordinals): return [Record(f"d{n}", f"w{n} w{n % 7}") for n in ordinals]

documents, per_part = int(sys.argv[3]), int(sys.argv[4])
tokens.TEXTS_PER_PART = per_part
def sampler(n):
    docids = tuple(f"d{d}" for d in range(100 * n, 100 * n + 100))
    return Sample(f"q{n % 50}", docids, (1.0,) + (0.0,) * 99)
found = convert(job(Path(sys.argv[2]), sampler=sampler, samples=documents // 100, docs=Many(), group_size=100,
                    extractor=WordExtractor(), samples_per_shard=100))
open_now = len(list(Path("/proc/self/fd").iterdir()))
print(found.documents, open_now)
"""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("documents", "per_part"),
    [(4_000, 8), (400_000, 16_384)],
    ids=["500 parts of a few", "400,000"],
)
def test_a_conversion_opens_few_files_however_many_documents_it_needs(
    tmp_path: Path, documents: int, per_part: int
) -> None:
    command = [sys.executable, "-c", CONVERT, str(ROOT), str(tmp_path), str(documents), str(per_part)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    converted, descriptors = map(int, done.stdout.split())
    assert converted == documents and descriptors < 64
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 128  # the limit was the child's
