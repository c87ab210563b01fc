from __future__ import annotations

from pathlib import Path

import pytest

from rankcli.data.triples import Triples, read_triples
from rankcli.errors import DataError


def put(folder: Path, content: str) -> Path:
    path = folder / "triples"
    path.write_text(content)
    return path


@pytest.mark.parametrize("space", ["\t", " "])
def test_triples_become_judgments_and_candidates(tmp_path: Path, space: str) -> None:
    path = put(tmp_path, "q1 p1 n2\nq1 p1 n1\nq1 p2 n2\nq2 p1 n1\n".replace(" ", space))
    assert read_triples(path) == Triples(
        {"q1": {"p1": 1, "p2": 1}, "q2": {"p1": 1}}, {"q1": ("n2", "n1"), "q2": ("n1",)}
    )


def test_what_is_both_relevant_and_not_counts_as_relevant(tmp_path: Path, capsys) -> None:
    found = read_triples(put(tmp_path, "q a b\nq b c\n"))
    assert found == Triples({"q": {"a": 1, "b": 1}}, {"q": ("c",)})
    assert "1 documents are both relevant and not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("q\ta", "2 columns"),
        ("what is x\tsome text\tother text", "triples of texts are not read"),
        ("q\ta\t", "is empty"),
    ],
)
def test_malformed_triples_are_refused(tmp_path: Path, row: str, said: str) -> None:
    path = put(tmp_path, f"q\ta\tb\n{row}\n")
    with pytest.raises(DataError, match=said) as caught:
        read_triples(path)
    assert caught.value.where == f"{path}:2"
