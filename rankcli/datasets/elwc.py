"""Learning to rank on TF-Ranking's records: lists of examples with a context, with features and texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import ClassVar

from rankcli.config.registry import DATASETS, option
from rankcli.data.elwc import ExampleList, Features, read_lists, shown, widths
from rankcli.data.features import FeatureRow, table_from
from rankcli.data.hashes import input_sha256
from rankcli.data.lines import Row, checked_id
from rankcli.data.source import Source, SourceContext
from rankcli.data.store import store_from
from rankcli.datasets._parts import PATH_HELP, check_parts, parts_of
from rankcli.datasets._scores import ScoredOptions, checked_scores
from rankcli.errors import ConfigError, DataError
from rankcli.log import say

LABELS = ("relevance", "utility", "label")  # in the samples and tutorials of TF-Ranking
Columns = Mapping[str, range]


@DATASETS.register("elwc")
@dataclass(frozen=True, kw_only=True)
class ELWC(ScoredOptions):
    """TFRecords of ExampleListWithContext, as TF-Ranking reads them, plain or gzip: a record is a query with its list
    of documents.

    A document's features are the numbers of its example but for the label, then those of the context, the same for all
    documents of the query; each group in the order of names, f2 before f10. The id of a query is the number of its
    record, after the name of the part if there are parts, or that in the feature `qid`; document n of it is `QUERY.n`.
    With `doc` and `query` there are texts, too. The candidates of a query are its list. Files are read once to find
    the features and once for them (again for texts), in flat memory, and then cached.
    """

    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("features",)
    path: str | dict[str, str] = option(help=PATH_HELP, path="file")
    label: str = option(LABELS[0], "feature of an example with its grade")
    features: tuple[str, ...] | None = option(None, "features of examples to read; default: all that are numbers")
    context: tuple[str, ...] | None = option(None, "features of contexts to read; default: all that are numbers")
    missing: float = option(0.0, "value of a feature that an example or context does not have")
    qid: str | None = option(None, "feature of the query with its id")
    query: str | None = option(None, "feature of the query with its text")
    doc: tuple[str, ...] = option((), "features of an example whose texts, joined, are the document's")

    def __post_init__(self) -> None:
        check_parts(self.path)
        if bool(self.doc) != bool(self.query):
            raise ValueError("texts need both `query` and `doc`")

    def build(self, ctx: SourceContext) -> Source:
        """Read the files, or what is cached of them."""
        reading, name = _Reading(self), ", ".join(parts_of(self.path).values())
        table = table_from(
            self.named(reading.made_of),
            lambda: self.joined(reading.rows()),
            None,
            self.missing,
            name,
            ctx.scratch,
            lambda: reading.width + bool(self.scores),
        )
        if not table.width and not self.doc:
            raise DataError("no example has a feature with numbers", where=name, fix="name texts: `query` and `doc`")
        docs, queries, fingerprint = None, table.queries, table.fingerprint
        if self.doc:
            about = f"{reading.made_of}:{self.query}:{self.doc}"
            docs = store_from(f"{about}:docs", reading.docs, name, ctx.scratch)
            queries = dict(store_from(f"{about}:queries", reading.queries, name, ctx.scratch).iterate())
            fingerprint = hashlib.sha256(f"{docs.fingerprint}{fingerprint}".encode()).hexdigest()
        return Source(
            name=name,
            queries=queries,
            qrels=table.qrels,
            docs=docs,
            features=table if table.width else None,
            fingerprint=fingerprint,
            listed=True,
        )

    @classmethod
    def found_in(cls, path: str) -> ELWC:
        """Return the options for a file, with its label and all of its features named."""
        first = next(read_lists(path)).examples[0]
        label = next((name for name in LABELS if name in first), LABELS[0])
        context, documents = widths(read_lists(path), (label,))
        return cls(path=path, label=label, features=tuple(documents), context=tuple(context))

    def at(self, path: str, width: int | None, scores: str | None = None) -> ELWC:
        """Return the options for another file; ConfigError where the columns depend on what is in a file."""
        if width is not None and (self.features is None or self.context is None):
            what = "the model's features are those that its training files have, and this file may have others"
            fix = "train with data.source.features and data.source.context, which name them"
            raise ConfigError(what, where=path, fix=fix)
        return replace(self, path=path, scores=checked_scores(self, path, width, scores))


class _Reading:
    """The records of a source's files. They are read as often as something is asked for that is not cached."""

    def __init__(self, options: ELWC) -> None:
        self._options, self._files = options, parts_of(options.path)
        content = [(part, input_sha256(path)) for part, path in self._files.items()]
        named = (options.label, options.features, options.context, options.qid)
        self.made_of = f"elwc:{options.version}:{content}:{named}"

    def rows(self) -> Iterator[FeatureRow]:
        """Yield the features and grade of each document."""
        documents, context = self._columns
        for part, qid, each in self._lists():
            of_query = _numbers(each, each.context, context)
            for example in each.examples:
                found = _numbers(each, example, documents) | of_query
                grade = each.grade(self._options.label, example)
                yield FeatureRow(part, qid, grade, list(found), list(found.values()))

    def docs(self) -> Iterator[Row]:
        """Yield the text of each document."""
        for _, qid, each in self._lists():
            for n, example in enumerate(each.examples, 1):
                texts = [each.text(name, example[name]) for name in self._options.doc if name in example]
                if not texts:
                    each.fail(f"an example has none of the texts {', '.join(self._options.doc)}")
                yield Row(each.number, f"{qid}.{n}", " ".join(texts))

    def queries(self) -> Iterator[Row]:
        """Yield the text of each query."""
        name = self._options.query
        assert name is not None
        for _, qid, each in self._lists():
            yield Row(each.number, qid, each.text(name, each.of_query(name)))

    @property
    def width(self) -> int:
        """The number of columns."""
        return sum(map(sum, (each.values() for each in self._widths)))

    @cached_property
    def _widths(self) -> tuple[dict[str, int], dict[str, int]]:
        """The features that are read, of documents and of queries: how many numbers each has."""
        options = self._options
        lists = chain.from_iterable(map(read_lists, self._files.values()))
        context, documents = widths(lists, (options.label, options.qid or ""))
        found = _chosen(documents, options.features, "example"), _chosen(context, options.context, "context")
        names = [*found[0], *[f"{name} (context)" for name in found[1]]]
        if names:
            say(f"{len(names)} features: {shown(names)}")
        return found

    @cached_property
    def _columns(self) -> tuple[Columns, Columns]:
        """The columns of each feature, of documents and of queries."""
        documents, context = self._widths
        return _placed(documents, 0), _placed(context, sum(documents.values()))

    def _lists(self) -> Iterator[tuple[str, str, ExampleList]]:
        """Yield part, query id and content of each record."""
        seen: dict[str, str] = {}
        for part, path in self._files.items():
            for each in read_lists(path):
                qid = self._qid(part, each)
                if qid in seen:
                    each.fail(f"query {qid!r} is there already, in {seen[qid]}", "a query is one record")
                seen[qid] = f"{path}:{each.number}"
                yield part, qid, each

    def _qid(self, part: str, each: ExampleList) -> str:
        name = self._options.qid
        if name is None:
            return f"{part}{each.number}"
        feature = each.of_query(name)
        is_text = feature.WhichOneof("kind") == "bytes_list"
        qid = each.text(name, feature) if is_text else " ".join(map(str, feature.int64_list.value))
        return checked_id(qid, each.path, each.number, "query id")


def _placed(widths: Mapping[str, int], start: int) -> Columns:
    """Return the columns of features side by side, from column `start` on."""
    ends = accumulate(widths.values(), initial=start)
    return {name: range(first, first + widths[name]) for name, first in zip(widths, ends, strict=False)}


def _numbers(each: ExampleList, features: Features, columns: Columns) -> dict[int, float]:
    """Return the numbers of features by column; a feature that is missing has none."""
    found: dict[int, float] = {}
    for name, places in columns.items():
        values = each.numbers(name, features[name]) if name in features else []
        found |= zip(places, values, strict=False)  # all or none
    return found


def _chosen(known: dict[str, int], names: tuple[str, ...] | None, kind: str) -> dict[str, int]:
    """Return the features that are asked for; ConfigError for one that is nowhere."""
    if absent := [name for name in names or () if name not in known]:
        what = f"no {kind} has numbers in {', '.join(absent)}; there are {shown([*known])}"
        raise ConfigError(what, where="data.source")
    return known if names is None else {name: known[name] for name in names}
