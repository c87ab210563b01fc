"""Look at a collection and write a configuration for it, with the figures behind each proposal as comments."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rankcli.config.render import to_yaml
from rankcli.config.schema import SPLITS, Data, Folds
from rankcli.data.files import exists, replacing
from rankcli.data.irds import PREFIX
from rankcli.data.layouts import Layout, layout_of, siblings
from rankcli.data.trec import read_run
from rankcli.errors import ConfigError
from rankcli.runs.joined import joined
from rankcli.storage.base import is_remote
from rankcli.verbs.init_features import FIVE_FOLDS_FROM, Lists, configuration_of, look_at

COVERED = 0.9  # of the judged queries: the least for which a run in the folder is taken as the first stage
MIN_FOLDS = 3  # one to train, one to choose weights, one to test
TOKENS_PER_WORD = 1.4  # of English text with a vocabulary of 30,000 subwords
FEW = 500  # judged queries: with fewer, a mixture of signals is proposed
READ = 128  # tokens of a document that are read by default, with two special ones

Place = str | Path  # a local path, or a gs:// URI as text


@dataclass(frozen=True)
class Findings:
    """The facts about a collection: counts, lengths in words, grades of the judgments, and how many ids match."""

    docs: int
    doc_words: tuple[int, int]
    queries: int
    query_words: tuple[int, int]
    judged: int
    grades: Mapping[int, int]
    absent: int
    run_queries: int | None
    split: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The findings as a few lines."""
        return summary(self)

    @property
    def relevance_level(self) -> int:
        """2 where grades go to 3 or more and 0 occurs, because 1 then usually means "related"; else 1."""
        return 2 if max(self.grades) >= 3 and 0 in self.grades else 1

    @property
    def folds(self) -> int:
        """The number of folds that fits the number of judged queries."""
        return 5 if self.judged >= FIVE_FOLDS_FROM else 3

    @property
    def fits(self) -> bool:
        """True if 19 of 20 documents are read to their end."""
        return self.doc_words[1] * TOKENS_PER_WORD <= READ - 2


def init(
    place: str | None,
    given: Mapping[str, Any],
    output: Place,
    *,
    features: str | None = None,
    dry_run: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write a configuration to `output`. Return `text`, the findings and the next command, and `result` for programs.

    `place` is a folder, an archive or `ir_datasets:ID`; `given` are options of `data` that replace what is found there.
    `features` is a file of features instead of all these.
    With `dry_run` the configuration is part of the answer and nothing is written. ConfigError where `output` exists,
    unless `force`.
    """
    if exists(output) and not (dry_run or force):
        fix = "name another one with --output, or overwrite it with --force"
        raise ConfigError("this file exists and is not overwritten", where=str(output), fix=fix)
    if features is not None and (place or given):
        raise ConfigError("--features goes without a folder and other files", where=features)
    made: tuple[Findings | Lists, dict[str, Any], str]
    made = _of_features(features, output) if features else _of_texts(place, given, output)
    found, data, text = made
    result = {"output": None if dry_run else str(output), "data": data, **asdict(found)}
    if dry_run:
        return {"result": result, "text": text.rstrip("\n")}
    with replacing(output) as stream:
        stream.write(text)
    next_one = f"wrote {output}; next: rankcli train --config {output} --dry-run"
    return {"result": result, "text": f"{found.text}\n{next_one}"}


def _of_features(path: str, output: Place) -> tuple[Lists, dict[str, Any], str]:
    found = look_at(path)
    return found, *configuration_of(path, _relative(path, output), found)


def _of_texts(place: str | None, given: Mapping[str, Any], output: Place) -> tuple[Findings, dict[str, Any], str]:
    layout = layout_of(place) if place else Layout({}, siblings(given.get("qrels")))
    options = layout.data | dict(given)
    if missing := [key for key in ("docs", "queries", "qrels") if key not in options]:
        raise ConfigError(f"no {' and no '.join(missing)} found", where=place or "", fix=f"name --{missing[0]} FILE")
    found = look(options, layout.notes)
    if "run" not in given and found.run_queries is not None and found.run_queries < COVERED * found.judged:
        found = _without_run(found, options.pop("run"))
    data = {key: _written(value, output) for key, value in options.items()}
    return found, data, configuration(found, data)


def look(options: Mapping[str, Any], notes: Iterable[str] = ()) -> Findings:
    """Read and join all files as a training does, and count; DataError where the ids do not match."""
    folds = None if isinstance(options["qrels"], dict) else Folds(k=MIN_FOLDS)
    dataset = joined(Data(**{key: _frozen(value) for key, value in options.items()}, folds=folds))
    return Findings(
        docs=len(dataset.docs),
        doc_words=_median_and_95th(len(text.split()) for _, text in dataset.docs.iterate()),
        queries=len(dataset.queries),
        query_words=_median_and_95th(len(text.split()) for text in dataset.queries.values()),
        judged=len(dataset.qrels),
        grades=dict(sorted(Counter(grade for each in dataset.qrels.values() for grade in each.values()).items())),
        absent=len(dataset.absent),
        run_queries=sum(qid in dataset.queries for qid in read_run(options["run"])) if "run" in options else None,
        split={} if folds else {part: len(dataset.split[part]) for part in SPLITS},
        notes=tuple(notes),
    )


def _without_run(found: Findings, run: Place) -> Findings:
    """Return the findings where a run that lies in the folder has too few of the queries to train with."""
    note = f"{Path(run).name} has candidates for {found.run_queries} queries only: not used, BM25 is searched"
    return replace(found, run_queries=None, notes=(*found.notes, note))


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(child) for key, child in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _median_and_95th(lengths: Iterable[int]) -> tuple[int, int]:
    known = sorted(lengths)
    return int(statistics.median_low(known)), known[(len(known) * 95 - 1) // 100]


def _written(value: Any, output: Place) -> Any:
    """Return an option as the configuration should have it: each path as `_relative` has it."""
    if isinstance(value, Mapping):
        return {key: _written(child, output) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(child, output) for child in value]
    return value if str(value).startswith(PREFIX) else _relative(value, output)


def _relative(path: Place, output: Place) -> str:
    """Return `path` as a file at `output` should name it: relative if it is in or below that file's folder, else
    absolute.
    """
    if is_remote(path) or is_remote(output):
        return str(path) if is_remote(path) else os.path.abspath(path)
    target, folder = Path(os.path.abspath(path)), Path(os.path.abspath(output)).parent
    return str(target.relative_to(folder)) if target.is_relative_to(folder) else str(target)


def summary(found: Findings) -> str:
    """Return the findings as a few lines."""
    lines = [
        f"{found.docs} documents, {found.doc_words[0]} words (median), {found.doc_words[1]} (95th percentile)",
        f"{found.queries} queries, {found.query_words[0]} words (median); {found.judged} of them judged",
        "grades: " + ", ".join(f"{grade}: {count}" for grade, count in found.grades.items()),
    ]
    if found.run_queries is not None:
        lines.append(f"candidates for {found.run_queries} queries")
    if found.split:
        lines.append("split: " + ", ".join(f"{part} {count}" for part, count in found.split.items()) + " queries")
    return "\n".join([*lines, *found.notes])


def configuration(found: Findings, paths: Mapping[str, Any]) -> str:
    """Return the configuration as YAML with comments. It states only options that depend on the collection."""
    files = to_yaml({"data": {**paths, "relevance_level": found.relevance_level}})
    notes = "".join(f"# {line}\n" for line in summary(found).split("\n"))
    first_stage = "" if "run" in paths else "  # run: first.run      # a TREC run; BM25 is searched otherwise\n"
    return (
        f"{notes}\n{files}{first_stage}"
        f"{_folds(found)}\n"
        f"# A directory, or a hub id that is downloaded once. `rankcli modules rerankers` lists the others.\n"
        f"reranker: {{name: biencoder, pretrained: sentence-transformers/all-MiniLM-L6-v2}}\n"
        f"# reranker: TFKNRM        # word embeddings: nothing to download\n"
        f"{_recipe(found)}\n"
        f"{_extractor(found)}\n"
        f"# Every other option has a default: rankcli modules trainers tensorflow. To train for longer:\n"
        f"# trainer: {{niters: 10}}\n"
    )


def _recipe(found: Findings) -> str:
    if found.judged >= FEW:
        return ""
    return (
        f"# recipe: small          # {found.judged} judged queries are few: a mixture of signals, nothing is trained\n"
    )


def _folds(found: Findings) -> str:
    if found.split:
        return ""
    return f"  folds: {{k: {found.folds}, fold: 0, seed: 7}}  # `fold: all` trains every fold in turn\n"


def _extractor(found: Findings) -> str:
    if found.fits:
        return f"# Documents are read to their end: they fit into {READ} tokens, the default of the extractor.\n"
    return (
        f"# Some documents are longer than the {READ} tokens that are read by default. To read more of them:\n"
        "# extractor: {name: apart, maxdoclen: 256}\n"
        "# or several passages of each:\n"
        "# reranker: {name: TFBERTMaxP, pretrained: cross-encoder/ms-marco-MiniLM-L6-v2}\n"
        "# extractor: {name: pooledpassage, numpassages: 4}\n"
    )
