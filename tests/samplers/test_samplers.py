"""Samplers as functions: which groups, drawn how, from what."""

from __future__ import annotations

import collections
import concurrent.futures
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

from rankcli.data.store import store_of
from rankcli.data.triple_files import open_triples
from rankcli.data.triple_views import TripleCandidates, TripleJudgments
from rankcli.data.triples import Triples
from rankcli.errors import ConfigError, DataError
from rankcli.samplers import _pools
from rankcli.samplers._draw import GROUP, ORDER, ROUNDS, SORTED, Draws, Shuffle, permutation
from rankcli.samplers.base import SamplerContext
from rankcli.samplers.candidates import Candidates
from rankcli.samplers.lce import LCE
from rankcli.samplers.listwise import Listwise
from rankcli.samplers.pair import Pair
from rankcli.samplers.pointwise import Pointwise
from rankcli.samplers.triples import TriplesSampler
from rankcli.samplers.triplet import Triplet
from rankcli.shapes import Judged, Ranked, Sample


def run_of(*docids: str) -> Ranked:
    """Candidates with the scores -1, -2, ..."""
    return Ranked(docids, -np.arange(1, len(docids) + 1, dtype=np.float32))


def judged(queries: int = 5, candidates: int = 20) -> Judged:
    """Query q has candidates q-d0, q-d1, ...; d2 and q-other are relevant, d3 is judged not to be."""
    qids = tuple(f"q{i}" for i in range(queries))
    qrels = {qid: {f"{qid}-d2": 2, f"{qid}-d3": 0, f"{qid}-other": 1} for qid in qids}
    return Judged(qids, qrels, {qid: run_of(*(f"{qid}-d{k}" for k in range(candidates))) for qid in qids})


def context(seed: int = 1, **changes: object) -> SamplerContext:
    return SamplerContext(judged(**changes), relevance_level=1, seed=seed)


def test_the_first_groups_are_these_for_ever() -> None:
    triplet = Triplet(neg_to=6).build(context(queries=2))
    assert [triplet(n) for n in range(4)] == GOLDEN_TRIPLETS
    assert LCE(nneg=3, neg_to=6).build(context(queries=2))(5) == GOLDEN_LCE


def test_a_sample_depends_on_its_number_alone() -> None:
    sampler = LCE(nneg=4).build(context())
    forward = [sampler(n) for n in range(40)]
    assert [sampler(n) for n in reversed(range(40))] == forward[::-1]
    assert [pickle.loads(pickle.dumps(sampler))(n) for n in (39, 3)] == [forward[39], forward[3]]
    assert [LCE(nneg=4).build(context(seed=2))(n) for n in range(40)] != forward


def test_another_process_draws_the_same_samples() -> None:
    sampler = LCE(nneg=4).build(context())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(sampler, range(30, 60)) == [sampler(n) for n in range(30, 60)]


def test_neither_the_order_of_the_queries_nor_of_the_judgments_changes_samples() -> None:
    one = judged()
    other = Judged(one.qids[::-1], {qid: dict(reversed(grades.items())) for qid, grades in one.qrels.items()}, one.run)
    samples = [Triplet().build(SamplerContext(which, seed=1)) for which in (one, other)]
    assert [samples[0](n) for n in range(20)] == [samples[1](n) for n in range(20)]


def test_every_query_comes_once_per_pass_in_a_new_order() -> None:
    sampler = Triplet().build(context(queries=6))
    passes = [[sampler(6 * turn + n).qid for n in range(6)] for turn in range(20)]
    assert all(sorted(order) == [f"q{i}" for i in range(6)] for order in passes)
    assert len({tuple(order) for order in passes}) > 15


def test_positives_and_negatives_are_drawn_uniformly() -> None:
    sampler = Triplet(neg_to=10).build(context(queries=1))
    samples = [sampler(n) for n in range(4000)]
    positives, negatives = (collections.Counter(sample.docids[k] for sample in samples) for k in (0, 1))
    assert set(positives) == {"q0-d2", "q0-other"}
    assert set(negatives) == {f"q0-d{k}" for k in range(10) if k != 2}
    assert chisquare(list(positives.values())).pvalue > 0.01
    assert chisquare(list(negatives.values())).pvalue > 0.01


@pytest.mark.parametrize(("seed", "n"), [(0, 0), (42, 7), (-1, 2**40), (2**63, 2**64 - 1)])
def test_choices_are_made_from_the_raw_numbers_of_numpys_philox(seed: int, n: int) -> None:
    key = np.array([seed % 2**64, n], np.uint64)
    raw = np.random.Philox(key=key, counter=np.array([0, 0, 0, GROUP], np.uint64)).random_raw(11)
    draws, others = Draws(seed, GROUP, n, 11), Draws(seed, GROUP, n ^ 1, 11)
    assert [draws.below(1000) for _ in range(11)] == [int(number) * 1000 >> 64 for number in raw]
    assert [others.below(1000) for _ in range(11)] != [int(number) * 1000 >> 64 for number in raw]
    order = np.random.Philox(key=key, counter=np.zeros(4, np.uint64)).random_raw(9)
    assert permutation(seed, ORDER, n, 9).tolist() == sorted(range(9), key=order.__getitem__)


def test_a_shuffle_of_any_count_has_every_number_once() -> None:
    for count in range(1, 2001):
        shuffle = Shuffle(count, [count, 2**64 - count])
        assert sorted(shuffle[place] for place in range(count)) == list(range(count))


@pytest.mark.parametrize("count", [1, 2, 3, 65_537, 99_856, 316 * 317, 100_003])
def test_a_shuffle_of_many_rounds_has_every_number_once(count: int) -> None:
    shuffle = Shuffle(count, [3, 1 << 63, 5, count, 2**64 - 1, 0, 9, 11])
    assert np.array_equal(np.sort([shuffle[place] for place in range(count)]), np.arange(count))


def test_a_shuffle_of_billions_is_one_to_one_and_goes_everywhere() -> None:
    shuffle = permutation(1, ORDER, 0, 2**36 + 5)
    found = np.array([shuffle[place] for place in range(20_000)])
    assert len(set(found.tolist())) == 20_000 and found.min() >= 0 and found.max() < 2**36 + 5
    assert chisquare(np.bincount(found * 16 // (2**36 + 5), minlength=16)).pvalue > 0.01
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 16])
def test_every_place_of_a_shuffle_is_equally_likely(count: int) -> None:
    drawn = [Shuffle(count, np.random.Philox(key=n).random_raw(ROUNDS).tolist()) for n in range(3000)]
    for place in {0, 1, count - 1}:
        assert chisquare(np.bincount([one[place] for one in drawn], minlength=count)).pvalue > 0.001
    if count == 4:
        orders = collections.Counter(tuple(one[place] for place in range(4)) for one in drawn)
        assert len(orders) == 24


def test_large_collections_are_shuffled_without_sorting_and_small_ones_as_ever() -> None:
    count = SORTED + 1
    passes = [[permutation(7, ORDER, n, count)[place] for place in range(count)] for n in range(2)]
    assert passes[0] != passes[1] and sorted(passes[0]) == list(range(count))
    together = sum(a == b for a, b in zip(*passes, strict=True))
    assert together < 8  # one in all, on average
    assert passes[0][:5] == GOLDEN_SHUFFLE
    assert isinstance(permutation(7, ORDER, 0, SORTED), np.ndarray)


def test_a_shuffle_is_this_arithmetic() -> None:
    """Restated: 10 cells in 4 columns and 3 rows."""

    def mixed(bits: int) -> int:
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            bits = ((bits ^ (bits >> shift)) * factor) % 2**64
        return bits ^ (bits >> 31)

    def moved(cell: int) -> int:
        row, column = cell // 4, cell % 4
        column = (column + mixed(row ^ 77)) % 4
        row = (row + mixed(column ^ 88)) % 3
        return 4 * row + column

    for place in range(10):
        cell = moved(place)
        while cell >= 10:
            cell = moved(cell)
        assert Shuffle(10, (77, 88))[place] == cell


def test_threads_draw_the_same_samples_at_once() -> None:
    sampler = LCE(nneg=4).build(context())
    alone = [sampler(n) for n in range(400)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(sampler, range(400))) == alone


def test_each_order_of_negatives_is_equally_likely() -> None:
    orders = collections.Counter(tuple(Draws(3, GROUP, n, 3).distinct(3, 3)) for n in range(3000))
    assert len(orders) == 6 and chisquare(list(orders.values())).pvalue > 0.01
    first = collections.Counter(int(permutation(3, 0, n, 4)[0]) for n in range(2000))
    assert chisquare(list(first.values())).pvalue > 0.01


def test_negatives_are_different_not_relevant_and_of_the_ranks_asked_for() -> None:
    sampler = LCE(nneg=7, neg_from=3, neg_to=12).build(context())
    for n in range(200):
        sample = sampler(n)
        allowed = {f"{sample.qid}-d{rank - 1}" for rank in range(3, 13)} - {f"{sample.qid}-d2"}
        assert len(set(sample.docids[1:])) == 7 and set(sample.docids[1:]) <= allowed
        assert sample.labels == (1.0,) + (0.0,) * 7


def test_too_few_negatives_are_all_taken_before_any_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    sampler = LCE(nneg=7, neg_to=4).build(context(queries=2))
    for n in range(30):
        sample = sampler(n)
        assert sample.docids[1:4] == sample.docids[4:7] and sample.docids[7] == sample.docids[1]
        assert {docid.split("-")[1] for docid in sample.docids[1:4]} == {"d0", "d1", "d3"}
    assert "2 of 2 training queries have fewer than 7 negatives" in capsys.readouterr().err


def test_a_pair_is_a_triplet_one_document_at_a_time() -> None:
    pair, triplet = Pair().build(context()), Triplet().build(context())
    for n in range(20):
        sample = triplet(n)
        assert pair(2 * n) == Sample(sample.qid, sample.docids[:1], (1.0,))
        assert pair(2 * n + 1) == Sample(sample.qid, sample.docids[1:], (0.0,))


def test_the_relevance_level_divides_positives_from_negatives() -> None:
    sampler = Triplet(neg_to=5).build(SamplerContext(judged(queries=1), relevance_level=2))
    assert {sampler(n).docids[0] for n in range(50)} == {"q0-d2"}


def test_queries_without_positives_or_negatives_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    whole = judged(queries=4)
    qrels = {**whole.qrels, "q0": {"q0-d1": 0}}
    run = {**whole.run, "q1": run_of("q1-d2"), "q2": run_of()}
    sampler = Triplet().build(SamplerContext(Judged(whole.qids, qrels, run)))
    assert {sampler(n).qid for n in range(20)} == {"q3"}
    err = capsys.readouterr().err
    assert "1 of 4 training queries have no relevant document" in err
    assert "2 of 4 training queries have no negative at ranks 1-100" in err


def test_no_usable_query_is_an_error() -> None:
    with pytest.raises(DataError, match="no training query has both") as caught:
        Pair().build(SamplerContext(Judged(("q1",), {}, {"q1": run_of("d1")})))
    assert "relevance_level" in caught.value.fix


def test_group_sizes_and_ranks_are_checked_before_anything_is_built() -> None:
    assert (Pair().group_size, Triplet().group_size, LCE().group_size, LCE(nneg=3).group_size) == (1, 2, 8, 4)
    with pytest.raises(ValueError, match=r"neg_from \(9\) must not be above neg_to \(3\)"):
        LCE(neg_from=9, neg_to=3)


def test_candidates_are_the_top_of_the_run_with_their_grades() -> None:
    run = {"q1": run_of("a", "b", "c", "d"), "q2": run_of(), "q0": run_of("x")}
    candidates = Candidates(Judged(("q2", "q1", "q0"), {"q1": {"b": 3, "c": -2, "z": 1}}, run), depth=3)
    assert len(candidates) == 2
    assert [candidates(n) for n in range(2)] == [
        Sample("q0", ("x",), (0.0,)),
        Sample("q1", ("a", "b", "c"), (0.0, 3.0, 0.0)),
    ]


GOLDEN_TRIPLETS = [
    Sample(qid="q0", docids=("q0-d2", "q0-d5"), labels=(1.0, 0.0)),
    Sample(qid="q1", docids=("q1-d2", "q1-d4"), labels=(1.0, 0.0)),
    Sample(qid="q0", docids=("q0-other", "q0-d3"), labels=(1.0, 0.0)),
    Sample(qid="q1", docids=("q1-d2", "q1-d4"), labels=(1.0, 0.0)),
]
GOLDEN_SHUFFLE = [13218, 10431, 35027, 18507, 8783]
GOLDEN_LCE = Sample(qid="q1", docids=("q1-d2", "q1-d3", "q1-d1", "q1-d4"), labels=(1.0, 0.0, 0.0, 0.0))


def test_positives_that_are_not_retrieved_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    judged = Judged(
        qids=("q1", "q2"),
        qrels={"q1": {"in": 1, "out": 1, "deep": 1}, "q2": {"out": 1}},
        run={"q1": run_of("n1", "in", "n2", "deep"), "q2": run_of("n1", "n2")},
    )
    context = SamplerContext(judged=judged, relevance_level=1, seed=1)
    samples = [LCE(nneg=2, neg_to=3, positives="retrieved").build(context)(n) for n in range(20)]
    assert {(sample.qid, sample.docids[0], *sorted(sample.docids[1:])) for sample in samples} == {
        ("q1", "in", "n1", "n2")
    }
    told = capsys.readouterr().err
    assert "1 of 2 training queries have no relevant document among their first 3 candidates" in told
    assert "warning" not in told  # it was asked for


def test_the_first_stage_score_is_given_where_somebody_reads_it() -> None:
    ctx = SamplerContext(judged(queries=1), seed=1, columns=frozenset({"first_stage", "other"}))
    plain, lce = (LCE(nneg=3, neg_to=6).build(c) for c in (context(queries=1), ctx))
    pair = Pair(neg_to=6).build(ctx)
    for n in range(30):
        sample = lce(n)
        ranks = [int(docid[4:]) + 1 if docid != "q0-other" else 6 for docid in sample.docids]
        assert sample.columns == {"first_stage": tuple(-min(float(rank), 6.0) for rank in ranks)}
        assert (sample.docids, plain(n).columns) == (plain(n).docids, {})
        assert len(pair(n).columns["first_stage"]) == 1
    assert "q0-other" in {lce(n).docids[0] for n in range(30)}
    candidates = Candidates(judged(queries=1), 3, frozenset({"first_stage"}))
    assert candidates(0).columns == {"first_stage": (-1.0, -2.0, -3.0)} and candidates.group_size == 3


def test_pools_that_are_made_when_they_are_needed_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [LCE(nneg=4).build(context())(n) for n in range(60)]
    monkeypatch.setattr(_pools, "KEPT", 3)
    sampler = LCE(nneg=4).build(context())
    assert sampler.draw.kept is None and [sampler(n) for n in range(60)] == samples  # type: ignore[attr-defined]


# Triples ------------------------------------------------------------------------------------------------------------

LINES = [
    *(("q1", "p1", "n2"), ("q2", "p1", "n1"), ("q1", "p1", "n1"), ("q1", "p0", "n2"), ("q1", "p0", "n2")),
    *(("q2", "p1", "gone"), ("q1", "p1", "p0"), ("other", "p1", "n1"), ("q1", "p1", "n0"), ("q3", "gone", "n1")),
]


@pytest.fixture
def triples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Triples:
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path))
    docs = store_of({docid: docid for docid in ("n0", "n2", "p1", "n1", "p0")}, "docs", tmp_path)
    (tmp_path / "lines").write_text("".join("\t".join(line) + "\n" for line in LINES))
    return open_triples(tmp_path / "lines", docs, tmp_path)


def from_triples(triples: Triples, **changes: object) -> SamplerContext:
    return SamplerContext(Judged(("q2", "q1", "q3")), seed=4, triples=triples, **changes)  # type: ignore[arg-type]


def test_lines_of_triples_come_once_per_pass_with_their_pairs(triples: Triples) -> None:
    sampler = TriplesSampler().build(from_triples(triples))
    usable = sorted(line for line in LINES if line[0] != "other" and "gone" not in line)
    passes = [[sampler(len(usable) * turn + n) for n in range(len(usable))] for turn in range(3)]
    assert all(sorted((one.qid, *one.docids) for one in drawn) == usable for drawn in passes)
    assert passes[0] != passes[1] and {one.labels for one in passes[0]} == {(1.0, 0.0)}
    order = permutation(4, ORDER, 0, len(usable))
    kept = [line for line in LINES if line in usable]
    assert [(one.qid, *one.docids) for one in passes[0]] == [kept[place] for place in order]
    again = pickle.loads(pickle.dumps(sampler))
    assert [again(n) for n in range(20)] == [sampler(n) for n in range(20)]


def test_without_triples_there_are_no_lines(triples: Triples) -> None:
    with pytest.raises(ConfigError, match="there are no training triples"):
        TriplesSampler().build(context())
    with pytest.raises(DataError, match="no line has a training query and two known documents"):
        TriplesSampler().build(SamplerContext(Judged(("q3",)), triples=triples))


@pytest.mark.parametrize("kept", [0, 1000])
def test_other_samplers_draw_from_the_documents_of_a_querys_triples(
    kept: int, triples: Triples, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As if the relevant documents were judged and the others retrieved in the order in which they first come."""
    monkeypatch.setattr(_pools, "KEPT", kept)
    run = {"q1": run_of("n2", "n1", "n0"), "q2": run_of("n1"), "q3": run_of("n1")}
    plain = Judged(("q1", "q2", "q3"), {"q1": {"p1": 1, "p0": 1}, "q2": {"p1": 1}, "q3": {}}, run)
    many = (LCE(nneg=2), LCE(nneg=2, neg_to=2), Triplet(), Pair(neg_to=1), Listwise(npos=2, nneg=1), Pointwise())
    for options in many:
        wanted, found = options.build(SamplerContext(plain, seed=4)), options.build(from_triples(triples))
        assert [found(n) for n in range(40)] == [wanted(n) for n in range(40)]
        again = pickle.loads(pickle.dumps(found))
        assert [again(n) for n in range(9)] == [wanted(n) for n in range(9)]
    views = TripleJudgments(triples, plain.qids), TripleCandidates(triples, plain.qids)
    assert dict(views[0]) == plain.qrels
    assert {qid: found.docids for qid, found in views[1].items()} == {qid: found.docids for qid, found in run.items()}
    capsys.readouterr()


def test_triples_have_no_first_stage_scores(triples: Triples) -> None:
    with pytest.raises(DataError, match="no first-stage scores"):
        LCE().build(from_triples(triples, columns=frozenset({"first_stage"})))
