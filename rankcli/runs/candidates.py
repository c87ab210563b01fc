"""The candidates of a run: read from a file, or searched once and cached."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankcli.config.identity import component_identity
from rankcli.config.registry import SEARCHERS, path_options
from rankcli.config.schema import Data
from rankcli.data.dataset import Dataset, canonical_hash
from rankcli.data.hashes import input_sha256
from rankcli.data.joins import join_run
from rankcli.data.kept import Kept
from rankcli.data.source import Documents
from rankcli.data.trec import CompactRun, Run, read_run, write_run
from rankcli.log import say, warn
from rankcli.runs.encoder import text_vectors
from rankcli.runs.model import find_model, weights_identity
from rankcli.searchers.base import SearcherContext

NOTHING = CompactRun({})
KIND, SUFFIX = "first-stage", ".run"
FEW = 0.01  # of the queries: so many without candidates are no warning
_PACKAGES = ("bm25s", "PyStemmer")  # their versions may change scores, so they are part of the name of a cached run


def first_stage(dataset: Dataset, run_option: Any, scratch: Path, known: CompactRun = NOTHING) -> CompactRun:
    """Return the candidates of all queries of the split: from a TREC run file, or searched with a searcher's options.

    A searched run is cached in `scratch` under a hash of collection, queries and options, and read from there next
    time. Queries in `known` are not searched.
    """
    topics = dataset.topics()
    if isinstance(run_option, (str, Path)):
        run = _read(str(run_option), [dataset])
    elif dataset.listed:
        run = _judged(dataset)
    else:
        left = {qid: text for qid, text in topics.items() if qid not in known}
        run = known
        if left:
            run |= _cached(_kept(dataset, left, run_option, scratch), dataset, left, run_option)
    return _checked(run, topics)


def first_stages(dataset: Dataset, data: Data, scratch: Path, depth: int | None = None) -> dict[str, CompactRun]:
    """Return the candidates of the split's queries under an empty name, and those of every further dev set under its
    name.

    A run file that several sets name is read once. No query is searched twice with the same options. `depth` is the
    deepest rank that is read of training queries; None reads all.
    """
    sets = {"": dataset, **dataset.devsets}
    options = {"": data.run, **{name: devset.run or data.run for name, devset in (data.devsets or {}).items()}}
    read: dict[str, CompactRun] = {}
    found: dict[str, CompactRun] = {}
    for name, option in options.items():
        if isinstance(option, (str, Path)):
            users = [sets[each] for each, other in options.items() if other == option]
            read[str(option)] = read.get(str(option)) or _read(str(option), users, depth)
            found[name] = _checked(read[str(option)], sets[name].topics())
        else:
            same = found and option == data.run and sets[name].queries is dataset.queries
            found[name] = first_stage(sets[name], option, scratch, found[""] if same else NOTHING)
    return found


def _read(path: str, users: Sequence[Dataset], depth: int | None = None) -> CompactRun:
    """Read a run file and join it with the queries of all datasets that use it.

    Queries that are only trained on are read to `depth`.
    """
    queries = {id(user.queries): user.queries for user in users}
    known = users[0].queries if len(queries) == 1 else {qid: "" for texts in queries.values() for qid in texts}
    depths = {} if depth is None else dict.fromkeys(_training_alone(users), depth)
    run = read_run(path, depths)
    if depths and users[0].docs.absent({docid for docids, _ in run.by_query.values() for docid in docids}):
        run = read_run(path)  # documents that are not in the collection make room for lower ranks
    return join_run(run, known, users[0].docs, path)


def _training_alone(users: Sequence[Dataset]) -> set[str]:
    """Return the training queries of the split that no dev set uses."""
    main = next((user for user in users if user.split["train"]), None)
    return set(main.split["train"]).difference(*(user.split["dev"] for user in users)) if main else set()


def _judged(dataset: Dataset) -> CompactRun:
    """Return the judged documents of each query: the only candidates where nothing is searched."""
    return CompactRun.of((qid, dict.fromkeys(grades, 0.0)) for qid, grades in dataset.qrels.items())


def _checked(run: CompactRun, topics: Mapping[str, str]) -> CompactRun:
    """Return the part of a run about `topics`, and warn of topics without candidates."""
    warn_unanswered(run, topics)
    return run.part(topics)


def packages() -> dict[str, str]:
    """The versions of packages that may change scores."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _kept(dataset: Dataset, topics: dict[str, str], options: Any, scratch: Path) -> Kept:
    made_of: dict[str, Any] = {
        "collection": dataset.docs.fingerprint,
        "topics": canonical_hash(topics),
        "searcher": component_identity(SEARCHERS, options, input_sha256),
        "packages": packages(),
    }
    if models := _models(options):
        made_of["models"] = models
    return Kept(scratch, KIND, SUFFIX, json.dumps(made_of, sort_keys=True), dataset.docs.source)


def searched(docs: Documents, topics: Mapping[str, str], options: Any, storage: str | None = None) -> Run:
    """Search topics with a searcher's options. Vectors of texts are kept in `storage`."""
    with text_vectors(docs, storage) as vectors:
        found: Run = options.build(SearcherContext(docs, vectors)).search(topics)
    return found


def _models(options: Any) -> list[dict[str, str]]:
    """Return the hashes of the models that a searcher and those inside it name, in order."""
    if isinstance(options, str):
        return []
    own = [weights_identity(find_model(said, "best"), "best") for said in path_options(options, "model").values()]
    return own + [each for inner in getattr(options, "runs", ()) for each in _models(inner)]


def _cached(kept: Kept, dataset: Dataset, topics: dict[str, str], options: Any) -> CompactRun:
    """Return the cached run, and make it if it is missing.

    StorageError where it was changed.
    """
    path = kept.path
    if not kept.is_kept():
        path.parent.mkdir(parents=True, exist_ok=True)
        run = searched(dataset.docs, topics, options, str(kept.folder))
        write_run(path, run)
        kept.seal()
        return CompactRun.of(run.items())
    known: Run = read_run(path) if path.stat().st_size else {}
    return CompactRun.of((qid, known.get(qid, {})) for qid in topics)


def warn_unanswered(run: Run, topics: Iterable[str]) -> None:
    """Tell how many queries have no candidates; a warning if they are more than a few."""
    asked = list(topics)
    missing = [qid for qid in asked if not run.get(qid)]
    if missing:
        tell = warn if len(missing) > FEW * len(asked) else say
        tell(f"{len(missing)} of {len(asked)} queries have no candidates, e.g. {min(missing)!r}; they count as zero")
