"""The quantities of the comparisons of speed: turns, operations, ceilings, parts of a start, intervals."""

from __future__ import annotations

import functools
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import _flops, _matmul, _our_side, _shapes, _startup_side, cached, lean, quality, rerank, scale
from benchmarks import all as all_benchmarks
from benchmarks._alternate import alternate, ratio_of, speeds
from benchmarks._turns import Contender
from rankcli.encoders.family import family_in
from rankcli.text.tokenizer import Tokenizer


def test_a_contender_answers_its_task_and_every_turn(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks._turns.PACKAGE", "tests.benchmarks")
    with Contender(sys.executable, "echo_side", {"a": 1}) as echo:
        assert echo.hello["heard"] == {"a": 1}
        answers = [echo.turn(b=2), echo.turn()]
    assert [answer["heard"] for answer in answers] == [{"b": 2}, {}]
    assert all(0 <= answer["cpu_seconds"] < 5 for answer in answers)
    assert "this goes to stderr" in capfd.readouterr().err
    with pytest.raises((RuntimeError, ValueError)):
        echo.turn()


def test_every_round_begins_with_another_contender(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def turn(_: Any, name: str, number: int) -> dict[str, Any]:
        asked.append(name)
        return {"seconds": number + 1.0}

    found = alternate({"b": None, "a": None}, 3, turn)  # type: ignore[dict-item]
    assert asked == ["a", "b", "b", "a", "a", "b"]
    assert [each["b"]["seconds"] for each in found] == [1, 2, 3]
    assert "round 3 of 3: a 3 s, b 3 s" in capfd.readouterr().err, "what a stopped benchmark has measured is not lost"


def test_steps_over_kept_vectors_are_compared_per_step_whatever_their_number_in_a_turn() -> None:
    kept = {"pairs_per_second": 6400.0, "pairs": 12800, "cpu_seconds": 4.0}
    computed = {"pairs_per_second": 128.0, "pairs": 256, "cpu_seconds": 4.0}
    found = cached._speeds({"kept": kept, "computed": computed}, "vaswani")
    assert (found["kept_steps_per_s"], found["computed_steps_per_s"]) == (100, 2)
    assert (found["ratio"], found["cpu_ratio"]) == (50, 50)


def test_a_variant_is_so_many_times_slower_in_the_median_of_the_rounds() -> None:
    rounds = [{name: {"steps_per_s": each} for name in lean.VARIANTS} for each in (4.0, 4.0, 4.0)]
    for entry, speed in zip(rounds, (2.0, 3.2, 1.0), strict=True):
        entry["recompute"] = {"steps_per_s": speed}
    assert lean._slower(rounds) == {"full": 1, "lora": 1, "recompute": 2, "both": 1}


def test_published_shapes_are_read_and_the_tokenizer_has_their_special_tokens(tmp_path: Path) -> None:
    for name in ("vaswani", "cranfield"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": "fish swim"}) + "\n")
    _shapes._write_tokenizer(tmp_path, tmp_path, 256)
    assert Tokenizer.open(tmp_path).pair_template.special == 3
    for shape in _shapes.SHAPES.values():
        family_in(shape).read({**shape, "pad_token_id": 1}, "")


def test_the_ratio_is_how_many_times_as_fast_rankcli_is() -> None:
    def of(ours: float, peer: float) -> dict[str, Any]:
        found = {"rankcli": ours, "peer": peer}
        return {name: {"seconds": value, "cpu_seconds": 2 * value + 1} for name, value in found.items()}

    rounds = [speeds(of(ours, 6.0), 12, "sea") for ours in (1.0, 2.0, 4.0)] + [speeds(of(1, 1), 12, "land")]
    assert rounds[1]["rankcli_pairs_per_s"] == 6 and rounds[1]["peer_pairs_per_s"] == 2
    assert ratio_of(rounds, "sea") == 3 and ratio_of(rounds, "land") == 1
    assert ratio_of(rounds, "sea", "cpu_ratio") == 2.6


def test_useful_operations_are_those_counted_by_hand() -> None:
    # Two layers, hidden 2, intermediate 3, a sequence of 5 tokens, products counted one by one.
    n, d, f, h = 5, 2, 3, 2
    first = 3 * (2 * n * d * d) + 2 * n * n * d + 2 * n * n * d + 2 * n * d * d + 2 * n * d * f + 2 * n * f * d
    query = 2 * d * d + 2 * d * d + h * 2 * n * d + h * 2 * n * d + 2 * d * d + 2 * d * d + 2 * d * f + 2 * f * d
    head = 2 * d * d + 2 * d
    size = _flops.Size(layers=2, hidden=d, intermediate=f, heads=h)
    assert _flops.useful_flops(size, np.array([n])) == first + query + head
    assert _flops.useful_flops(size, np.array([n, n, n])) == 3 * (first + query + head)
    config = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
    # 1,000 tokens of MiniLM: 2 x 1,769,472 multiplications of a layer's weights per token, and attention's
    expected = 5 * (2 * 1_769_472 * 1000 + 4 * 1000**2 * 384) + 4 * 1000 * 12 * 384
    found = _flops.useful_flops(_flops.Size.of(config), np.array([1000]))
    assert found == pytest.approx(expected, rel=2e-4)


def test_the_ceiling_takes_the_faster_one_of_each_product() -> None:
    assert _flops.ceiling([100, 300], [[1.0, 5.0], [2.0, 3.0]]) == 100
    shapes = _matmul.encoder_shapes(10, 2, 3)
    assert shapes == [(10, 2, 6), (10, 2, 2), (10, 2, 3), (10, 3, 2)]
    assert sum(map(_matmul.flops, shapes)) == 2 * 10 * (4 * 2**2 + 2 * 2 * 3)


def test_the_fastest_of_several_runs_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # two readings around the loop's start and each run: runs of 0.3, 0.1 and 0.2 s, then the time is over
    clock = iter([0.0, 0.0, 0.0, 0.3, 0.3, 0.3, 0.4, 0.4, 0.4, 0.6, 0.6])
    monkeypatch.setattr("benchmarks._matmul.time.perf_counter", lambda: next(clock))
    assert _matmul.fastest(lambda: None) == pytest.approx(0.1)


def test_a_part_inside_another_counts_for_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("benchmarks._startup_side.time.time", lambda: now[0])

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    parts = _startup_side.Parts(98.0)
    parts.turn_to("other")
    inner = parts.timed(pass_time, "tensorflow")

    def outer() -> None:
        pass_time(3)
        inner(4)
        pass_time(5)

    parts.timed(outer, "build")()
    pass_time(1)
    parts.tell()
    expected = {"total": 15.0, "interpreter": 2.0, "other": 1.0, "build": 8.0, "tensorflow": 4.0}
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize(("module", "path", "part"), _startup_side.PARTS)
def test_what_is_timed_at_start_is_there(module: str, path: str, part: str) -> None:
    owner = importlib.import_module(module)
    assert callable(functools.reduce(getattr, path.split("."), owner)) and part


def test_traces_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_our_side.CrossEncoderModel, "__call__", lambda self, batch: batch)
    counted = _our_side.count_traces()
    assert [_our_side.CrossEncoderModel.__call__(None, n) for n in (5, 6)] == [5, 6]  # type: ignore[arg-type]
    assert counted == {"traces": 2}


def test_the_interval_is_that_of_a_mean() -> None:
    differences = np.random.default_rng(1).normal(0.1, 1.0, 2000)
    low, high = quality.interval(differences)
    mean, error = differences.mean(), differences.std() / 2000**0.5
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.1 * error)
    assert quality.interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_time_per_token_and_its_linearity() -> None:
    def point(varies: str, tokens: int, seconds: float, devices: int = 1) -> dict[str, Any]:
        rate = {"tokens": tokens, "seconds": seconds, "tokens_per_s": tokens / seconds}
        return {"what": "rerank", "varies": varies, "devices": devices, **rate}

    rounds = [point("length", 100, 1.0), point("length", 200, 2.0), point("length", 400, 5.0)]
    assert scale.per_token(rounds, "rerank") == 1.25
    straight = [*rounds[:2], point("depth", 300, 3.0), point("devices", 100, 9.0, devices=2)]
    assert scale.linearity(straight, "rerank") == pytest.approx(1)
    bent = [*rounds, point("depth", 800, 1.0)]
    assert scale.linearity(bent, "rerank") < 0.5


@pytest.mark.parametrize(
    ("value", "wanted", "held"),
    [(3.0, ">= 3", True), (2.9, ">= 3", False), (0.03, "< 0.03", False), (-0.009, "> -0.01", True), (5, "<= 4", False)],
)
def test_a_check_holds_or_not(value: float, wanted: str, held: bool) -> None:
    assert all_benchmarks.holds(value, wanted) is held


def test_all_benchmarks_are_files() -> None:
    folder = Path(all_benchmarks.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in all_benchmarks.BENCHMARKS)


def test_documents_are_joined_with_the_next_ones_until_they_are_long_enough(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rows = [{"_id": "a", "text": "one two"}, {"_id": "b", "text": "three"}, {"_id": "c", "text": "four five six"}]
    (source / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source / "queries.jsonl").write_text("kept\n")
    made = rerank._lengthened(source, tmp_path / "long", 4)
    found = [json.loads(line) for line in (made / "corpus.jsonl").read_text().splitlines()]
    texts = ["one two three four five six", "three four five six", "four five six one two"]
    assert [row["text"] for row in found] == texts and [row["_id"] for row in found] == ["a", "b", "c"]
    assert (made / "queries.jsonl").read_text() == "kept\n"
