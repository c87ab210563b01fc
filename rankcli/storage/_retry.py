"""Retries after failures that may pass: a bounded number of times, with random pauses, for a bounded time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity
from tenacity.stop import stop_base

from rankcli.errors import StorageError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Policy:
    """The limits of retries; times in seconds.

    The pause after attempt k is random, up to `pause_s` * 2^(k - 1). An attempt fails if the other side is silent for
    `answer_s`; data that go on arriving may take longer. No attempt begins later than `deadline_s` after the first
    failure.
    """

    attempts: int = 6
    pause_s: float = 1.0
    answer_s: float = 30.0
    deadline_s: float = 60.0


POLICY = Policy()


class Failure(Exception):
    """An attempt failed for a reason that may pass; the message says which."""


def attempted(call: Callable[[float], Result], task: str, uri: str, policy: Policy | None = None) -> Result:
    """Call `call(answer_s)` until it does not raise a Failure, and return its result.

    StorageError, with the number of attempts, if the policy allows no further one.
    """
    policy = policy or POLICY
    tries = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Failure),
        wait=tenacity.wait_random_exponential(policy.pause_s, max=policy.deadline_s),
        stop=tenacity.stop_after_attempt(policy.attempts) | _Deadline(policy.deadline_s),
    )
    try:
        return tries(call, policy.answer_s)
    except tenacity.RetryError as error:
        last = error.last_attempt
        raise _gave_up(task, uri, last.attempt_number, last.exception()) from last.exception()


class _Deadline(stop_base):
    """Ends the attempts a time after the first failure: tenacity's own deadlines count from the first attempt's start,
    so that a long upload that fails would not be tried again.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._end = seconds, math.inf

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        failed = state.outcome_timestamp or 0.0
        self._end = min(self._end, failed + self._seconds)
        return failed + state.upcoming_sleep > self._end


def _gave_up(task: str, uri: str, attempts: int, failure: BaseException | None) -> StorageError:
    often = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return StorageError(
        f"{task} failed, after {often}: {failure}",
        where=uri,
        fix="check the network and https://status.cloud.google.com, then run the same command again",
    )
