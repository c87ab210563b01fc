"""Samplers with several sources of negatives, grades, a teacher's scores: what they draw, and how often."""

from __future__ import annotations

import collections
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from rankcli.data.store import store_of
from rankcli.errors import ConfigError, DataError
from rankcli.samplers import _pools
from rankcli.samplers._draw import Draws
from rankcli.samplers._negatives import Negatives
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.guards import Guards
from rankcli.samplers.hardnegatives import HardNegatives
from rankcli.samplers.lce import LCE
from rankcli.samplers.listwise import Listwise
from rankcli.samplers.mixture import Mixture
from rankcli.samplers.pair import Pair
from rankcli.samplers.pointwise import Pointwise
from rankcli.samplers.scored import Scored
from rankcli.samplers.triplet import Triplet
from rankcli.samplers.weighted import Weighted
from rankcli.shapes import Judged, Ranked

DRAWS = 20_000
ALL = ("a1", "a2", "a3", "b1", "b2", "b3", "n1", "n2", "r1", "r2", "s", "t", "x", "y")


def ranked(*docids: str) -> Ranked:
    """Candidates with the scores 10, 9, ..."""
    return Ranked(docids, np.arange(10, 10 - len(docids), -1, dtype=np.float32))


def judged() -> Judged:
    """Query a: relevant r1 (grade 3) and r2 (1), judged n1 and n2 (0), candidates a1, r1, a2, n1, a3. Query b: relevant
    s (2), candidates b1 to b3. Query c: nothing is retrieved, t is relevant.
    """
    qrels = {"a": {"r1": 3, "r2": 1, "n1": 0, "n2": 0}, "b": {"s": 2}, "c": {"t": 1}}
    return Judged(("a", "b", "c"), qrels, {"a": ranked("a1", "r1", "a2", "n1", "a3"), "b": ranked("b1", "b2", "b3")})


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """Make a context, over a collection of all documents that are named and two more."""
    docs = store_of({docid: docid for docid in ALL}, "docs", tmp_path)

    def made(**changes: Any) -> SamplerContext:
        return dataclasses.replace(SamplerContext(judged(), seed=11, docs=docs), **changes)

    return made


def only(ctx: SamplerContext, qid: str) -> SamplerContext:
    return dataclasses.replace(ctx, judged=dataclasses.replace(ctx.judged, qids=(qid,)))


def fits(found: collections.Counter[Any], chances: dict[Any, float]) -> None:
    """Compare what was drawn with what may be drawn, and how often."""
    possible = {key: found.total() * chance for key, chance in chances.items() if chance}
    assert set(found) == set(possible)
    assert len(possible) == 1 or chisquare([found[key] for key in possible], [*possible.values()]).pvalue > 0.001


def second(options: Any, ctx: SamplerContext) -> collections.Counter[Any]:
    """Count the second document of many samples."""
    sampler = options.build(ctx)
    return collections.Counter(sampler(n).docids[1] for n in range(DRAWS))


def test_a_weighted_choice_is_made_as_often_as_its_weight_says() -> None:
    found = collections.Counter(Draws(5, 1, n, 1).weighted([1, 0, 2.5, 0.5, 0]) for n in range(DRAWS))
    fits(found, {0: 0.25, 1: 0, 2: 0.625, 3: 0.125, 4: 0})


def test_each_source_comes_as_often_as_its_weight_says_and_its_documents_alike(context: Any) -> None:
    """n1 is a candidate and judged; of others only s and t are not relevant to a; of all 14 documents 12 are not."""
    sources = Negatives(retrieved=4, judged=2, others=1, random=3)
    chances = {docid: 0.3 / 12 for docid in ALL if docid not in ("r1", "r2")}
    for part, docids in ((0.4, ["a1", "a2", "n1", "a3"]), (0.2, ["n1", "n2"]), (0.1, ["s", "t"])):
        for docid in docids:
            chances[docid] += part / len(docids)
    sampler = Triplet(negatives=sources).build(context())
    samples = [sample for sample in map(sampler, range(DRAWS)) if sample.qid == "a"]
    fits(collections.Counter(sample.docids[1] for sample in samples), chances)


def test_the_second_negative_is_drawn_from_what_the_first_left(context: Any) -> None:
    sampler = LCE(nneg=2, negatives=Negatives(retrieved=1, judged=1)).build(only(context(), "a"))
    found = collections.Counter(sampler(n).docids[1:] for n in range(DRAWS))
    lists = {"retrieved": ["a1", "a2", "n1", "a3"], "judged": ["n1", "n2"]}
    chances: dict[Any, float] = collections.defaultdict(float)
    for one in lists.values():
        for first in one:
            for other in lists.values():
                left = [docid for docid in other if docid != first]
                for docid in left:
                    chances[first, docid] += 0.5 / len(one) * 0.5 / len(left)
    fits(found, chances)


def test_a_source_that_is_used_up_leaves_its_turn_to_the_others(context: Any) -> None:
    sampler = Listwise(nneg=6, negatives=Negatives(retrieved=1, judged=9)).build(only(context(), "a"))
    assert {frozenset(sampler(n).docids[1:]) for n in range(50)} == {frozenset({"a1", "a2", "n1", "a3", "n2"})}


def test_queries_without_candidates_train_with_negatives_from_elsewhere(context: Any, capsys: Any) -> None:
    sampler = LCE(nneg=2, negatives=Negatives(retrieved=0, random=1)).build(context())
    assert {sampler(n).qid for n in range(20)} == {"a", "b", "c"} and not capsys.readouterr().err
    with_scores = context(columns=frozenset({"first_stage"}))
    reading = LCE(nneg=2, negatives=Negatives(retrieved=0, random=1)).build(with_scores)
    assert {reading(n).qid for n in range(20)} == {"a", "b"}
    assert "1 of 3 training queries have no negative in any source" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        ({"max_score": 8.0}, {"a2", "n1", "a3"}),
        ({"margin": 1.5}, {"n1", "a3"}),  # r1 scores 9; r2 has no score and sets no bound
        ({"relative_margin": 0.3}, {"a3"}),  # at most 6.3
        ({"max_score": 7.0, "margin": 0.5}, {"n1", "a3"}),
    ],
)
def test_documents_that_score_too_high_are_no_negatives(context: Any, bounds: Any, kept: set[str]) -> None:
    options = Triplet(negatives=Negatives(**bounds), positives="retrieved")  # r1 alone
    chances = {docid: 1 / len(kept) for docid in kept}
    fits(second(options, only(context(), "a")), chances)


def test_a_relevant_document_without_a_score_sets_no_bound(context: Any) -> None:
    sampler = Triplet(negatives=Negatives(margin=1.5)).build(only(context(), "a"))
    found = {sampler(n).docids for n in range(500)}
    assert {docid for positive, docid in found if positive == "r2"} == {"a1", "a2", "n1", "a3"}
    assert {docid for positive, docid in found if positive == "r1"} == {"n1", "a3"}


def test_relevant_documents_that_leave_no_negative_are_not_drawn(context: Any, capsys: Any) -> None:
    sampler = Triplet(negatives=Negatives(margin=5.0)).build(context(judged=judged()))
    assert {sampler(n).docids[0] for n in range(200)} == {"r2", "s"}  # beside r1 nothing is 5 below 9
    assert "1 of 3 training queries have no negative in any source, within the bounds" in capsys.readouterr().err


def test_bounds_may_be_on_the_scores_of_another_run(context: Any, tmp_path: Path) -> None:
    (tmp_path / "teacher.jsonl").write_text(
        "".join(
            json.dumps({"qid": "a", "docid": docid, "score": score}) + "\n"
            for docid, score in {"a2": 5.5, "x": 9, "r1": 4}.items()
        )
    )
    sources = Negatives(retrieved=1, random=1, scores=str(tmp_path / "teacher.jsonl"), max_score=5)
    assert set(second(Triplet(negatives=sources), only(context(), "a"))) == {*ALL} - {"a2", "x", "r1", "r2"}


@pytest.mark.parametrize("negatives", [Negatives(judged=1, random=1, margin=1.5), Negatives(margin=5.0)])
def test_pools_that_are_made_when_needed_draw_the_same(
    negatives: Negatives, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Listwise(npos=2, nneg=3, negatives=negatives)
    sampler = options.build(context())
    samples = [sampler(n) for n in range(60)]
    assert [pickle.loads(pickle.dumps(sampler))(n) for n in reversed(range(60))] == samples[::-1]
    monkeypatch.setattr(_pools, "KEPT", 1)
    assert [options.build(context())(n) for n in range(60)] == samples


def test_what_cannot_be_drawn_from_is_refused(context: Any) -> None:
    with pytest.raises(ValueError, match="at least one of retrieved, judged, others, random"):
        Negatives(retrieved=0)
    with pytest.raises(ValueError, match="scores does nothing without max_score"):
        Negatives(scores="run")
    with pytest.raises(ConfigError, match="no collection to draw from"):
        Triplet(negatives=Negatives(random=1)).build(context(docs=None))
    with pytest.raises(DataError, match="no training query has both"):
        Triplet(negatives=Negatives(max_score=-1)).build(context())
    assert Triplet(negatives=Negatives(random=1)).draws_docs and not Triplet().draws_docs
    with pytest.raises(ConfigError, match="come from the triples alone"):
        Triplet(negatives=Negatives(judged=1)).build(context(triples=object()))


# listwise -----------------------------------------------------------------------------------------------------------


def test_listwise_groups_have_grades_and_no_document_twice(context: Any) -> None:
    sampler = Listwise(npos=2, nneg=3).build(context())
    for n in range(100):
        sample = sampler(n)
        wanted = {"r1": 3.0, "r2": 1.0, "s": 2.0}
        assert sample.labels == tuple(wanted.get(docid, 0.0) for docid in sample.docids)
        assert len(set(sample.docids)) == len(sample.docids) == (5 if sample.qid == "a" else 4)  # b has no more
    assert Listwise(npos=2, nneg=3).group_size == 5


def test_listwise_makes_up_for_relevant_documents_with_negatives(context: Any) -> None:
    sampler = Listwise(npos=3, nneg=1).build(context())
    found = {sample.qid: sample.docids for sample in map(sampler, range(20))}
    assert len(found["a"]) == 4 and len(set(found["a"]) & {"r1", "r2"}) == 2
    assert len(found["b"]) == 4 and found["b"][0] == "s"


def test_each_order_of_a_listwise_group_is_as_likely_as_another(context: Any) -> None:
    sampler = Listwise(npos=2, nneg=2, neg_to=4).build(only(context(), "a"))
    found = collections.Counter(sampler(n).docids for n in range(DRAWS))
    negatives = ["a1", "a2", "n1"]
    orders = [(*p, i, j) for p in (("r1", "r2"), ("r2", "r1")) for i in negatives for j in negatives if i != j]
    fits(found, dict.fromkeys(orders, 1 / 12))


def test_grades_below_the_relevance_level_are_0(context: Any) -> None:
    sampler = Listwise(nneg=9, negatives=Negatives(judged=1)).build(context(relevance_level=2))
    found = {
        docid: label
        for sample in map(sampler, range(40))
        for docid, label in zip(sample.docids, sample.labels, strict=True)
    }
    assert (found["r1"], found["r2"], found["s"], found["n2"]) == (3.0, 0.0, 2.0, 0.0)


# pointwise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", ["record", "query"])
def test_pointwise_draws_pairs_or_queries_alike(context: Any, balance: Any) -> None:
    """Query a has 2 relevant documents and 4 negatives, b has 1 and 3; c has no candidates."""
    sampler = Pointwise(relevant_ratio=0.3, balance=balance).build(context())
    samples = [sampler(n) for n in range(DRAWS)]
    found = collections.Counter(sample.docids[0] for sample in samples)
    parts = {("r1", "r2"): 2 / 3, ("s",): 1 / 3, ("a1", "a2", "n1", "a3"): 4 / 7, ("b1", "b2", "b3"): 3 / 7}
    chances = {}
    for docids, share in parts.items():
        ratio = 0.3 if docids[0][0] in "rs" else 0.7
        for docid in docids:
            chances[docid] = ratio * (share if balance == "record" else 0.5) / len(docids)
    fits(found, chances)
    assert {sample.docids[0]: sample.labels for sample in samples if sample.labels != (0.0,)} == {
        "r1": (3.0,),
        "r2": (1.0,),
        "s": (2.0,),
    }
    assert all(len(sample.docids) == 1 for sample in samples)


@pytest.mark.parametrize(("ratio", "labels"), [(0.0, {0.0}), (1.0, {1.0, 2.0, 3.0})])
def test_pointwise_of_one_kind_alone(context: Any, ratio: float, labels: set[float]) -> None:
    sampler = Pointwise(relevant_ratio=ratio).build(context())
    assert {sampler(n).labels[0] for n in range(200)} == labels


# scored -------------------------------------------------------------------------------------------------------------


def test_scored_groups_are_drawn_from_what_the_teacher_scored(context: Any, tmp_path: Path, capsys: Any) -> None:
    lines = [("a", "a1", 2.5), ("a", "r1", 7.0), ("a", "a3", -1.0), ("b", "s", 1.0), ("other", "x", 1.0)]
    (tmp_path / "t.run").write_text("".join(f"{qid} Q0 {docid} 1 {score} t\n" for qid, docid, score in lines))
    options = Scored(scores=str(tmp_path / "t.run"), base=LCE(nneg=2))
    sampler = options.build(context(columns=frozenset({"teacher", "first_stage"})))
    told = capsys.readouterr().err
    assert "scores of 2 of 3 training queries and 3 of their 8 candidates" in told  # a1, r1 and a3
    for n in range(30):
        sample = sampler(n)
        assert (sample.qid, sample.docids[0], set(sample.docids[1:])) == ("a", "r1", {"a1", "a3"})
        assert sample.columns["teacher"] == tuple({"a1": 2.5, "r1": 7.0, "a3": -1.0}[docid] for docid in sample.docids)
        assert sample.columns["first_stage"] == tuple({"a1": 10, "r1": 9, "a3": 6}[docid] for docid in sample.docids)
    assert (options.gives, options.group_size, options.depth) == (("first_stage", "teacher"), 3, None)
    assert "teacher" not in options.build(context())(0).columns  # nobody reads it


def test_scored_needs_scores_of_training_queries_and_a_base_that_draws_them(context: Any, tmp_path: Path) -> None:
    (tmp_path / "t.run").write_text("other Q0 x 1 1 t\n")
    with pytest.raises(DataError, match="no training query"):
        Scored(scores=str(tmp_path / "t.run"), base=LCE()).build(context())
    with pytest.raises(ValueError, match="the teacher scored no others"):
        Scored(scores="t.run", base=LCE(negatives=Negatives(random=1)))
    with pytest.raises(ValueError, match="gives a teacher's scores itself"):
        Scored(scores="t.run", base=HardNegatives(file="rows"))
    with pytest.raises(ConfigError, match="not with training triples"):
        Scored(scores=str(tmp_path / "t.run"), base=LCE()).build(context(triples=object()))


# mixture ------------------------------------------------------------------------------------------------------------


def test_a_mixture_has_the_shares_in_every_block_and_each_samplers_own_samples_in_order(context: Any) -> None:
    options = Mixture(samplers=(Pair(), Listwise(nneg=2)), shares=(3, 2))
    sampler = options.build(context())
    pair, other = Pair().build(context()), Listwise(nneg=2).build(context(seed=11 + 0x9E3779B97F4A7C15))
    samples = [sampler(n) for n in range(400)]
    kinds = ["pair" if len(sample.docids) == 1 else "list" for sample in samples]
    assert all(kinds[n : n + 5].count("pair") == 3 for n in range(0, 400, 5))
    for which, kind in ((pair, "pair"), (other, "list")):
        drawn = [sample for sample, is_kind in zip(samples, kinds, strict=True) if is_kind == kind]
        blocks = 3 if kind == "pair" else 2
        for n in range(0, len(drawn), blocks):  # within a block in random order
            assert sorted(map(str, drawn[n : n + blocks])) == sorted(str(which(m)) for m in range(n, n + blocks))
    fits(
        collections.Counter(tuple(kinds[n : n + 5]).index("list") for n in range(0, 400, 5)),
        {0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1},
    )


def test_a_mixture_gives_and_needs_what_its_samplers_do() -> None:
    both = Mixture(samplers=(LCE(neg_to=30), HardNegatives(file="rows", nneg=20)))
    assert (both.gives, both.group_size, both.depth, both.draws_docs) == ((), 21, 30, False)
    more = Mixture(samplers=(LCE(), Pair(negatives=Negatives(random=1)), Scored(scores="run", base=LCE())))
    assert (more.gives, more.depth, more.draws_docs) == (("first_stage",), None, True)
    for wrong in ({"samplers": (LCE(),)}, {"samplers": (LCE(), LCE()), "shares": (1,)}):
        with pytest.raises(ValueError, match="must"):
            Mixture(**wrong)


# hardnegatives ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def written(*records: Any) -> str:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return str(tmp_path / "rows.jsonl")

    return written


def test_hard_negatives_come_from_lists_as_often_as_their_weights_say(context: Any, rows: Any) -> None:
    file = rows({"query": "a", "pos": ["r1"], "neg": {"bm25": ["a1", "a2", "r2"], "dense": ["x", "a1"], "none": ["y"]}})
    options = HardNegatives(file=file, nneg=1, lists={"bm25": 3, "dense": 1})
    fits(second(options, context()), {"a1": 0.375 + 0.125, "a2": 0.375, "x": 0.125})  # r2 is judged relevant
    assert set(second(HardNegatives(file=file, nneg=1), context())) == {"a1", "a2", "x", "y"}


FORMS: list[Any] = [
    {"qid": "a", "pos": ["r1", "r2"], "neg": ["a1", "a2"], "scores": [4, 3, 2, 1.5]},
    {"query": "a", "pos": ["r1", "r2"], "neg": ["a1", "a2"], "pos_scores": [4, 3], "neg_scores": [2, 1.5]},
    {"queries": ["a"], "pos_ids": ["r1", "r2"], "neg_ids": {"bm25": ["a1"], "d": ["a2"]}, "scores": [4, 3, 2, 1.5]},
    {
        "query_id": "a",
        "query": "what is a",
        "positive_passages": [{"docid": "r1", "text": "one"}, {"docid": "r2", "text": "two"}],
        "negative_passages": [{"docid": "a1"}, {"docid": "a2"}],
        "scores": [4, 3, 2, 1.5],
    },
]


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_several_forms_mean_the_same(form: Any, context: Any, rows: Any) -> None:
    sampler = HardNegatives(file=rows(form), nneg=2).build(context(columns=frozenset({"teacher"})))
    scores = {"r1": 4.0, "r2": 3.0, "a1": 2.0, "a2": 1.5}
    samples = [sampler(n) for n in range(50)]
    assert {sample.docids[0] for sample in samples} == {"r1", "r2"}
    for sample in samples:
        assert (sample.qid, set(sample.docids[1:]), sample.labels) == ("a", {"a1", "a2"}, (1.0, 0.0, 0.0))
        assert sample.columns == {"teacher": tuple(scores[docid] for docid in sample.docids)}


def test_n_tuples_and_every_row_once_per_pass(context: Any, rows: Any, capsys: Any) -> None:
    file = rows(
        {"anchor": "a", "positive": "r1", "negative_1": "a1", "negative_2": "a2"},
        {"anchor": "b", "positive": "s", "negative": "b1"},
        {"anchor": "b", "positive": "x", "negative": "x"},
        {"anchor": "other", "positive": "s", "negative": "b1"},
    )
    sampler = HardNegatives(file=file).build(context())
    assert "1 of 3 rows have no negative that may be drawn" in capsys.readouterr().err
    passes = [[sampler(2 * turn + n) for n in range(2)] for turn in range(10)]
    assert all(
        sorted((one.qid, *sorted(one.docids)) for one in each) == [("a", "a1", "a2", "r1"), ("b", "b1", "s")]
        for each in passes
    )
    assert len({tuple(one.qid for one in each) for each in passes}) == 2


def test_bounds_are_on_the_scores_of_the_rows(context: Any, rows: Any) -> None:
    file = rows({"query": "a", "pos": ["r1", "r2"], "neg": ["a1", "a2"], "scores": [4, 1, 3.5, 2]})
    sampler = HardNegatives(file=file, bounds=Guards(margin=1)).build(context())
    assert {sampler(n).docids for n in range(50)} == {("r1", "a2")}  # beside r2 there is none


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query": "a", "neg": ["a1"]}, "rows.jsonl:2: there is no relevant document"),
        ({"query": "a", "pos": ["r1"]}, "rows.jsonl:2: there is no negative"),
        ({"pos": ["r1"], "neg": ["a1"]}, "rows.jsonl:2: there is no query"),
        ({"query": "how to", "pos": ["r1"], "neg": ["a1"]}, "rows.jsonl:2: the id of a query is a text: 'how to'"),
        ({"query": "a", "pos": [1.5], "neg": ["a1"]}, "rows.jsonl:2: the id of a relevant document is '1.5'"),
        ({"query": "a", "pos": ["r1"], "neg": ["a1"], "scores": [1]}, "rows.jsonl:2: 2 documents, but scores: 1"),
        ({"query": "a", "pos": ["r1"], "neg": ["a1"], "scores": [1, "x"]}, "rows.jsonl:2: the score 'x'"),
    ],
)
def test_a_row_that_is_wrong_is_named(record: Any, message: str, context: Any, rows: Any) -> None:
    with pytest.raises(DataError) as caught:
        HardNegatives(file=rows(FORMS[0], record)).build(context())
    assert message in str(caught.value)


def test_rows_without_what_is_read_are_refused(context: Any, rows: Any) -> None:
    file = rows({"query": "a", "pos": ["r1"], "neg": ["a1"]})
    with pytest.raises(DataError, match="the row has no scores, which the loss reads"):
        HardNegatives(file=file).build(context(columns=frozenset({"teacher"})))
    with pytest.raises(DataError, match="the row has no scores, which the bounds compare"):
        HardNegatives(file=file, bounds=Guards(max_score=1)).build(context())
    with pytest.raises(DataError, match="no row of a training query has the list 'dense'"):
        HardNegatives(file=file, lists={"dense": 1}).build(context())
    with pytest.raises(DataError, match="no row has a training query"):
        HardNegatives(file=rows({"query": "z", "pos": ["r1"], "neg": ["a1"]})).build(context())


def test_candidates_of_several_runs_are_drawn_alike(context: Any, tmp_path: Path) -> None:
    """At ranks 2 to 4 the first run has r1 (relevant), a2 and n1, the other x, a2 and y; `gone` is not in docs."""
    other = tmp_path / "other.run"
    docids = ["t", "x", "a2", "gone", "y"]
    other.write_text("".join(f"a Q0 {docid} 1 {9 - rank} x\n" for rank, docid in enumerate(docids)))
    options = Triplet(neg_from=2, neg_to=5, negatives=Negatives(runs=(str(other),)))
    assert options.draws_docs and not Triplet().draws_docs
    fits(second(options, only(context(), "a")), dict.fromkeys(["a2", "n1", "a3", "x", "y"], 0.2))
    other.write_text("z Q0 a1 1 1 x\n")
    with pytest.raises(DataError, match="it has no training query"):
        options.build(context())
    with pytest.raises(ValueError, match="runs have candidates, whose weight `retrieved` is 0"):
        Negatives(runs=("a.run",), retrieved=0, judged=1)


def test_weights_of_a_file_become_a_column(context: Any, tmp_path: Path, capsys: Any) -> None:
    weights = tmp_path / "qrels.jsonl"
    rows = [("a", "r1", {"weight": 2.5}), ("a", "a1", {"weight": 0}), ("a", "r2", {}), ("z", "r1", {"weight": 9})]
    lines = [{"query-id": qid, "corpus-id": docid, "score": 1, **weight} for qid, docid, weight in rows]
    weights.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options, base = Weighted(weights=str(weights), base=LCE(nneg=2)), LCE(nneg=2).build(context())
    assert options.gives == ("first_stage", "weight") and options.depth == 100
    sampler = options.build(context(columns=frozenset({"weight"})))
    assert "weights of 2 pairs of 1 of 3 training queries" in capsys.readouterr().err
    known = {("a", "r1"): 2.5, ("a", "a1"): 0.0}
    for n in range(40):
        sample = sampler(n)
        assert sample.docids == base(n).docids and sample.labels == base(n).labels
        assert sample.columns == {"weight": tuple(known.get((sample.qid, docid), 1.0) for docid in sample.docids)}
    with pytest.raises(ValueError, match="gives weights itself"):
        Weighted(weights=str(weights), base=options)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"query-id": "a", "corpus-id": "r1", "weight": -1}', ":2: the weight '-1' is not a number from 0"),
        ('{"query-id": "a", "corpus-id": "r1", "weight": "2"}', ":2: the weight '2' is not a number from 0"),
        ('{"query-id": "a", "corpus-id": "r1", "weight": NaN}', ":2: the weight 'nan' is not a number from 0"),
        ('{"query-id": "a", "weight": 1}', ":2: there is no document id"),
        ('{"query-id": "a", "corpus-id": "a1", "weight": 2}', ":2: query 'a' has document 'a1' with two weights"),
        ('{"query-id": "a"', ":2: not a JSON object"),
    ],
)
def test_a_malformed_weight_is_named(line: str, what: str, context: Any, tmp_path: Path) -> None:
    weights = tmp_path / "w.jsonl"
    weights.write_text(f'{{"query-id": "a", "corpus-id": "a1", "weight": 1}}\n{line}\n')
    with pytest.raises(DataError) as error:
        Weighted(weights=str(weights), base=LCE()).build(context())
    assert what in str(error.value)
