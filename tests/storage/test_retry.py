"""Retries after failures that may pass."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from rankcli.errors import StorageError
from rankcli.storage._retry import Failure, Policy, attempted

QUICK = Policy(attempts=20, pause_s=0.0, answer_s=7.0, deadline_s=0.5)


def _failing(times: int, seconds: float) -> tuple[list[float], Callable[[float], str]]:
    """A call that fails some times, each after some seconds, and the answer times that it was given."""
    given: list[float] = []

    def call(answer_s: float) -> str:
        given.append(answer_s)
        time.sleep(seconds)
        if len(given) <= times:
            raise Failure(f"failure {len(given)}")
        return "done"

    return given, call


def test_a_call_is_repeated_until_it_succeeds() -> None:
    given, call = _failing(3, 0.0)
    assert attempted(call, "reading", "gs://b/x", QUICK) == "done"
    assert given == [7.0] * 4


def test_the_deadline_begins_with_the_first_failure_however_long_that_took() -> None:
    given, call = _failing(1, 0.6)
    assert attempted(call, "writing", "gs://b/x", QUICK) == "done" and len(given) == 2


def test_no_attempt_begins_after_the_deadline() -> None:
    given, call = _failing(20, 0.3)
    with pytest.raises(StorageError, match=r"writing failed, after 3 attempts: failure 3") as caught:
        attempted(call, "writing", "gs://b/x", QUICK)
    assert len(given) == 3 and caught.value.where == "gs://b/x"  # the failures come at .3, .6 and .9 s; .8 is the end


def test_attempts_are_counted() -> None:
    given, call = _failing(20, 0.0)
    with pytest.raises(StorageError, match="after 1 attempt: failure 1"):
        attempted(call, "writing", "gs://b/x", Policy(attempts=1))
    assert len(given) == 1


def test_another_error_ends_the_attempts() -> None:
    def call(answer_s: float) -> str:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        attempted(call, "reading", "gs://b/x", QUICK)
