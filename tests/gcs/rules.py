"""Rules of the real storage service that the fake server of the tests does not have.

- `ifGenerationMatch` of a deletion and of a download is enforced (the fake ignores it; for uploads in one request it
  enforces it itself).
- An upload whose content has another CRC32C than its metadata say is refused.
- Resumable uploads are kept here until they are complete, and then given to the server in one request with their
  condition: the fake ignores the condition, and stores an empty object when it is asked how much has arrived.

Writes go one after the other, so that nothing changes between test and deed.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

Answer = tuple[int, Mapping[str, str], bytes]
_QUANTUM = 256 << 10  # what arrives of a piece that breaks off is a multiple of this


class Call:
    """A request; `path` is unquoted, `query` has the first value of each key."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        url = urlsplit(target)
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path = unquote(url.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}

    @property
    def kind(self) -> str:
        """multipart, resumable (its beginning), piece, or other."""
        if not self.path.startswith("/upload/"):
            return "other"
        return "piece" if "upload_id" in self.query else self.query.get("uploadType", "other")

    @property
    def content(self) -> slice | None:
        """The place in the body of an object's content; None where there is none."""
        if self.kind == "piece" and self.body:
            return slice(0, len(self.body))
        if self.kind == "multipart":
            boundary = self.body.split(b"\r\n", 1)[0]
            start = self.body.index(b"\r\n\r\n", self.body.index(boundary, 1)) + 4
            return slice(start, self.body.rindex(b"\r\n" + boundary))
        return None


@dataclass
class _Session:
    """A resumable upload that has begun."""

    target: str
    metadata: dict[str, Any]
    content: bytes = b""
    stored: Answer | None = None


class Rules:
    """`send` gives a call to the server."""

    def __init__(self, send: Callable[[str, str, Mapping[str, str], bytes], Answer]) -> None:
        self.send = send
        self.sessions: dict[str, _Session] = {}
        self.written: list[str] = []  # BUCKET/NAME of each generation of each object
        self._writing = threading.Lock()

    def answer(self, call: Call, *, partial: bool = False) -> Answer:
        """The answer of the service; with `partial`, half of a piece arrives."""
        turn: AbstractContextManager[object] = nullcontext() if call.method == "GET" else self._writing
        with turn:
            if call.kind == "resumable":
                return self._begun(call)
            if call.kind == "piece":
                return self._gone_on(call, len(call.body) // 2 // _QUANTUM * _QUANTUM if partial else len(call.body))
            answer = self._refused(call) or self.send(call.method, call.target, call.headers, call.body)
            return self._noted(answer) if call.kind == "multipart" else answer

    def _refused(self, call: Call) -> Answer | None:
        if call.kind == "multipart" and call.content:
            declared = json.loads(call.body.split(b"\r\n\r\n", 2)[1].rsplit(b"\r\n--", 1)[0]).get("crc32c")
            return refusal(400) if declared not in (None, _crc(call.body[call.content])) else None
        expected = call.query.get("ifGenerationMatch")
        if expected is None or not (call.method == "DELETE" or call.query.get("alt") == "media"):
            return None
        bucket, _, name = call.path.removeprefix("/download").partition("/o/")
        status, _, now = self.send("GET", f"{bucket}/o/{quote(name, safe='')}", {}, b"")
        return refusal(412) if status == 200 and json.loads(now)["generation"] != expected else None

    def _begun(self, call: Call) -> Answer:
        upload_id = uuid.uuid4().hex
        self.sessions[upload_id] = _Session(call.target, json.loads(call.body))
        place = f"http://{call.headers['Host']}{urlsplit(call.target).path}?uploadType=resumable&upload_id={upload_id}"
        return 200, {"Location": place}, b""

    def _gone_on(self, call: Call, arriving: int) -> Answer:
        session = self.sessions.get(call.query["upload_id"])
        if session is None:
            return refusal(404)
        sent, _, total = call.headers["Content-Range"].removeprefix("bytes ").partition("/")
        if sent != "*":
            first = int(sent.partition("-")[0])
            assert first == len(session.content), f"a piece from {first} on, where {len(session.content)} bytes are"
            session.content += call.body[:arriving]
        if len(session.content) == int(total):
            session.stored = session.stored or self._completed(session)
            return session.stored
        arrived = {"Range": f"bytes=0-{len(session.content) - 1}"} if session.content else {}
        return 308, arrived, b""

    def _completed(self, session: _Session) -> Answer:
        if session.metadata.get("crc32c") not in (None, _crc(session.content)):
            return refusal(400)
        head = b"--PART\r\nContent-Type: application/json\r\n\r\n" + json.dumps(session.metadata).encode()
        body = head + b"\r\n--PART\r\nContent-Type: application/octet-stream\r\n\r\n" + session.content
        target = session.target.replace("uploadType=resumable", "uploadType=multipart")
        kind = {"Content-Type": 'multipart/related; boundary="PART"'}
        return self._noted(self.send("POST", target, kind, body + b"\r\n--PART--"))

    def _noted(self, answer: Answer) -> Answer:
        if answer[0] == 200:
            stored = json.loads(answer[2])
            self.written.append(f"{stored['bucket']}/{stored['name']}")
        return answer


def refusal(status: int) -> Answer:
    """An answer without an effect."""
    body = json.dumps({"error": {"code": status, "message": "refused by the tests' proxy"}}).encode()
    return status, {"Content-Type": "application/json"}, body


def _crc(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
