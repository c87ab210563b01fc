"""Groups of all judged documents of a query."""

from __future__ import annotations

import pytest

from rankcli.errors import DataError
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.judged import JudgedLists
from rankcli.shapes import Judged

QRELS = {"a": {"d1": 2, "d2": 1}, "b": {f"e{n}": n % 3 - 1 for n in range(9)}, "c": {"x": 1, "y": 1}, "d": {"z": 2}}


def sampler_of(qrels, **options):
    return JudgedLists(**options).build(SamplerContext(Judged(tuple(qrels), qrels), seed=3))


def test_a_group_is_every_judged_document_with_its_grade_also_where_all_are_relevant(capsys):
    sampler = sampler_of(QRELS)
    found = {sample.qid: dict(zip(sample.docids, sample.labels, strict=True)) for sample in map(sampler, (0, 1))}
    assert found == {"a": {"d1": 2, "d2": 1}, "b": {f"e{n}": max(n % 3 - 1, 0) for n in range(9)}}
    assert "2 of 4 training queries have documents of one grade alone and are left out" in capsys.readouterr().err


def test_of_more_than_size_as_many_are_drawn_anew_in_each_pass():
    sampler = sampler_of({"b": QRELS["b"]}, size=4)
    groups = [sampler(n).docids for n in range(20)]
    assert all(len(group) == len({*group}) == 4 for group in groups)
    assert len({*groups}) > 15 and {docid for group in groups for docid in group} == QRELS["b"].keys()


def test_what_teaches_no_order_is_refused():
    with pytest.raises(DataError, match="no training query has documents of different grades"):
        sampler_of({"c": QRELS["c"], "d": QRELS["d"], "e": {"x": 0, "y": -1}})
    with pytest.raises(ValueError, match="size must be at least 2"):
        JudgedLists(size=1)
