"""TFRecords of ExampleListWithContext, TF-Ranking's format: a query with its documents is one record.

Files and records are read by TensorFlow's and TF-Ranking's own code. Errors name FILE:RECORD, counted from 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from google.protobuf.message import DecodeError

from rankcli.backend import elwc, tf
from rankcli.data.lines import GZIP, fail, start_of
from rankcli.data.trec import MAX_GRADE
from rankcli.shapes import LARGEST
from rankcli.storage.inputs import local_copy

Features = Mapping[str, Any]  # messages of the type tf.train.Feature by name
SHOWN = 12  # names of features in a message
_NUMBERS = ("int64_list", "float_list")


class ExampleList(NamedTuple):
    """A record: its file and number, the features of the query, and those of each document."""

    path: str
    number: int
    context: Features
    examples: list[Features]

    def fail(self, what: str, fix: str = "") -> NoReturn:
        """Raise the DataError of this record."""
        fail(self.path, self.number, what, fix)

    def of_query(self, name: str) -> Any:
        """Return a feature of the query, which is in the context or, equal, in its examples; the first has it then."""
        for features in (self.context, *self.examples[:1]):
            if name in features:
                return features[name]
        known = shown([*self.context, *self.examples[0]])
        self.fail(f"no feature {name!r} in the context or in the first example; there are {known}")

    def numbers(self, name: str, feature: Any) -> list[float]:
        """Return the numbers of a feature."""
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind in _NUMBERS else []
        if kind == "bytes_list":
            self.fail(f"feature {name!r} is bytes, not numbers", "leave it out of `features`")
        if not all(math.isfinite(value) and abs(value) <= LARGEST for value in values):
            self.fail(f"feature {name!r} has a number that is not a finite float32")
        return values

    def text(self, name: str, feature: Any) -> str:
        """Return the strings of a feature, joined by a space."""
        try:
            return " ".join(value.decode() for value in feature.bytes_list.value)
        except UnicodeDecodeError:
            self.fail(f"feature {name!r} is not UTF-8")

    def grade(self, label: str, example: Features) -> int:
        """Return the label of a document."""
        if label not in example:
            fix = "name it in data.source.label"
            self.fail(f"an example has no label {label!r}; there are {shown(example)}", fix)
        values = self.numbers(label, example[label])
        if len(values) != 1 or values[0] != int(values[0]) or abs(values[0]) > MAX_GRADE:
            self.fail(f"the label is {str(values)[:40]}, not one integer from -{MAX_GRADE} to {MAX_GRADE}")
        return int(values[0])


def read_lists(path: str) -> Iterator[ExampleList]:
    """Read the records of a file, plain or gzip, one after the other."""
    number = 0
    for number, data in enumerate(_records(path), 1):
        try:
            found = elwc.ExampleListWithContext.FromString(data)
        except DecodeError:
            fail(path, number, "the record is no ExampleListWithContext", "other formats must be converted")
        if not found.examples:
            fail(path, number, "the record has no examples", "is it an ExampleListWithContext?")
        examples = [example.features.feature for example in found.examples]
        yield ExampleList(path, number, found.context.features.feature, examples)
    if not number:
        fail(path, 1, "the file has no records")


def _records(path: str) -> Iterator[bytes]:
    packed = start_of(path).startswith(GZIP)
    records = tf.compat.v1.io.tf_record_iterator(
        str(local_copy(path)), tf.compat.v1.io.TFRecordOptions("GZIP" if packed else "")
    )
    number = 1
    try:
        for data in records:
            yield data
            number += 1
    except tf.errors.DataLossError as error:
        fail(path, number, f"no TFRecord file, or a damaged one ({str(error)[:80]})", "fetch the file again")


def widths(lists: Iterable[ExampleList], leave: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the features with numbers, of queries and of documents: how many numbers each has, by name, in the order
    of names that counts numbers in them as numbers. Those in `leave` are left out.

    DataError where a feature has sometimes more numbers than at other times.
    """
    context: dict[str, int] = {}
    documents: dict[str, int] = {}
    for each in lists:
        for of, known in ((each.context, context), *((example, documents) for example in each.examples)):
            _measure(each, {name: of[name] for name in of if name not in leave}, known)
    return _sorted(context), _sorted(documents)


def _measure(of: ExampleList, features: Features, known: dict[str, int]) -> None:
    for name, feature in features.items():
        kind = feature.WhichOneof("kind")
        count = len(getattr(feature, kind).value) if kind in _NUMBERS else 0
        if count and known.setdefault(name, count) != count:
            what = f"feature {name!r} has {count} numbers here, {known[name]} in an earlier place"
            of.fail(what, "name the features to read in data.source.features")


def _sorted(known: dict[str, int]) -> dict[str, int]:
    return {name: known[name] for name in sorted(known, key=_natural)}


def shown(names: Iterable[str]) -> str:
    """Return names of features for a message, in their order, some of them if they are many."""
    known = sorted(set(names), key=_natural)
    return ", ".join(known if len(known) <= SHOWN else [*known[: SHOWN - 1], "...", known[-1]]) or "none"


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that puts `f2` before `f10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]
