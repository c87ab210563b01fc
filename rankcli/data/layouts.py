"""The use of the files of a collection as it is published in a folder or zip archive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankcli.data import irds
from rankcli.data.roles import NONE, File, survey
from rankcli.errors import ConfigError

ORDER = ("train", "dev", "test")
Places = Mapping[str, str | list[str]] | list[str]


@dataclass(frozen=True)
class Layout:
    """The files by their use, as options of `data`, and sentences about what is not obvious."""

    data: dict[str, str | Places]
    notes: tuple[str, ...]


def document_files(place: str) -> list[str]:
    """The files of documents in a folder or archive; ConfigError if there are none."""
    found = [file.path for file in survey(place) if file.role == "docs"]
    if not found:
        raise ConfigError("there are no documents here", where=place, fix="name a file of documents")
    return found


def layout_of(place: str) -> Layout:
    """The use of every file in a folder or archive; `ir_datasets:ID` is documents, queries and judgments at once.

    Of the parts with judgments, the last is the test, and the first trains: where only train and dev are published,
    dev is the test.
    """
    if irds.named(place):
        return Layout(dict.fromkeys(("docs", "queries", "qrels"), place), ())
    files = survey(place)
    judged = _smallest(file for file in files if file.role == "qrels")
    uses = _uses({file.part for file in judged if file.part})
    chosen = {
        "docs": [file for file in files if file.role == "docs"],
        "queries": _of_parts([file for file in files if file.role == "queries"], uses),
        "qrels": _of_parts(judged, uses),
        **_candidates(files),
    }
    found = {key: _option(key, members, uses, place) for key, members in chosen.items() if members}
    return Layout(found, tuple(_notes(files, chosen, uses)))


def _uses(parts: set[str]) -> dict[str, str]:
    """The use of each published part: {train: train, dev: test} where there is no test; none for a single part."""
    known = [part for part in ORDER if part in parts]
    if len(known) < 2:
        return {}
    return dict(zip(known, ORDER if len(known) == 3 else ("train", "test"), strict=True))


def _smallest(files: Iterable[File]) -> list[File]:
    """The files without those that also come in a small version, as MS MARCO's dev does."""
    every = list(files)
    small = {file for file in every if "small" in os.path.basename(file.path)}
    return [file for file in every if file in small or file.part not in {each.part for each in small}]


def _of_parts(files: list[File], uses: dict[str, str]) -> list[File]:
    """The files of the parts that are used; those of no part only where none are."""
    named = _smallest(file for file in files if file.part in uses)
    return named or _smallest(files)


def _candidates(files: list[File]) -> dict[str, list[File]]:
    """The run, if it is for all parts, and the triples of ids."""
    runs = [file for file in files if file.role == "run" and not file.part]
    triples = [file for file in files if file.role == "triples" and "id" in os.path.basename(file.path)]
    return {"run": runs if len(runs) == 1 else [], "triples": triples[:1]}


def _option(key: str, files: Sequence[File], uses: dict[str, str], place: str) -> str | Places:
    paths = [file.path for file in files]
    if len(paths) == 1 and not (uses and key == "qrels"):
        return paths[0]
    if key == "docs":
        common = os.path.commonpath(paths)
        return common if common.startswith(place) else place
    if uses and all(file.part in uses for file in files):
        parts = {use: [file.path for file in files if file.part == part] for part, use in uses.items()}
        return {use: found[0] if len(found) == 1 else found for use, found in parts.items()}
    return paths


def _notes(files: list[File], chosen: dict[str, list[File]], uses: dict[str, str]) -> Iterator[str]:
    if uses and "dev" not in uses.values():
        yield "no dev queries are published: a fifth of train (500 at most) becomes dev"
    for part, use in uses.items():
        if part != use:
            yield f"the published {part} queries are used as {use}"
    used = {file for members in chosen.values() for file in members}
    if left := [os.path.basename(file.path) for file in files if file.role != NONE and file not in used]:
        yield f"not used: {', '.join(left)}"


def siblings(qrels: object) -> tuple[str, ...]:
    """A sentence about the judgments of other parts that lie beside a file of judgments."""
    path = Path(str(qrels))
    part = next((part for part in ORDER if part in path.name), "")
    others = [path.with_name(path.name.replace(part, other)) for other in ORDER if part and other != part]
    names = [other.name for other in others if other.is_file()]
    if not names:
        return ()
    return (f"beside {path.name} lies {' and '.join(names)}: `rankcli init FOLDER` takes the split from them",)
