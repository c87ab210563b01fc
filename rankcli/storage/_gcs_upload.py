"""Write an object: a small one in one request, a large one in pieces, so that a broken upload can be continued."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from rankcli.storage import _gcs_client as client
from rankcli.storage._gcs_client import Missing, Refused
from rankcli.storage._gcs_meta import Content, Meta, meta_of
from rankcli.storage._retry import Failure

ONE_REQUEST = 8 << 20  # bytes; a larger object is uploaded in pieces
PIECE = 8 << 20  # bytes, a multiple of 256 KiB; one must be sent in the time for an answer
_STORED, _UNFINISHED = (200, 201), 308


class Target(Protocol):
    """The bucket to write to."""

    @property
    def name(self) -> str:
        """The name of the bucket."""

    def blob(self, name: str) -> Any:
        """The client's handle of an object."""

    def uri(self, name: str) -> str:
        """The URI of an object."""

    def attempted(self, call: Callable[[float], Any], task: str, name: str) -> Any:
        """The result of `call`, tried again after each Failure."""


@dataclass
class Upload:
    """The object `name`, to be written if its present generation is `expected`."""

    bucket: Target
    name: str
    content: Content
    expected: int

    def attempt(self, answer_s: float) -> Meta:
        """Write it; Failure if the stored checksum is another. Other errors as those of `explained`."""
        meta = self._at_once(answer_s) if self.content.bytes <= ONE_REQUEST else self._in_pieces(answer_s)
        if not meta.holds(self.content):
            self.expected = meta.generation  # written by this attempt
            raise Failure("what arrived has another checksum than what was sent")
        return meta

    def _at_once(self, answer_s: float) -> Meta:
        blob = self._blob()
        self.content.file.seek(0)
        blob.upload_from_file(
            self.content.file,
            size=self.content.bytes,
            if_generation_match=self.expected,
            checksum=None,  # at a wrong one the client would delete the object, even if another process wrote it
            timeout=answer_s,
            retry=None,
        )
        return meta_of(blob)

    def _in_pieces(self, answer_s: float) -> Meta:
        """Begin a resumable upload and send all pieces, each tried again by itself."""
        url = self._blob().create_resumable_upload_session(
            size=self.content.bytes, if_generation_match=self.expected, checksum=None, timeout=answer_s, retry=None
        )
        pieces = _Pieces(self, url)
        try:
            while pieces.stored is None:
                self.bucket.attempted(pieces.send, "an upload", self.name)
        except (Missing, _Spoiled) as error:
            raise Failure("the upload has to begin anew") from error
        return meta_of(pieces.stored)

    def _blob(self) -> Any:
        blob = self.bucket.blob(self.name)
        # Part of the object's metadata: the service refuses content with another checksum.
        blob.crc32c = base64.b64encode(self.content.crc32c.to_bytes(4, "big")).decode()
        return blob


class _Spoiled(Exception):
    """The pieces that arrived are not the content."""


class _Pieces:
    """A resumable upload at `url`: `arrived` bytes so far, and the `stored` object when all have arrived."""

    def __init__(self, whole: Upload, url: str) -> None:
        self.whole, self.url = whole, url
        self.arrived: int | None = 0  # None: unknown, request it
        self.stored: Any = None

    def send(self, answer_s: float) -> None:
        """Send the next piece; after a piece without an answer, first request the number of bytes that arrived."""
        total = self.whole.content.bytes
        if self.arrived is None:
            self._put(b"", f"bytes */{total}", answer_s)
        if self.arrived is not None:
            start, self.arrived = self.arrived, None
            self.whole.content.file.seek(start)
            piece = self.whole.content.file.read(PIECE)
            self._put(piece, f"bytes {start}-{start + len(piece) - 1}/{total}", answer_s)

    def _put(self, piece: bytes, part: str, answer_s: float) -> None:
        session = client.bucket(self.whole.bucket.name).client._http
        answer = session.put(self.url, data=piece, headers={"Content-Range": part}, timeout=answer_s)
        if answer.status_code in _STORED:
            blob = self.whole.bucket.blob(self.whole.name)
            blob._set_properties(answer.json())
            self.stored = blob
        elif answer.status_code == _UNFINISHED:
            last = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
            self.arrived = int(last[1]) + 1 if last else 0
        else:
            error = client.of_answer(answer, self.whole.bucket.uri(self.whole.name))
            raise _Spoiled if isinstance(error, Refused) else error
