"""Servers on loopback that take messages as real ones do: an SMTP server, and one for whatever comes by HTTP.

Belongs here: what the tests of alerts share.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Inbox:
    """What came in: e-mails, and requests as (method, path, headers, body). `refuse` turns every HTTP request away."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    refuse: bool = False


@contextmanager
def mail_server() -> Iterator[Inbox]:
    """An SMTP server (RFC 5321) that takes every message."""
    inbox = Inbox()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 attic")
            while line := self.rfile.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    self._say("354 go on")
                    inbox.mails.append(message_from_bytes(self._text()))
                self._say("221 bye" if word == b"QUIT" else "250 attic")
                if word == b"QUIT":
                    return

        def _text(self) -> bytes:
            lines: list[bytes] = []
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                lines.append(line.removeprefix(b"."))
            return b"".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    yield from _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session), inbox)


@contextmanager
def web_server() -> Iterator[Inbox]:
    """A server that takes whatever is posted or asked for."""
    inbox = Inbox()

    class Session(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if not inbox.refuse:
                inbox.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(503 if inbox.refuse else 200)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - the name that http.server asks for

        def log_message(self, format: str, *args: object) -> None:
            pass

    yield from _serving(ThreadingHTTPServer(("127.0.0.1", 0), Session), inbox)


def _serving(server: socketserver.TCPServer, inbox: Inbox) -> Iterator[Inbox]:
    inbox.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
