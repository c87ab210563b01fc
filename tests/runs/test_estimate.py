"""The minutes of a dry run, with a clock that is read by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rankcli.runs import estimate
from rankcli.runs.plan import plan
from rankcli.runs.prepare import checked

DOCUMENTS = 24


@pytest.mark.parametrize(("name", "once"), [("TFKNRM", False), ("biencoder", True)])
def test_the_minutes_follow_from_the_seconds_of_a_pair(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, name: str, once: bool
) -> None:
    run = checked(tiny(name, "trainer.niters=6", "trainer.validatefreq=2", "trainer.threshold=10"))
    scored: list[int] = []
    real = estimate._few
    monkeypatch.setattr(estimate, "_few", lambda each: [scored.append(len(one.docids)) or one for one in real(each)])
    times = iter([0.0, 100.0, 106.0])  # started, started again, done: 6 s for the second time
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    found = plan(run)["result"]
    dev, test = (found["reranked"][split]["pairs"] for split in ("dev", "test"))
    assert scored == [10] * 4 and dev == 40 and test > DOCUMENTS
    if once:
        dev, test = DOCUMENTS, DOCUMENTS
    trained = run.sets.pairs
    pairs = 3 * trained + 4 * dev + test  # 4 validations: before training, and after iterations 2, 4 and 6
    assert found["minutes"] == pytest.approx(pairs * (6 / 40) / 60)


def test_nothing_is_foretold_for_other_devices(tiny: Any) -> None:
    run = checked(tiny("TFKNRM", "trainer.strategy=mirrored"))
    found = plan(run)
    assert found["result"]["minutes"] is None and "on this machine" not in found["text"]
