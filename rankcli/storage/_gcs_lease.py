"""Locks between machines: small objects that their owners write again and again while they live.

No machine's clock is trusted. A waiter takes a lock over if its object's generation has not changed for two heartbeats
of the waiter's own monotonic clock; the write is conditional on that generation.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from rankcli.errors import RankcliError
from rankcli.log import say, warn
from rankcli.storage import _retry
from rankcli.storage._gcs_client import Changed, Missing
from rankcli.storage._gcs_objects import ABSENT, Bucket, Content, Meta, content_of

HEARTBEAT_S = 10.0  # an owner that was silent for two of these counts as dead
HOLD_S = 60.0  # a user of a directory renews its object at this interval
HELD_S = 300.0  # ... and counts as dead after this one, by the service's clock
_REFRESHES = 2  # per heartbeat, so that one may fail
_LOOKS = 5  # per heartbeat


@contextmanager
def lease(bucket: Bucket, name: str) -> Iterator[None]:
    """Have the lock `name` alone; waits while a living process has it, and prints its name."""
    note = _Note()
    meta = _taken(bucket, name, note)
    with _refreshed(bucket, name, note, meta, HEARTBEAT_S / _REFRESHES):
        yield


@contextmanager
def hold(bucket: Bucket, name: str) -> Iterator[None]:
    """Renew the object `name`, which no other process writes, until the block ends."""
    note = _Note()
    with _refreshed(bucket, name, note, _created(bucket, name, note), HOLD_S):
        yield


def held(bucket: Bucket, holds: list[Meta], probe: str) -> bool:
    """True if one of these objects is younger than HELD_S.

    Ages are by the service's clock, which is read from a new object: `probe` is written and deleted for it.
    """
    if not holds:
        return False
    now = _created(bucket, probe, _Note())
    bucket.remove(probe, now.generation)
    return any(now.modified - meta.modified < HELD_S for meta in holds)


class _Note:
    """The content that an owner writes: its name, and a token and a count, so that no two notes are equal."""

    def __init__(self) -> None:
        self.token, self.count = uuid.uuid4().hex, 0

    def next(self) -> Content:
        """The next content to write."""
        self.count += 1
        text = f"process {os.getpid()} of {socket.gethostname()}\n{self.token} {self.count}\n"
        return content_of(io.BytesIO(text.encode()))


def _created(bucket: Bucket, name: str, note: _Note) -> Meta:
    meta = bucket.upload(name, note.next(), ABSENT)
    assert meta is not None, f"{name} is a random name"
    return meta


def _taken(bucket: Bucket, name: str, note: _Note) -> Meta:
    """Wait for the lock, and take it."""
    seen, since, said = -1, 0.0, False
    while True:
        now = bucket.meta(name)
        generation = now.generation if now else ABSENT
        if generation != seen:
            seen, since = generation, time.monotonic()
        if now is None or time.monotonic() - since >= 2 * HEARTBEAT_S:
            if mine := bucket.upload(name, note.next(), generation):
                return mine
            continue
        if not said:
            say(f"waiting for {_owner(bucket, name, now)}, which has {bucket.uri(name)}")
            said = True
        time.sleep(HEARTBEAT_S / _LOOKS)


def _owner(bucket: Bucket, name: str, meta: Meta) -> str:
    try:
        said = bucket.read(name, meta).decode(errors="replace").partition("\n")[0]
    except (Changed, Missing):
        said = ""
    return said if said and said.isprintable() and len(said) < 300 else "another process"


@contextmanager
def _refreshed(bucket: Bucket, name: str, note: _Note, meta: Meta, every_s: float) -> Iterator[None]:
    """Write the object every `every_s` seconds, and delete it at the end."""
    heart = _Heart(bucket, name, note, meta, every_s)
    heart.start()
    try:
        yield
    finally:
        heart.stop()


class _Heart(threading.Thread):
    """Writes the object until `stop` is called or another process has written it."""

    def __init__(self, bucket: Bucket, name: str, note: _Note, meta: Meta, every_s: float) -> None:
        super().__init__(name=f"heart of {name}", daemon=True)
        self.bucket, self.object, self.note, self.every_s = bucket, name, note, every_s
        self.generation: int | None = meta.generation
        self.unsure: Content | None = None  # a note of an attempt without an answer: it may have been written
        self.stopped = threading.Event()

    def run(self) -> None:
        """Write at the interval; of several failures in a row only the first is a warning."""
        while self.generation is not None and not self.stopped.wait(self.every_s):
            again = self.unsure is not None
            try:
                self._write(self._once())
            except RankcliError as error:
                if not again:
                    warn(f"a lock is not renewed: {error.what}, {error.where}")
        if self.generation is None:
            warn(f"another process took {self.bucket.uri(self.object)}: this one was silent for too long")

    def _write(self, bucket: Bucket) -> None:
        """Write the next note; if it is unknown whether the last one was written, write that one."""
        assert self.generation is not None
        self.unsure = self.unsure or self.note.next()
        meta = bucket.upload(self.object, self.unsure, self.generation)
        self.unsure, self.generation = None, meta.generation if meta else None

    def stop(self) -> None:
        """End the thread, and delete the object."""
        self.stopped.set()
        self.join()
        try:
            if self.generation is not None and self.unsure:
                self._write(self.bucket)
            if self.generation is not None:
                self.bucket.remove(self.object, self.generation)
        except RankcliError as error:
            warn(f"a lock is not given back, and lost in a while: {error.what}, {error.where}")

    def _once(self) -> Bucket:
        """The bucket with a single attempt per request: the next write is due soon anyway."""
        return self.bucket._replace(
            policy=_retry.Policy(attempts=1, answer_s=min(_retry.POLICY.answer_s, self.every_s))
        )
