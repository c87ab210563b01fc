"""Dry runs for a TPU."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rankcli.chips.compile import PYTHON, Compiled, check_compiler
from rankcli.chips.figures import CHIPS, Slice
from rankcli.cli import run
from rankcli.errors import MissingError
from rankcli.runs.foretold import FIRST, LARGEST, _told, largest_that
from rankcli.verbs.train import train

V5E = CHIPS["v5e"]


@pytest.fixture
def compiler() -> None:
    try:
        check_compiler()
    except MissingError as error:
        pytest.skip(error.what)


@pytest.mark.parametrize("most", [1, 2, 7, 64, 1000])
def test_the_largest_that_fits_is_found_in_few_trials(most: int) -> None:
    for limit in {0, 1, 2, 3, most // 2, most - 1, most, most + 5, *random.Random(3).choices(range(most + 1), k=20)}:
        tried: list[int] = []
        found = largest_that(lambda n, limit=limit, tried=tried: bool(tried.append(n)) or n <= limit, most)  # type: ignore[misc]
        assert found == min(limit, most)
        assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1 and max(tried) <= most


def _run(**trainer: Any) -> Any:
    return SimpleNamespace(trainer=SimpleNamespace(steps=100, niters=1, validatefreq=1, **trainer), sets={})


def test_the_time_is_that_of_all_steps_by_the_slower_of_compute_and_memory() -> None:
    step = Compiled(FIRST, V5E, 1, 3.0, memory=int(1.5e9), flops=197e12 * 0.01, moved=819e9 * 0.36)
    step = step._replace(summed=91e6)
    told = _told(_run(), Slice.of("v5e-8"), [step._replace(name=LARGEST), step, step._replace(name="predict")], None)
    assert told.facts["hours_at_least"] == pytest.approx(100 * 0.36 / 3600) and told.facts["fits"] is True
    assert (
        "at least 36.0 seconds in all, and on top sums of 91.0 MB a step over 8 replicas and the host's work"
        in told.text
        and "1.50 GB, 9% of the memory" in told.text
    )
    assert "at least 360.00 ms by memory (compute 10.00, memory 360.00)" in told.text


def test_what_is_too_large_or_does_not_compile_is_said_with_what_to_do() -> None:
    large = Compiled(LARGEST, V5E, 1, 3.0, memory=2 * V5E.memory)
    failed = Compiled(FIRST, V5E, 1, 3.0, error="UNIMPLEMENTED: x")
    told = _told(_run(), Slice.of("v5e-8"), [large, failed], 0)
    assert told.facts["fits"] is False and told.facts["hours_at_least"] is None and told.facts["largest_batch"] == 0
    assert "too large: 33.82 GB, 200% of the memory" in told.text and "does not compile: UNIMPLEMENTED: x" in told.text
    assert "-> use a smaller trainer.batch" in told.text and "no batch fits" in told.text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--for", "v5e-8"], "give --dry-run too"),
        (["--dry-run", "--largest-batch"], "--largest-batch needs --for"),
        (["--dry-run", "--for", "h100"], "'h100' is no TPU that is known here"),
    ],
)
def test_wrong_options_are_usage_errors(capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:

    assert run(["train", "--config", str(Path(__file__).parents[2] / "configs/quickstart.yaml"), *args]) == 2
    assert said in capsys.readouterr().err


def test_without_the_compiler_the_error_names_the_packages(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON, "/bin/false")
    with pytest.raises(MissingError, match="compiler is not installed") as error:
        train(tiny("crossencoder"), out="runs/x", dry_run=True, chip="v5e-1")
    assert "pip install jax==" in str(error.value.fix)


@pytest.mark.tpu_compiler
@pytest.mark.slow
def test_the_largest_batch_of_a_run_fits_and_a_larger_one_does_not(tiny: Any, compiler: None, tmp_path: Any) -> None:
    def foretold(*options: str, **how: Any) -> Any:
        config = tiny("crossencoder", "extractor.maxseqlen=512", "reranker.encoder.heads=16", *options)
        return train(config, out=tmp_path / "run", dry_run=True, chip="v5e-1", **how)["result"]["chip"]

    found = foretold(largest_batch=True)
    assert found["fits"] and found["largest_batch"] > 1
    assert not foretold(f"trainer.batch={2 * found['largest_batch']}")["fits"]
    assert not (tmp_path / "run").exists()
