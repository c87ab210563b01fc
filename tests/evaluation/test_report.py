"""The objects that scripts lean on and the tables that people read."""

from __future__ import annotations

import pytest

from rankcli.evaluation.report import Evaluation, split_json, split_table
from rankcli.evaluation.significance import compare, t_test
from rankcli.evaluation.trec import Coverage

FIRST = {"map": {"1": 0.2, "2": 0.4, "3": 0.6}}
BETTER = {"map": {"1": 0.5, "2": 0.4, "3": 0.9}}
P = t_test([0.5, 0.4, 0.9], [0.2, 0.4, 0.6])


def test_json_without_a_baseline() -> None:
    found = Evaluation(Coverage(3, 0, 0), FIRST).to_json()
    assert found == {
        "schema_version": 1,
        "queries": 3,
        "queries_are": "all that are judged",
        "metrics": {"map": {"mean": pytest.approx(0.4)}},
    }


def test_json_with_a_baseline_has_every_key_of_the_contract() -> None:
    found = Evaluation(Coverage(3, 0, 0), BETTER, compare(BETTER, FIRST)).to_json()
    assert found["metrics"]["map"] == {
        "mean": pytest.approx(0.6),
        "baseline": pytest.approx(0.4),
        "delta": pytest.approx(0.2),
        "p": pytest.approx(P),
        "p_rand": pytest.approx(0.5, abs=0.02),
        "p_holm": pytest.approx(P),
        "wins": 2,
        "ties": 1,
        "losses": 0,
    }


def test_table_aligns_its_columns() -> None:
    lines = Evaluation(Coverage(3, 0, 0), BETTER, compare(BETTER, FIRST)).table().splitlines()
    assert lines[0].split() == ["metric", "base", "run", "delta", "p", "p_rand", "p_holm", "wins", "ties", "losses"]
    assert lines[1].split()[:4] == ["map", "0.4000", "0.6000", "+0.2000"]
    assert lines[1].split()[-3:] == ["2", "1", "0"]
    assert len(lines[0]) == len(lines[1])
    assert lines[2].startswith("3 queries")


def test_table_without_a_baseline() -> None:
    assert (
        Evaluation(Coverage(3, 0, 0), FIRST).table()
        == "metric    mean\nmap     0.4000\n3 queries (all that are judged)"
    )


def test_split_of_a_training_result() -> None:
    split = split_json({"first_stage": FIRST, "reranked": FIRST, "interpolated": BETTER})
    assert split == {
        "queries": 3,
        "first_stage": {"map": pytest.approx(0.4)},
        "reranked": {"map": pytest.approx(0.4)},
        "interpolated": {"map": pytest.approx(0.6)},
        "p": {"map": {"reranked": 1.0, "interpolated": pytest.approx(P)}},
        "p_holm": {"map": {"reranked": 1.0, "interpolated": pytest.approx(P)}},
    }
    header, row, note = split_table(split).splitlines()
    assert row.split() == ["map", "0.4000", "0.4000", "+0.0000", "1.0000", "0.6000", "+0.2000", f"{P:.4f}"]
    after = ["reranked", "delta", "p_holm", "interpolated", "delta", "p_holm"]
    assert header.split() == ["metric", "first", *after]
    assert note.startswith("3 queries")


def test_tables_fit_into_80_columns() -> None:
    metrics = {name: {f"q{n}": n / 300 for n in range(300)} for name in ("ndcg_cut_10", "map", "RR@10")}
    tables = [split_table(split_json(dict.fromkeys(("first_stage", "reranked", "interpolated"), metrics)))]
    tables.append(Evaluation(Coverage(300, 0, 0), metrics, compare(metrics, metrics)).table())
    widths = [len(line) for table in tables for line in table.splitlines() if "queries" not in line]
    assert len(widths) == 8 and max(widths) <= 80


def test_split_without_an_alpha() -> None:
    split = split_json({"first_stage": FIRST, "reranked": BETTER})
    assert "interpolated" not in split
    assert "interpolated" not in split_table(split)


def test_tiny_p_is_shown_as_a_bound() -> None:
    split = {"queries": 9, "first_stage": {"map": 0.1}, "reranked": {"map": 0.2}, "p": {"map": {"reranked": 1e-7}}}
    assert "<.0001" in split_table(split) and "p_holm" not in split_table(split)


def test_the_table_judges_by_the_adjusted_p() -> None:
    split = {"queries": 9, "first_stage": {"map": 0.1}, "reranked": {"map": 0.2}, "p": {"map": {"reranked": 0.02}}}
    header, row, note = split_table({**split, "p_holm": {"map": {"reranked": 0.06}}}).splitlines()
    assert header.split()[-1] == "p_holm" and row.split()[-1] == "0.0600"
    assert note == "9 queries; p_holm: paired t-test against the first stage, adjusted by Holm"


@pytest.mark.parametrize(("reranked", "shown"), [(0.09999, "+0.0000"), (0.0999, "-0.0001"), (0.10001, "+0.0000")])
def test_a_change_that_rounds_to_zero_has_no_minus(reranked: float, shown: str) -> None:
    split = {"queries": 9, "first_stage": {"map": 0.1}, "reranked": {"map": reranked}, "p": {"map": {"reranked": 1.0}}}
    assert split_table(split).splitlines()[1].split()[3] == shown
