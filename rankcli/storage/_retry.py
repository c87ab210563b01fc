"""Retries after failures that may pass: a bounded number of times, with random pauses, for a bounded time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

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
    policy, attempt, end = policy or POLICY, 1, float("inf")
    while True:
        try:
            return call(policy.answer_s)
        except Failure as failure:
            end = min(end, time.monotonic() + policy.deadline_s)
            pause = random.uniform(0, policy.pause_s * 2 ** (attempt - 1))
            if attempt == policy.attempts or time.monotonic() + pause > end:
                raise _gave_up(task, uri, attempt, failure) from failure
        time.sleep(pause)
        attempt += 1


def _gave_up(task: str, uri: str, attempts: int, failure: Failure) -> StorageError:
    often = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    return StorageError(
        f"{task} failed, after {often}: {failure}",
        where=uri,
        fix="check the network and https://status.cloud.google.com, then run the same command again",
    )
