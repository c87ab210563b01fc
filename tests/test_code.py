"""The code's own rules: docstrings that begin with the thing, short functions, short files."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "rankcli").rglob("*.py"))
INDIRECT = {"What", "Whether", "Who", "Which", "How"}  # a docstring begins with a verb or with the thing
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes(files: Sequence[Path] = FILES) -> Iterator[tuple[str, ast.AST]]:
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            yield str(file.relative_to(ROOT)), node


def lines(function: Function) -> int:
    """The lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_docstrings_begin_with_a_verb_or_with_the_thing() -> None:
    files = [*FILES, *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    texts = [(file, ast.get_docstring(node) or "") for file, node in nodes(files) if isinstance(node, Documented)]
    assert [f"{file}: {text.splitlines()[0]}" for file, text in texts if text.split(" ")[0] in INDIRECT] == []


def test_functions_are_short() -> None:
    lengths = sorted(lines(node) for _, node in nodes() if isinstance(node, Function))
    assert statistics.median(lengths) <= 7
    assert lengths[int(0.9 * len(lengths))] <= 16


def test_files_are_short() -> None:
    counts = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in FILES}
    assert {file: count for file, count in counts.items() if count > 300} == {}
