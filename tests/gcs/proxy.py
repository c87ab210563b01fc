"""A proxy before the fake storage server: it breaks the calls it is told to break, and knows rules the server does not.

Faults, of `fail_next` and `fail_calls`:

    503, 429, 408       refused with this status; the server does not see the call
    reset               the connection is reset; the server does not see the call
    stall               no answer for `stall_s`, then a reset; the server does not see the call
    corrupt             a bit of the content that is sent or received is changed; other answers become no JSON
    partial             half of the content that is sent in pieces arrives, then the connection is reset
    truncate            the call is carried out; half of the answer arrives
    apply-then-reset    the call is carried out; nothing of the answer arrives

What is said of metadata in JSON is not changed undetectably: over the network, TLS sees to that.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.gcs.rules import Answer, Call, Rules, refusal

KINDS = ("503", "429", "408", "reset", "stall", "corrupt", "partial", "truncate", "apply-then-reset")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length"}


class Proxy(ThreadingHTTPServer):
    """The proxy on a free port; `upstream` is the server's port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = 0
        self.rules = Rules(self._send)
        self._lock = threading.Lock()
        self._connections = threading.local()
        self.reset()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reset(self) -> None:
        """Forget all faults and calls."""
        self.calls: list[str] = []  # METHOD PATH of each call, refused and broken ones too
        self.sent: list[int] = []  # bytes of the answers to them, whether they arrived or not
        self.injected: list[str] = []  # the faults that took place
        self._faults: dict[int, str] = {}
        self.rules.written.clear()
        self.stall_s = 1.0

    def fail_next(self, n: int, kind: str) -> None:
        """Break the next `n` calls."""
        self.fail_calls(range(n), kind)

    def fail_calls(self, which: Iterable[int], kind: str) -> None:
        """Break these calls, counted from 0 for the next one."""
        assert kind in KINDS, kind
        with self._lock:
            self._faults.update({len(self.calls) + k: kind for k in which})

    def fault_of(self, call: Call) -> str | None:
        """Note a call; the fault that is meant for it."""
        with self._lock:
            fault = self._faults.pop(len(self.calls), None)
            self.calls.append(f"{call.method} {call.path}")
            if fault:
                self.injected.append(fault)
        return fault

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news; anything else is seen in the answer that does not come."""

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if not hasattr(self._connections, "one"):
            self._connections.one = http.client.HTTPConnection("127.0.0.1", self.upstream)
        sent = {key: value for key, value in headers.items() if key.lower() not in _HOP_BY_HOP}
        self._connections.one.request(method, target, body, {**sent, "Content-Length": str(len(body))})
        answer = self._connections.one.getresponse()
        return answer.status, answer.headers, answer.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, self.headers, body)
        fault = self.server.fault_of(call)
        if fault in ("503", "429", "408"):
            self._answer(refusal(int(fault)))
        elif fault in ("reset", "stall"):
            time.sleep(self.server.stall_s if fault == "stall" else 0)
            self._hang_up()
        elif fault == "corrupt" and call.content:
            call.body = _changed(body, call.content)
            self._answer(self.server.rules.answer(call))
        else:
            answer = self.server.rules.answer(call, partial=fault == "partial")
            self._broken(call, fault, answer)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing: the tests look at `calls`."""

    def _broken(self, call: Call, fault: str | None, answer: Answer) -> None:
        status, headers, body = answer
        if fault in ("apply-then-reset", "partial"):
            self._hang_up()
        elif fault == "truncate":
            self._answer(answer, body[: len(body) // 2])
            self._hang_up()
        elif fault == "corrupt":
            part = slice(0, len(body) if call.query.get("alt") == "media" else 1)
            self._answer((status, headers, _changed(body, part)))
        else:
            self._answer(answer)

    def _answer(self, answer: Answer, sent: bytes | None = None) -> None:
        status, headers, body = answer
        self.server.sent.append(len(body))
        self.send_response_only(status)
        for key, value in headers.items():
            if key.lower() not in _HOP_BY_HOP:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if sent is None else sent)

    def _hang_up(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


def _changed(body: bytes, part: slice) -> bytes:
    """One bit in the middle of the part is another."""
    place = (part.start + part.stop) // 2
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :] if place < len(body) else body
