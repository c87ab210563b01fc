"""Click logs: what is read and refused, how sessions are split, simulated and compared."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest, chisquare

from rankcli.cli import run
from rankcli.data.clicks import Event, Session, Shown, read_sessions

ONE = {"query-id": "q", "time": 1, "shown": ["a", {"corpus-id": "b", "score": None}, "c"], "events": ["b"]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path


def write(*sessions: dict[str, Any]) -> None:
    Path("log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in sessions))


def imported(*options: str) -> list[dict[str, Any]]:
    assert run(["clicks", "import", "log.jsonl", "-o", "out.jsonl", "--force", *options]) == 0
    return [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]


def test_a_session_is_read_with_positions_scores_and_events() -> None:
    shown = [{"docid": "b", "position": 3, "score": 2}, {"docid": "a", "position": 1}]
    events = [{"corpus-id": "b", "type": "buy", "dwell": 4, "time": 9}, "a"]
    write({"qid": 7, "shown": shown, "events": events, "irrelevant": True})
    (found,) = read_sessions("log.jsonl")
    documents = (Shown("a", 1), Shown("b", 3, 2.0))
    assert found == Session(1, "7", documents, (Event("b", "buy", 4.0, 9.0), Event("a")), None, True)
    assert not found.clicked and found._replace(irrelevant=False).clicked == {"a", "b"}


def test_what_is_written_is_read_alike() -> None:
    shown = [{"corpus-id": "b", "position": 3, "score": 2.5}, {"corpus-id": "a", "position": 1}]
    write({**ONE, "shown": shown}, {**ONE, "irrelevant": True, "events": [{"corpus-id": "a", "dwell": 2.0}]})
    before = [*read_sessions("log.jsonl")]
    imported()
    assert [*read_sessions("out.jsonl")] == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"query-id": None}, "there is no query id"),
        ({"query-id": "two words"}, "the query id 'two words' contains ' '"),
        ({"shown": []}, "there is no list of shown documents"),
        ({"shown": ["a", "a"]}, "the document 'a' is shown twice"),
        ({"shown": [{"corpus-id": "a", "position": 2}, "b"]}, "the position 2 is shown twice"),
        ({"shown": [{"corpus-id": "a", "position": 0}]}, "the position '0' is not a whole number from 1"),
        ({"shown": [{"corpus-id": "a", "score": "1"}]}, "score is '1', not a number"),
        ({"shown": [{}]}, "there is no id of a shown document"),
        ({"events": {}}, "there is no list of events"),
        ({"events": ["z"]}, "an event is on document 'z', which was not shown"),
        ({"events": [{"corpus-id": "a", "type": 3}]}, "the type of an event is '3', not a text"),
        ({"events": [{"corpus-id": "a", "dwell": -1}]}, "the dwell time -1.0 is below 0"),
        ({"time": float("nan")}, "time is 'nan', not a number"),
        ({"irrelevant": "no"}, "irrelevant is 'no', not true or false"),
    ],
)
def test_a_malformed_session_is_named_and_nothing_is_written(changes: dict[str, Any], what: str, capsys: Any) -> None:
    write(ONE, {**ONE, **changes})
    assert run(["clicks", "import", "log.jsonl", "-o", "out.jsonl"]) == 3
    assert f"error: log.jsonl:2: {what}" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


def test_the_last_sessions_are_held_out_or_whole_queries(capsys: pytest.CaptureFixture[str]) -> None:
    write(*({**ONE, "time": n * 7 % 10, "query-id": f"q{n % 5}"} for n in range(10)))
    kept = imported("--held-out", "later.jsonl", "--share", "0.3")
    later = [json.loads(line) for line in Path("later.jsonl").read_text().splitlines()]
    assert sorted(each["time"] for each in kept) == [*range(7)] and len(later) == 3
    assert "held out: 3 sessions, 3 clicks" in capsys.readouterr().out
    kept = imported("--held-out", "later.jsonl", "--share", "0.5", "--by", "query")
    later = [json.loads(line) for line in Path("later.jsonl").read_text().splitlines()]
    assert (
        not {each["query-id"] for each in kept} & {each["query-id"] for each in later} and len(later) + len(kept) == 10
    )
    write({**ONE, "time": None})
    assert run(["clicks", "import", "log.jsonl", "-o", "x", "--held-out", "y"]) == 3
    assert "log.jsonl:1: the session has no time to split by" in capsys.readouterr().err


def test_documents_without_text_are_left_out_and_scores_filled_in_together(capsys: Any) -> None:
    Path("docs.jsonl").write_text('{"_id": "a", "text": "x"}\n{"_id": "b", "text": "x"}\n')
    scored = [{"corpus-id": "a", "score": 5}, {"corpus-id": "b"}, "c"]
    write({**ONE, "shown": scored}, {**ONE, "shown": ["c", "a"], "events": []})
    Path("first.run").write_text("q Q0 a 1 2.5 x\nq Q0 b 2 1.5 x\n")
    (found,) = imported("--docs", "docs.jsonl", "--run", "first.run")
    shown = [{"corpus-id": "a", "position": 1, "score": 2.5}, {"corpus-id": "b", "position": 2, "score": 1.5}]
    assert found["shown"] == shown
    told = "of 2 sessions kept 1, clicked 1, short 1, events 1, documents without a text 2, scores filled in 2"
    assert told in capsys.readouterr().out
    assert run(["clicks", "import", "log.jsonl", "-o", "x", "--run", "first.run"]) == 3
    assert "log.jsonl:1: the run has no score of document 'c' for query 'q'" in capsys.readouterr().err


def test_abandoned_sessions_may_be_left_out_and_lists_cut_off() -> None:
    write(ONE, {**ONE, "events": []}, {**ONE, "irrelevant": True})
    assert len(imported()) == 3 and len(imported("--no-abandoned")) == 1
    assert [each["shown"] for each in imported("--cascade")] == [["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]


def simulated(*options: str) -> list[Session]:
    """40,000 sessions of one query with the grades 2, 0, 1 at ranks 1 to 3."""
    Path("qrels").write_text("q 0 a 2\nq 0 c 1\n")
    Path("first.run").write_text("".join(f"q Q0 {docid} 1 {9 - n} x\n" for n, docid in enumerate("abcd")))
    given = [
        "--qrels",
        "qrels",
        "--run",
        "first.run",
        "--sessions",
        "40000",
        "--depth",
        "3",
        "-o",
        "s.jsonl",
        "--force",
    ]
    assert run(["clicks", "simulate", *given, *options]) == 0
    return [*read_sessions("s.jsonl")]


def as_likely(count: int, total: int, chance: float) -> bool:
    return binomtest(count, total, chance).pvalue > 1e-3


@pytest.mark.parametrize("eta", [0.0, 1.0, 2.0])
def test_clicks_of_the_position_based_model(eta: float) -> None:
    sessions = simulated("--eta", str(eta), "--noise", "0.2")
    clicks = collections.Counter(docid for each in sessions for docid in each.clicked)
    for docid, seen, liked in (("a", 0.68, 1.0), ("b", 0.61, 0.2), ("c", 0.48, 0.2 + 0.8 / 3)):
        assert as_likely(clicks[docid], 40000, seen**eta * liked), docid
    both = sum({"b", "c"} <= each.clicked for each in sessions)
    assert as_likely(both, 40000, (0.61 * 0.48) ** eta * 0.2 * (0.2 + 0.8 / 3))


def test_clicks_of_the_cascade_model() -> None:
    """Orders are drawn, too; of one the chances are .1, .9 x .4 and the rest."""
    sessions = simulated("--model", "cascade", "--noise", "0.1", "--randomised", "1")
    orders = collections.Counter("".join(each.docid for each in session.shown) for session in sessions)
    assert len(orders) == 6 and chisquare([*orders.values()]).pvalue > 1e-3
    assert max(len(each.clicked) for each in sessions) == 1
    bca = [each.clicked for each in sessions if each.shown[0].docid == "b" and each.shown[1].docid == "c"]
    chances = {"b": 0.1, "c": 0.9 * 0.4, "a": 0.9 * 0.6}
    for docid, chance in chances.items():
        assert as_likely(sum(docid in each for each in bca), len(bca), chance), docid


def test_a_simulation_depends_on_its_seed_alone() -> None:
    first = simulated("--seed", "3")
    assert simulated("--seed", "3") == first != simulated("--seed", "4")


def test_shifts_and_the_reciprocal_rank_of_clicks(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the abandoned session: -(.1 - .05 + .05) / 3."""

    def session(query: str, clicked: str, scores: dict[str, float]) -> dict[str, Any]:
        shown = [{"corpus-id": docid, "score": score} for docid, score in scores.items()]
        return {"query-id": query, "shown": shown, "events": [*clicked]}

    write(session("q", "a", {"a": 0.5, "b": 0.7, "c": 0.1}), session("p", "", {"a": 0.5, "b": 0.4, "c": 0.45}))
    Path("new.run").write_text(
        "q Q0 a 1 .6 x\nq Q0 b 1 .5 x\nq Q0 c 1 .2 x\np Q0 a 1 .6 x\np Q0 b 1 .35 x\np Q0 c 1 .5 x\n"
    )
    assert run(["clicks", "evaluate", "--sessions", "log.jsonl", "--run", "new.run", "--json"]) == 0
    wanted = {
        "click_mrr": 1.0,
        "click_mrr_before": 0.5,
        "irrelevant_dist_shift": -0.1 / 3,
        "not_irrelevant_dist_shift": 0.1,
        "separation_shift": 0.1 - (-0.2 + 0.1) / 2,
    }
    assert json.loads(capsys.readouterr().out)["metrics"] == {
        name: pytest.approx(v, 1e-5) for name, v in wanted.items()
    }
    assert run(["clicks", "evaluate", "--sessions", "log.jsonl", "--run", "new.run", "--distance", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["not_irrelevant_dist_shift"] == pytest.approx(-0.1) and found["click_mrr"] == pytest.approx(1 / 3)
    same = ["clicks", "evaluate", "--sessions", "log.jsonl", "--run", "new.run", "--baseline", "new.run", "--json"]
    assert run(same) == 0 and json.loads(capsys.readouterr().out)["metrics"]["separation_shift"] == 0
    Path("new.run").write_text("z Q0 a 1 1 x\n")
    assert run(["clicks", "evaluate", "--sessions", "log.jsonl", "--run", "new.run"]) == 3
