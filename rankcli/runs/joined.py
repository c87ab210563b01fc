"""The join of a collection's files, with a look at whether documents and queries are swapped."""

from __future__ import annotations

from rankcli.config.schema import Data
from rankcli.data.dataset import Dataset, load_dataset
from rankcli.data.documents import open_store
from rankcli.data.topics import read_judgments, read_topics
from rankcli.errors import DataError, RankcliError
from rankcli.storage.places import local_root


def joined(data: Data) -> Dataset:
    """Return the data as a training reads them. DataError if they do not fit, or fit better the other way round."""
    try:
        dataset = load_dataset(data, local_root())
    except DataError as error:
        if _swapped(data):
            raise _other_way_round(data) from error
        raise
    if dataset.absent and _swapped(data):
        raise _other_way_round(data)
    return dataset


def _swapped(data: Data) -> bool:
    """Return True if more judged ids are found with documents and queries swapped."""
    try:
        docs = open_store(data.docs or "", data.format, local_root())
        queries = read_topics(data.queries or data.docs or "", data.format, data.topics)
        qrels = read_judgments(data.qrels or data.docs or "")
    except RankcliError:
        return False
    judged = {docid for grades in qrels.values() for docid in grades}
    found = len(qrels.keys() & queries.keys()) + len(docs.known(judged))
    return len(docs.known(qrels)) + len(judged & queries.keys()) > found


def _other_way_round(data: Data) -> DataError:
    return DataError(
        f"documents and queries seem to be swapped: more judged ids are found with {data.queries} as documents",
        where=str(data.docs),
        fix=f"--docs {data.queries} --queries {data.docs}",
    )
