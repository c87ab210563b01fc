"""Batches for training, from any step on, and for prediction; they are made ahead in a thread."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence

from rankcli.extractors.base import Extractor
from rankcli.records.collate import Shape, collate
from rankcli.records.interleave import Records, Stride, read_examples
from rankcli.records.prefetch import prefetch
from rankcli.shapes import Batch, Example

SORT_PAIRS = 20_000  # sorting more of them at once by length saves hardly any more padding

Rows = list[list[tuple[str, tuple[str, ...]]]]


def training_batches(
    records: Records,
    extractor: Extractor,
    *,
    batch: int,
    replicas: int = 1,
    start_step: int = 0,
    steps: int,
    static: bool = False,
    here: range | None = None,
    at_once: Iterable[int] = itertools.repeat(1),
) -> Iterator[list[Batch]]:
    """The batches of the steps from `start_step` to `steps` - 1: `batch` / `replicas` groups for each replica.

    `at_once` gives the number of steps whose batches come together, in one list, step after step. Step s uses the
    samples s * `batch` up to (s + 1) * `batch` for any number of replicas, which take them in turn. Only samples of the
    replicas `here` (default: all) are decoded and laid out. Batches that come together have equal shapes; with `static`
    their number of sequences is also one of few, for devices that compile for fixed shapes. ValueError if `batch` is no
    multiple of `replicas`, or if the cache has too few samples.
    """
    if batch % replicas:
        raise ValueError(f"a batch of {batch} groups cannot be divided evenly over {replicas} replicas")
    if steps * batch > records.manifest.samples:
        raise ValueError(f"{steps} steps of {batch} samples asked of a cache of {records.manifest.samples}")
    here = here or range(replicas)
    part = Stride(here.start, here.stop, replicas)
    examples = read_examples(records, start_step * batch, steps * batch, part)
    return prefetch(_training(examples, extractor, batch // replicas, len(here), static, at_once))


def _training(
    examples: Iterator[Example],
    extractor: Extractor,
    groups: int,
    replicas: int,
    static: bool,
    at_once: Iterable[int],
) -> Iterator[list[Batch]]:
    chunks = _chunks(examples, groups * replicas)
    for count in at_once:
        steps = list(itertools.islice(chunks, count))
        if not steps:
            return
        docs = max(len(example.docids) for chunk in steps for example in chunk)
        parts = [part for chunk in steps for part in _split(chunk, replicas)]
        yield collate(parts, extractor, Shape(groups, docs, static))


def prediction_batches(
    examples: Iterator[Example],
    extractor: Extractor,
    *,
    evalbatch: int,
    replicas: int = 1,
    static: bool = False,
    whole_groups: bool = False,
) -> Generator[tuple[list[Batch], Rows], None, None]:
    """Batches, one per replica, that have every query-document pair of `examples` once, and the `rows` of each.

    Groups have one document or, with `whole_groups`, all of the query's. `rows[r][b]` is the (qid, docids) of group b
    of replica r; groups after these only pad. Pairs are sorted by length within a large window, longest first, so that
    a batch has sequences of similar lengths; whole groups are sorted by their number of documents before that.
    `evalbatch` counts the pairs of all replicas and is rounded up to a multiple of their number; a batch has at least
    one whole group per replica. With `static` the last batch is as large as the others.
    """
    per_replica = -(-evalbatch // replicas)
    make = _whole_groups if whole_groups else _prediction
    return prefetch(make(examples, extractor, per_replica, replicas, static))


def _prediction(
    examples: Iterator[Example], extractor: Extractor, groups: int, replicas: int, static: bool
) -> Iterator[tuple[list[Batch], Rows]]:
    size = groups * replicas
    pairs = (example.single(k) for example in examples for k in range(len(example.docids)))
    for window in _chunks(pairs, max(SORT_PAIRS // size, 1) * size):
        window.sort(key=lambda pair: pair.tokens, reverse=True)
        for chunk in _chunks(iter(window), size):
            wanted = groups if static else -(-len(chunk) // replicas)
            parts = _split(chunk, replicas)
            batches = collate(parts, extractor, Shape(wanted, 1, static, share=True))
            yield batches, _rows(parts)


def _whole_groups(
    examples: Iterator[Example], extractor: Extractor, pairs: int, replicas: int, static: bool
) -> Iterator[tuple[list[Batch], Rows]]:
    for window in _windows(examples):
        window.sort(key=lambda group: (len(group.docids), group.tokens), reverse=True)
        while window:
            docs = len(window[0].docids)
            groups = max(pairs // docs, 1)
            chunk, window = window[: groups * replicas], window[groups * replicas :]
            wanted = groups if static else -(-len(chunk) // replicas)
            parts = _split(chunk, replicas)
            yield collate(parts, extractor, Shape(wanted, docs, static, share=True)), _rows(parts)


def _windows(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Lists of groups with about `SORT_PAIRS` documents together; groups without documents are left out."""
    window, pairs = list[Example](), 0
    for example in examples:
        if example.docids:
            window.append(example)
            pairs += len(example.docids)
        if pairs >= SORT_PAIRS:
            yield window
            window, pairs = [], 0
    if window:
        yield window


def _rows(parts: Sequence[Sequence[Example]]) -> Rows:
    return [[(example.qid, example.docids) for example in part] for part in parts]


def _split(chunk: Sequence[Example], replicas: int) -> list[Sequence[Example]]:
    """Deal groups to replicas in turn, so that several hosts need different stripes of the cache."""
    return [chunk[r::replicas] for r in range(replicas)]


def _chunks(examples: Iterator[Example], size: int) -> Iterator[list[Example]]:
    while chunk := list(itertools.islice(examples, size)):
        yield chunk
