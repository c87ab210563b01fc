"""Metrics against hand-computed values, and against a second statement of trec_eval's rules in plain Python."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from rankcli.config.metrics import canonical
from rankcli.data.trec import read_run, write_run
from rankcli.errors import ConfigError, DataError
from rankcli.evaluation.trec import Coverage, check_metrics, coverage, evaluate, means

Grades = Mapping[str, int]


def one(grades: Grades, scores: Mapping[str, float], metric: str, level: int = 1) -> float:
    return evaluate({"q": grades}, {"q": scores}, [metric], level)[metric]["q"]


GRADES = {"a": 3, "b": 1, "c": 0, "d": 2}
SCORES = {"c": 4.0, "b": 3.0, "x": 2.0, "a": 1.0}  # ranks: c (0), b (1), x (unjudged), a (3); d is not found


@pytest.mark.parametrize(
    ("metric", "level", "expected"),
    [
        ("map", 1, (1 / 2 + 2 / 4) / 3),
        ("map", 2, (1 / 4) / 2),
        ("recip_rank", 1, 1 / 2),
        ("recip_rank", 2, 1 / 4),
        ("RR@10", 1, 1 / 2),
        ("RR@10", 3, 1 / 4),
        ("RR@3", 3, 0.0),
        ("P_2", 1, 1 / 2),
        ("P_5", 1, 2 / 5),
        ("recall_4", 1, 2 / 3),
        ("success_1", 1, 0.0),
        ("ndcg_cut_2", 1, (1 / math.log2(3)) / (3 / math.log2(2) + 2 / math.log2(3))),
        ("ndcg_exp_cut_2", 1, (1 / math.log2(3)) / (7 / math.log2(2) + 3 / math.log2(3))),
        ("ndcg_exp_cut_10", 3, (1 / math.log2(3) + 7 / math.log2(5)) / (7 + 3 / math.log2(3) + 1 / math.log2(4))),
        ("ndcg", 1, (1 / math.log2(3) + 3 / math.log2(5)) / (3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4))),
    ],
)
def test_values_computed_by_hand(metric: str, level: int, expected: float) -> None:
    assert one(GRADES, SCORES, metric, level) == pytest.approx(expected, abs=1e-12)


def test_ndcg_takes_grades_as_gains_whatever_the_relevance_level() -> None:
    assert one(GRADES, SCORES, "ndcg_cut_10", 3) == one(GRADES, SCORES, "ndcg_cut_10", 1)
    assert one(GRADES, SCORES, "P_5", 3) == pytest.approx(1 / 5)


@pytest.mark.parametrize(("grades", "expected"), [({"c": 0, "b": -3}, 0.0), ({"c": 1000, "b": -3}, 1.0)])
def test_exponential_gains_of_extreme_grades(grades: Grades, expected: float) -> None:
    assert one(grades, SCORES, "ndcg_exp_cut_10") == expected


def test_exponential_gains_are_linear_ones_of_mapped_grades() -> None:
    draw = random.Random(4)
    grades = {f"d{n}": draw.randint(0, 4) for n in range(30)}
    scores = {f"d{n}": float(draw.randint(0, 9)) for n in range(5, 40)}
    mapped = {docid: 2**grade - 1 for docid, grade in grades.items()}
    assert one(grades, scores, "ndcg_exp_cut_10") == pytest.approx(one(mapped, scores, "ndcg_cut_10"), abs=1e-12)


@pytest.mark.parametrize("metric", ["RR@10", "recip_rank"])
@pytest.mark.parametrize(("relevant", "expected"), [("d9", 1.0), ("d2", 1 / 2), ("d10", 1 / 3)])
def test_ties_are_ranked_by_document_id_descending(metric: str, relevant: str, expected: float) -> None:
    tied = {"d10": 1.0, "d9": 1.0 + 1e-9, "d2": 1.0}  # equal in float32; as text d9 > d2 > d10
    assert one({relevant: 1}, tied, metric) == pytest.approx(expected)


def by_trec_eval_rules(grades: Grades, scores: Mapping[str, float], metric: str, level: int) -> float:
    """nDCG, average precision and reciprocal rank as trec_eval defines them, written down a second time."""
    ranked = sorted(scores, key=lambda docid: (np.float32(scores[docid]), docid.encode()), reverse=True)
    relevant = [grades.get(docid, 0) >= level for docid in ranked]
    if metric == "map":
        hits = [sum(relevant[: rank + 1]) / (rank + 1) for rank, is_relevant in enumerate(relevant) if is_relevant]
        judged = sum(grade >= level for grade in grades.values())
        return sum(hits) / judged if judged else 0.0
    if metric in ("recip_rank", "RR@10"):
        top = relevant[:10] if metric == "RR@10" else relevant
        return 1 / (top.index(True) + 1) if True in top else 0.0
    cutoff = int(metric.rpartition("_")[2])
    gains = [max(0, grades.get(docid, 0)) for docid in ranked[:cutoff]]
    ideal = sorted((max(0, grade) for grade in grades.values()), reverse=True)[:cutoff]
    best = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(ideal))
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains)) / best if best else 0.0


METRICS = ("ndcg_cut_10", "ndcg_cut_5", "map", "recip_rank", "RR@10")


def random_case(seed: int) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """A few queries with grades from -1 to 4 and runs full of ties; some queries are only judged or only retrieved."""
    rng = random.Random(seed)
    docids = [f"d{number}" for number in range(30)] + ["é", "日本", "\U0001f600", "Z"]
    qrels = {
        f"q{number}": {docid: rng.choice([-1, 0, 0, 1, 2, 4]) for docid in rng.sample(docids, rng.randint(1, 20))}
        for number in range(6)
    }
    run = {
        f"q{number}": {
            docid: rng.choice([0.5, 1.0, rng.uniform(-2, 2)]) for docid in rng.sample(docids, rng.randint(1, 25))
        }
        for number in range(1, 8)
    }
    return qrels, run


@pytest.mark.parametrize("block", range(4))
def test_agrees_with_a_second_statement_of_the_rules_on_random_runs_with_ties(block: int) -> None:
    for seed in range(50 * block, 50 * (block + 1)):
        qrels, run = random_case(seed)
        level = 1 + seed % 2
        for metric, values in evaluate(qrels, run, METRICS, level).items():
            for qid, value in values.items():
                expected = by_trec_eval_rules(qrels[qid], run.get(qid, {}), metric, level)
                assert value == pytest.approx(expected, abs=1e-4), (seed, metric, qid)


def test_order_of_input_and_unjudged_queries_change_nothing() -> None:
    qrels, run = random_case(7)
    expected = evaluate(qrels, run, METRICS)
    rng = random.Random(1)

    def shuffled(table: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        rows = [(key, list(row.items())) for key, row in table.items()]
        rng.shuffle(rows)
        for _, row in rows:
            rng.shuffle(row)
        return {key: dict(row) for key, row in rows}

    for _ in range(5):
        more = {**run, "unjudged": {"d1": 1.0}}
        assert repr(evaluate(shuffled(qrels), shuffled(more), METRICS)) == repr(expected)  # type: ignore[arg-type]


def test_judged_queries_without_a_document_count_as_zero_and_are_counted() -> None:
    qrels = {"1": {"a": 1}, "2": {"a": 1}, "3": {"a": 1}, "4": {"a": 1}}
    run = {"1": {"a": 1.0}, "2": {}, "9": {"a": 1.0}}
    assert means(evaluate(qrels, run, ["map", "RR@10"])) == {"map": 0.25, "RR@10": 0.25}
    assert coverage(qrels, run) == Coverage(judged=4, missing=3, unjudged=1)


def test_queries_without_a_relevant_document_are_in_the_mean() -> None:
    assert means(evaluate({"1": {"a": 1}, "2": {"a": 0}}, {"1": {"a": 1.0}, "2": {"a": 1.0}}, ["map"])) == {"map": 0.5}


def test_defect_12_scores_that_differ_by_a_ten_thousandth_keep_their_order(tmp_path: Path) -> None:
    scores = {f"d{number:02}": 7.0 * (1 + 1e-4 * number) for number in range(20)}
    path = tmp_path / "test.run"
    write_run(path, {"q": scores})
    for rank, docid in enumerate(sorted(scores, reverse=True), start=1):
        assert evaluate({"q": {docid: 1}}, read_run(path), ["recip_rank"])["recip_rank"]["q"] == pytest.approx(1 / rank)


def test_defect_13_judged_but_not_relevant_documents_do_not_count_for_rr() -> None:
    assert one({"a": 0, "b": 1}, {"a": 2.0, "b": 1.0}, "RR@10") == 0.5


def test_defect_13_all_metrics_have_the_same_queries_in_their_mean() -> None:
    qrels = {"1": {"a": 1}, "2": {"a": 1}}
    assert means(evaluate(qrels, {"1": {"a": 1.0}}, ["map", "ndcg_cut_10", "RR@10"])) == {
        "map": 0.5,
        "ndcg_cut_10": 0.5,
        "RR@10": 0.5,
    }


def test_defect_13_no_query_in_common_is_an_error() -> None:
    with pytest.raises(DataError, match="such as 'q1'.*such as '1'"):
        evaluate({"q1": {"a": 1}}, {"1": {"a": 1.0}}, ["map"])


def test_defect_13_query_ids_need_not_be_numbers() -> None:
    assert evaluate({"né-1": {"a": 1}}, {"né-1": {"a": 1.0}}, ["map"]) == {"map": {"né-1": 1.0}}


SURROGATE = """
from rankcli.errors import DataError
from rankcli.evaluation.trec import evaluate
for qrels, run in (({"q": {"a": 1}}, {"q": {"\\ud800": 1.0}}), ({"q": {"\\ud800": 1}}, {"q": {"a": 1.0}})):
    try:
        evaluate(qrels, run, ["map"])
    except DataError as error:
        print(str(error).encode("ascii", "backslashreplace").decode())
"""


def test_a_lone_surrogate_in_an_id_is_an_error_and_no_crash() -> None:
    done = subprocess.run([sys.executable, "-c", SURROGATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no Unicode character") == 2


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39])
def test_scores_that_float32_cannot_hold_are_refused(score: float) -> None:
    with pytest.raises(DataError, match="document 'b' is not a finite float32"):
        one({"a": 1}, {"a": 1.0, "b": score}, "map")


@pytest.mark.parametrize("grade", [2**31 - 1, 2**32, -1001, 1.0])
def test_grades_that_trec_eval_cannot_take_are_refused(grade: int) -> None:
    with pytest.raises(DataError, match="grade"):
        one({"a": grade}, {"a": 1.0}, "map")


def test_an_id_with_a_nul_is_refused() -> None:
    with pytest.raises(DataError, match="NUL"):
        one({"a": 1}, {"a\0b": 1.0}, "map")


def test_relevance_level_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="unjudged"):
        one({"a": 1}, {"a": 1.0}, "map", 0)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nDCG_20", "ndcg_cut_20"),
        ("recal_100", "recall_100"),
        ("P", "P_10"),
        ("ndcg_cut_0", "ndcg_cut_10"),
    ],
)
def test_an_unknown_metric_names_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown metric '{name}'; did you mean '{meant}'"):
        check_metrics([name])


@pytest.mark.parametrize("name", ["ERR@20", "ERRR@20", "gm_map"])
def test_a_measure_that_is_missing_has_no_other_one_suggested(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown metric '{name}'\n  -> use"):
        check_metrics([name])


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("nDCG@10", "ndcg_cut_10"),
        ("P@10", "P_10"),
        ("R@100", "recall_100"),
        ("MRR", "recip_rank"),
        ("MRR@10", "RR@10"),
        ("RR@10", "RR@10"),
        ("RR", "recip_rank"),
        ("AP", "map"),
        ("AP@5", "map_cut_5"),
        ("Rprec", "Rprec"),
        ("ndcg_cut_10", "ndcg_cut_10"),
        ("ndcg@10", "ndcg_cut_10"),
        ("recall@100", "recall_100"),
        ("mrr@10", "RR@10"),
        ("rr@10", "RR@10"),
        ("p@5", "P_5"),
        ("Map", "map"),
        ("IPrec@0.1", "iprec_at_recall_0.10"),
        ("IPrec@1", "iprec_at_recall_1.00"),
        ("G", "G"),
        ("nDCG@0", "nDCG@0"),
    ],
)
def test_names_of_ir_measures_mean_those_of_trec_eval(name: str, means: str) -> None:
    assert canonical(name) == means
    if name != "nDCG@0":
        check_metrics([canonical(name)])


def test_all_unknown_metrics_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        check_metrics(["map", "zzzzzzzz", "num_rel", "P_05"], where="metrics.report")
    assert [name in str(caught.value) for name in ("'map'", "'zzzzzzzz'", "'num_rel'", "'P_05'")] == [
        False,
        True,
        True,
        True,
    ]
    assert str(caught.value).startswith("metrics.report: ")


def test_every_legal_metric_can_be_computed() -> None:
    names = [
        *("map", "ndcg", "recip_rank", "Rprec", "bpref", "infAP", "11pt_avg", "G", "binG", "Rndcg", "ndcg_rel"),
        *("set_P", "set_recall", "set_F", "set_map", "set_relative_P", "iprec_at_recall_0.10", "iprec_at_recall_1.00"),
        *("ndcg_cut_5", "ndcg_cut_100", "map_cut_7", "P_20", "recall_100", "success_5", "relative_P_5", "RR@100"),
        "ndcg_exp_cut_3",
    ]
    perfect = evaluate({"q": {"a": 1}}, {"q": {"a": 1.0}}, names)
    assert list(perfect) == names
    assert {name for name in names if perfect[name] != {"q": 1.0}} == {"P_20"}
