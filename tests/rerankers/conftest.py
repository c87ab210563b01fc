"""Lets the tests of rerankers import `tiny_models` and `numpy_models`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
