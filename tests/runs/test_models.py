"""Models that a reranker's options name: where they are found, and that their content counts, not their place."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from rankcli.config.registry import RERANKERS, option
from rankcli.rerankers.base import RerankerOptions
from rankcli.runs.prepare import prepare

GOLDEN = Path(__file__).parents[1] / "golden" / "encoders"


@dataclass(frozen=True, kw_only=True)
class Title:
    """A section with a model of its own."""

    model: str | None = option(None, "hub id or directory", path="model")
    depth: int = 1


@dataclass(frozen=True, kw_only=True)
class Two(RerankerOptions):
    """Two models."""

    version: ClassVar[int] = 1
    fields: ClassVar[tuple[str, ...]] = ("pair",)
    default_extractor: ClassVar[str] = "passage"
    pretrained: str | None = option(None, "hub id or directory", path="model")
    title: Title = field(default_factory=Title)


def identity(config: Any, tmp_path: Path, **options: Any) -> dict[str, Any]:
    prepared = prepare(dataclasses.replace(config, reranker=Two(**options)))
    return {**prepared.identity.content, "id": prepared.identity.run_id, "paths": dict(prepared.start.models)}


def test_the_weights_of_every_model_are_in_the_identity_and_their_places_are_not(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("crossencoder")
    monkeypatch.setitem(RERANKERS._options, "two", Two)
    here, moved = tmp_path / "here", tmp_path / "moved"
    for copy in (here, moved):
        shutil.copytree(GOLDEN / "bert", copy)
    none, one, other = (
        identity(config, tmp_path, title=Title(model=path and str(path), depth=3)) for path in (None, here, moved)
    )
    assert none["paths"] == {} and "models" not in none and none["weights"] is None
    assert one["paths"] == {"title.model": here}
    assert list(one["models"]) == ["title.model"] and one["weights"] is None
    assert one["reranker"] == none["reranker"] == {"name": "two", "version": 1, "title": {"depth": 3}}
    assert one["id"] == other["id"] != none["id"]
    (moved / "config.json").write_text("{}")
    assert identity(config, tmp_path, title=Title(model=str(moved), depth=3))["id"] != one["id"]
