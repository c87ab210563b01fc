"""The facts about a run at the head of its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rankcli.runs.about import about


@pytest.mark.parametrize(("given", "depth"), [("null", 10), ("7", 7)])
def test_the_depth_on_test_is_that_on_dev_unless_it_is_given(given: str, depth: int, tiny: Any) -> None:
    summary = about(tiny("TFKNRM", f"trainer.testthreshold={given}")).summary
    assert summary["Depth on test"] == f"{depth} candidates a query"


def test_documents_are_named_with_their_folder(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"_id": "x", "text": "y"}\n')
    assert about(tiny("TFKNRM")).summary["Collection"] == f"{tmp_path.name}/docs.jsonl"
    several = about(tiny("TFKNRM", f"data.docs=[{tmp_path}/docs.jsonl, {tmp_path}/more.jsonl]")).summary
    assert several["Collection"] == f"{tmp_path.name}/docs.jsonl, {tmp_path.name}/more.jsonl"
